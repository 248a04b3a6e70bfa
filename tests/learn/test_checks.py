"""The token inspector: the receiver's checks in its order, each with its file and line."""

import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from jwt import PyJWK

from pickup_learn import checks
from pickup_learn.checks import CHECKS, LOGOUT_EVENT, SOURCE, inspected, lines_of, token_of
from relying_party.errors import InvalidToken
from relying_party.logout_token import validate_logout_token
from tests.learn.rows import EVENT, SID, SUB, URLS, Story

ISSUER, CLIENT = URLS["idp"], "pickup-manager"
KEY = generate_private_key(public_exponent=65537, key_size=2048)
JWK: dict[str, Any] = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key())) | {"kid": "k1", "alg": "RS256"}


FILES = {check.file for checks in CHECKS.values() for check in checks}


@pytest.mark.parametrize(("kind", "number"), [(kind, number) for kind in CHECKS for number in range(len(CHECKS[kind]))])
def test_file_and_line_lead_to_the_check(kind: str, number: int) -> None:
    check = CHECKS[kind][number]
    file, line = check.place()
    assert line
    source = (SOURCE.parent / file).read_text("utf-8")
    assert check.refusals[0] in source.splitlines()[line - 1]
    for words in check.refusals[1:]:
        claim = words.partition(" ")[0]
        everywhere = "".join(path.read_text("utf-8") for path in SOURCE.glob("*.py"))
        assert words in everywhere or words.replace(claim, "{name}", 1) in everywhere


def message(refused_because: str | None = None, **changes: Any) -> dict[str, Any]:
    """A logout token's message, with these claims changed; None removes one."""
    story = Story()
    refused = {"error": "invalid_request", "error_description": refused_because, "outcome": "refused"}
    story.tell("manager", "j1", 400 if refused_because else 200)
    row = story.rows["manager"][0] | (refused if refused_because else {})
    claims = row["tokens"][0]["claims"] | {"iat": time.time(), "exp": time.time() + 120} | changes
    row["tokens"][0]["claims"] = {name: value for name, value in claims.items() if value is not None}
    row["tokens"][0]["header"] = {"alg": "RS256", "kid": "k1", "typ": "logout+jwt"}
    return row


def results(row: dict[str, Any]) -> dict[str, str]:
    found = inspected(row, issuer=ISSUER, nonce=None, refusal=None)
    return {check["name"]: check["result"] for check in found["checks"]}


def test_every_check_of_a_token_that_was_accepted_is_ticked() -> None:
    assert set(results(message()).values()) == {"ok"}


BAD: dict[str, dict[str, Any]] = {
    "iss": {"iss": "http://evil.example"},
    "aud": {"aud": "pickup-dispatch"},
    "iat": {"iat": 1},
    "exp": {"exp": 1},
    "sub, sid": {"sub": None, "sid": None},
    "events": {"events": {"other": {}}},
    "nonce": {"nonce": ""},
    "jti": {"jti": None},
}


@pytest.mark.parametrize("name", list(BAD))
def test_refused_token_shows_the_check_at_which_relying_party_stopped(name: str) -> None:
    """With the real words of the receiver."""
    row = message("replaced below", **BAD[name])
    token = row["tokens"][0]
    raw = jwt.encode(token["claims"], KEY, "RS256", {"typ": "logout+jwt", "kid": "k1"})
    with pytest.raises(InvalidToken) as caught:
        validate_logout_token(
            raw, [PyJWK(JWK)], issuer=ISSUER, client_id=CLIENT, algorithm="RS256", now=int(time.time())
        )
    row["error_description"] = str(caught.value)
    found = results(row)
    names = list(found)
    stop = names.index(name)
    assert [found[one] for one in names] == ["ok"] * stop + ["failed"] + ["not reached"] * (len(names) - stop - 1)


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("The signature of the token is wrong.", "signature"),
        ("The issuer does not publish the key that signed the token.", "kid"),
        ("The token is not signed with the registered algorithm.", "alg"),
        ("This logout token was used before.", "replay"),
        ("sid is longer than 255 characters.", "sub, sid"),
    ],
)
def test_what_cannot_be_seen_in_the_token_is_known_by_the_receivers_words(words: str, name: str) -> None:
    assert results(message(words))[name] == "failed"


def test_words_of_another_receiver_do_not_matter() -> None:
    found = results(message("Das gefällt mir nicht.", events={}))
    assert (found["nonce"], found["events"], found["aud"]) == ("not reached", "failed", "ok")


def test_request_that_was_refused_before_the_token_was_read_was_not_checked() -> None:
    found = inspected(message("The request is too large."), issuer=ISSUER, nonce=None, refusal=None)
    assert found["refusal"] == "The request is too large."
    assert {check["result"] for check in found["checks"]} == {"not reached"}


def test_check_that_an_exercise_removed_has_no_line_and_no_tick(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    check = next(check for check in CHECKS["logout_token"] if check.name == "nonce")
    for file in FILES:
        rest = [line for line in lines_of(SOURCE / file) if check.refusals[0] not in line]
        (tmp_path / file).write_text("\n".join(rest), "utf-8")
    monkeypatch.setattr(checks, "SOURCE", tmp_path)
    found = inspected(message(nonce="n"), issuer=ISSUER, nonce=None, refusal=None)
    nonce = next(check for check in found["checks"] if check["name"] == "nonce")
    assert (nonce["result"], nonce["line"], nonce["found"]) == ("not reached", None, "n")
    assert {check["result"] for check in found["checks"] if check is not nonce} == {"ok"}


def test_token_that_was_not_received_was_not_checked() -> None:
    story = Story()
    story.tell("manager", "j1", None)
    assert set(results(story.rows["idp"][0]).values()) == {"not reached"}


def test_values_found_and_wanted_stand_beside_each_other() -> None:
    found = inspected(message(), issuer=ISSUER, nonce=None, refusal=None)
    values = {check["name"]: (check["found"], check["wanted"]) for check in found["checks"]}
    assert values["iss"] == (ISSUER, ISSUER)
    assert values["aud"] == (CLIENT, CLIENT)
    assert values["sub, sid"][0] == {"sub": SUB, "sid": SID}
    assert values["events"] == ({EVENT: {}}, {LOGOUT_EVENT: {}})
    assert values["nonce"] == (None, None)


def test_id_token_has_other_checks_and_its_refusal_is_known_from_the_response_to_the_browser() -> None:
    story = Story()
    story.sign_in("dispatch", asked=True)
    row = next(row for row in story.rows["dispatch"] if row["kind"] == "token_request")
    words = "nonce is not the one from the authentication request."
    found = inspected(row, issuer=ISSUER, nonce="another", refusal=words)
    assert {check["name"]: check["result"] for check in found["checks"]}["nonce"] == "failed"
    assert found["receiver"] == "dispatch"
    assert {check["file"] for check in found["checks"]} == {
        f"relying_party/{name}.py" for name in ("jws", "claims", "id_token")
    }


def test_message_without_such_a_token_has_no_checks() -> None:
    assert token_of(Story().add("idp", "sign_in", "browser → idp")) is None


def test_accepted_token_shows_which_checks_its_receiver_left_out() -> None:
    """In a lab, Practice accepts a forged token."""
    forged = message(nonce="n")
    forged["tokens"][0]["header"]["alg"] = "none"
    found = results(forged)
    assert (found["alg"], found["nonce"], found["events"]) == ("not reached", "not reached", "ok")
