"""The token workbench: the tokens that it makes without the IdP's key, and to whom it sends them."""

import base64
import json
import re
from contextlib import ExitStack
from io import BytesIO
from typing import Any

import jwt
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from werkzeug.test import TestResponse

from idp.flow.logout_token import LOGOUT_EVENT, TYPE, logout_token_claims
from idp.workbench import CLAIMS as SIGNED_CLAIMS
from idp.workbench import TYPES
from pickup_learn import checks, forgery, workbench
from relying_party.errors import InvalidToken
from relying_party.logout_token import validate_logout_token
from tests.learn.services import World

NOW = 1_800_000_000
GOOD = logout_token_claims(issuer="http://idp.localhost:9000", client_id="pickup-manager", sub="c", sid="s", now=NOW)
IDP_KEY = rsa.generate_private_key(65537, 2048)
PUBLIC = jwt.PyJWK({**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(IDP_KEY.public_key())), "kid": "k", "alg": "RS256"})


# --- what is written ---


def test_each_mistake_is_one_that_the_page_can_build_and_the_idp_signs() -> None:
    assert len({mistake.name for mistake in workbench.MISTAKES}) == len(workbench.MISTAKES)
    assert set(workbench.CLAIMS) == SIGNED_CLAIMS, "the IdP signs the claims that the page has"
    for mistake in workbench.MISTAKES:
        assert mistake.claims.keys() <= set(workbench.CLAIMS)
        assert mistake.key in workbench.KEYS
        assert mistake.typ in TYPES
    assert workbench.KEYS.keys() == {"right", *forgery.MAKERS}


def test_right_token_of_the_workbench_is_that_of_the_idp() -> None:
    right = workbench.MISTAKES[0]
    assert (right.claims, right.typ, right.key) == ({}, TYPE, "right")
    assert GOOD.keys() < set(workbench.CLAIMS)
    assert LOGOUT_EVENT == checks.LOGOUT_EVENT


# --- the tokens of an attacker ---


@pytest.mark.parametrize("key", forgery.MAKERS)
def test_token_without_the_idps_key_is_refused_although_its_claims_are_right(key: str) -> None:
    token = forgery.MAKERS[key]({"typ": TYPE}, GOOD, PUBLIC)
    with pytest.raises(InvalidToken):
        validate_logout_token(token, [PUBLIC], issuer=GOOD["iss"], client_id=GOOD["aud"], algorithm="RS256", now=NOW)
    head, payload = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in token.split(".")[:2])
    assert payload == GOOD
    assert head["typ"] == TYPE


def test_foreign_token_names_the_idps_key_and_is_signed_by_another() -> None:
    token = forgery.foreign({"typ": TYPE}, GOOD, PUBLIC)
    assert jwt.get_unverified_header(token) == {"alg": "RS256", "kid": "k", "typ": TYPE}
    options: Any = {"verify_exp": False, "verify_iat": False, "verify_aud": False}
    assert jwt.decode(token, forgery.foreign_key().public_key(), ["RS256"], options=options) == GOOD


def test_hs256_token_fools_a_receiver_that_takes_the_public_key_for_a_secret() -> None:
    token = forgery.hs256({"typ": TYPE}, GOOD, PUBLIC)
    signed, _, signature = token.rpartition(".")
    secret = IDP_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    expected = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(signed.encode(), secret)
    assert signature == forgery.base64url(expected)


# --- sending ---


class Answers:
    """The IdP's keys, and what was sent to the apps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent: list[tuple[str, str]] = []
        self.keys = [PUBLIC._jwk_data]
        monkeypatch.setattr(requests, "get", self.get)
        monkeypatch.setattr(requests, "post", self.post)

    def get(self, _url: str, **_: Any) -> Any:
        answer = requests.Response()
        answer.raw = BytesIO(json.dumps({"keys": self.keys}).encode())
        return answer

    def post(self, url: str, data: dict[str, str], **options: Any) -> requests.Response:
        assert options["allow_redirects"] is False
        self.sent.append((url, data["logout_token"]))
        answer = requests.Response()
        answer.status_code = 400
        return answer


def send(world: World, **changes: str) -> TestResponse:
    found = re.search(r'name="csrf_token" value="([^"]+)"', world.client.get("/workbench").text)
    assert found
    right = {"csrf_token": found[1], "to": "manager", "key": "none", "typ": TYPE, "claims": json.dumps(GOOD)}
    return world.client.post("/api/workbench", data={**right, **changes})


def test_token_is_sent_to_the_chosen_app(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = Answers(monkeypatch)
    answer = send(world)
    assert (answer.status_code, answer.json) == (200, {"status": 400})
    ((url, token),) = answers.sent
    assert url == f"{workbench.receivers(world.app.extensions['settings'])['manager']}"
    assert jwt.get_unverified_header(token)["alg"] == "none"


@pytest.mark.parametrize(
    "changes",
    [
        {"key": "right"}, {"key": ""}, {"to": "idp"}, {"to": "http://elsewhere.example"}, {"claims": "[]"},
        {"claims": "{"}, {"claims": "[" * 4000}, {"claims": '{"a": "' + "x" * 5000 + '"}'},
    ],
    ids=lambda changes: str(changes)[:40],
)  # fmt: skip
def test_nothing_else_is_sent(changes: dict[str, str], world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = Answers(monkeypatch)
    assert send(world, **changes).status_code == 400
    assert answers.sent == []


@pytest.mark.parametrize("token", ["", "wrong"])
def test_another_sites_page_cannot_send_a_token(token: str, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = Answers(monkeypatch)
    assert send(world, csrf_token=token).status_code == 400
    assert answers.sent == []


def test_page_says_that_an_app_does_not_answer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise requests.ConnectionError

    Answers(monkeypatch)
    monkeypatch.setattr(requests, "post", refuse)
    answer = send(world)
    assert (answer.status_code, answer.json) == (502, {"error": "The IdP or the app does not answer."})


@pytest.mark.parametrize("key", forgery.MAKERS)
@pytest.mark.parametrize("claims", ['{"iss": 5}', '{"exp": NaN}', '{"sub": "\\ud800"}', '{"aud": {}, "iat": "x"}'])
def test_any_claims_of_an_attacker_are_sent(
    claims: str, key: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = Answers(monkeypatch)
    assert send(world, key=key, claims=claims).status_code == 200
    assert len(answers.sent) == 1


def test_page_says_that_the_idp_has_no_usable_key(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = Answers(monkeypatch)
    answers.keys = [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]
    assert send(world).status_code == 502
    assert answers.sent == []


def test_sending_leaves_threads_for_everyone_else(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token for Practice needs a second thread of this service. If all were sending, none would be left for it."""
    answers = Answers(monkeypatch)
    with ExitStack() as others:
        for _ in range(workbench.PLACES):
            others.enter_context(workbench.sending)
        assert send(world).status_code == 503
    assert answers.sent == []
    assert send(world).status_code == 200
