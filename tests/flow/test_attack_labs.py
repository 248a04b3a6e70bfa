"""The *attack and repair* labs, each from its Start to its tick, and what a broken Practice still protects."""

import json
import re
from typing import Any

import pytest

from pickup_learn.collector import Collector
from pickup_learn.forgery import ISSUER_PATH, MAKERS, unsigned
from pickup_learn.labs import FAULTS, attack
from tests.conftest import START, Clock
from tests.flow.conftest import Pickup
from tests.flow.test_labs import Learner, cameron, collector, learn
from tests.tokens import LOGOUT_EVENT

__all__ = ["cameron", "collector", "learn"]  # fixtures
CAMERON, ALEX = "248289761002", "248289761003"


class Attacker:
    """A learner at the workbench, with a victim in the same browser."""

    def __init__(self, learner: Learner) -> None:
        self.learner, self.client, self.url = learner, learner.browser.client, learner.url

    def session(self) -> str:
        """The sid that Practice shows."""
        page = self.client.get(f"{self.url}/practice/").text
        (sid,) = re.findall(r"Session at the IdP: <code>([^<]+)</code>", page)
        return str(sid)

    def claims(self, **changes: Any) -> dict[str, Any]:
        right = {
            "iss": self.learner.pickup.settings.idp_url, "aud": "pickup-practice", "iat": START, "exp": START + 120,
            "jti": f"jti-{self.session()}", "events": {LOGOUT_EVENT: {}}, "sub": CAMERON, "sid": self.session(),
        }  # fmt: skip
        return {name: value for name, value in {**right, **changes}.items() if value is not None}

    def sends(self, key: str, **changes: Any) -> tuple[int, Any]:
        """From the workbench."""
        (token,) = re.findall(r'name="csrf_token" value="([^"]+)"', self.client.get(f"{self.url}/workbench").text)
        form = {"csrf_token": token, "to": "practice", "key": key, "typ": "logout+jwt"}
        answer = self.client.post(
            f"{self.url}/api/workbench", data={**form, "claims": json.dumps(self.claims(**changes))}
        )
        return answer.status_code, answer.get_json()

    def sends_id_token(self) -> int:
        """As with curl."""
        page = self.client.get(f"{self.url}/practice/").text
        (token,) = re.findall(r'data-copy="ID token">([^<]+)<', page)
        return int(self.client.post(f"{self.url}/practice/bclogout", data={"logout_token": token}).status_code)

    def attacks(self, lab: str) -> int:
        """The status of Practice's answer."""
        if lab == "id-token-passed-off":
            return self.sends_id_token()
        changes: dict[str, Any] = {}
        if lab == "no-checks":
            changes = dict.fromkeys(("iss", "aud", "iat", "exp", "jti", "events"))
        if lab == "foreign-issuer":
            changes = {"iss": self.url + ISSUER_PATH}
        keys = {"no-checks": "none", "alg-none": "none", "key-confusion": "hs256", "foreign-issuer": "foreign"}
        status, answer = self.sends(keys[lab], **changes)
        assert status == 200, answer
        return int(answer["status"])


@pytest.mark.thorough
@pytest.mark.parametrize("lab", attack.FAULTS)
def test_forged_token_is_accepted_until_the_hole_is_closed(lab: str, cameron: Learner, clock: Clock) -> None:
    attacker = Attacker(cameron)
    assert attacker.attacks(lab) == 400, "the right Practice refuses it"
    cameron.starts(lab)
    assert attacker.attacks(lab) == 200
    assert not cameron.is_in_practice()
    assert not cameron.ticks()[lab], "the hole is open"
    clock.turn(10)
    cameron.logs_out_at_dispatch()
    cameron.signs_in_to_both()
    cameron.mends(lab)
    assert not cameron.ticks()[lab], "nothing was shown yet"
    assert attacker.attacks(lab) == 400
    assert cameron.is_in_practice()
    assert [name for name, seen in cameron.ticks().items() if seen and name in FAULTS] == [lab]


@pytest.mark.thorough
@pytest.mark.parametrize("lab", attack.FAULTS)
@pytest.mark.parametrize("key", MAKERS)
def test_hole_is_as_large_as_the_lab_needs(lab: str, key: str, cameron: Learner) -> None:
    """A receiver with one fault refuses the forgeries of the other labs."""
    cameron.starts(lab)
    accepted = {"no-checks": set(MAKERS), "alg-none": {"none"}, "key-confusion": {"hs256"}}.get(lab, set())
    status, answer = Attacker(cameron).sends(key)
    assert (status, answer["status"]) == (200, 200 if key in accepted else 400)


@pytest.mark.thorough
@pytest.mark.parametrize("lab", attack.FAULTS)
def test_idps_own_logout_token_still_ends_the_session(lab: str, cameron: Learner) -> None:
    cameron.starts(lab)
    cameron.logs_out_at_dispatch()
    assert not cameron.is_in_practice()
    assert not cameron.ticks()[lab]


def test_broken_practice_of_one_person_ends_no_session_of_another(
    cameron: Learner, pickup: Pickup, collector: Collector
) -> None:
    alex = Learner(pickup, collector, "alex")
    alex.signs_in_to_both()
    cameron.starts("no-checks")
    of_alex: dict[str, Any] = {"sub": ALEX, "sid": Attacker(alex).session()}
    for changes in (of_alex, {**of_alex, "sub": None}):
        assert Attacker(cameron).sends("none", **changes)[0] == 403, "not from the workbench"
    for changes in ({**of_alex, "sub": CAMERON}, {"sub": None, "sid": None}):
        Attacker(cameron).sends("none", **changes)
    assert alex.is_in_practice()
    assert cameron.is_in_practice()


@pytest.mark.thorough
@pytest.mark.parametrize("value", [7, [], {}, True, "\0", "x" * 300, ""])
def test_careless_practice_does_not_fail_for_any_claim(value: Any, cameron: Learner) -> None:
    cameron.starts("no-checks")
    attacker = Attacker(cameron)
    right = attacker.claims()
    for name in ("sub", "sid", "jti"):
        token = unsigned({"alg": "none"}, {**right, name: value}) + "."
        answer = attacker.client.post(f"{attacker.url}/practice/bclogout", data={"logout_token": token})
        assert answer.status_code in (200, 400)


def test_workbench_attacks_practice_only_for_a_person_who_is_signed_in(cameron: Learner) -> None:
    attacker = Attacker(cameron)
    claims = attacker.claims()
    cameron.logs_out_at_dispatch()
    attacker.claims = lambda **_: claims  # type: ignore[method-assign] # those of before
    assert attacker.sends("none")[0] == 403
