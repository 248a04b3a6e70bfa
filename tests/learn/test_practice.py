"""Practice, the app of the labs: with the right settings it takes a good logout token and refuses every other."""

import dataclasses
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jwt
import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

import pickup_learn
from pickup_learn.forgery import foreign_key
from pickup_learn.practice import backchannel, sessions
from pickup_learn.practice.models import PracticeSession, UsedToken
from pickup_learn.practice.provider import REFETCH_SECONDS
from pickup_learn.practice.settings import ALL, Behaviour, behaviour_of, change
from pickup_web.database import db
from tests.conftest import START, Clock, close, make_settings
from tests.network import Network
from tests.tokens import LOGOUT_EVENT, TokenMaker, b64, jws, rsa_key

ISSUER, SUB, SID = "http://idp.localhost:9000", "248289761002", "sid-1"


@dataclasses.dataclass
class Practice:
    """Practice with one signed-in session, and an IdP that only publishes its keys."""

    app: Flask

    @property
    def client(self) -> FlaskClient:
        """A caller without cookies."""
        return self.app.test_client(use_cookies=False)

    def sign_in(self, key: str, sub: str = SUB, sid: str = SID) -> None:
        """A session, as after a sign-in."""
        with self.app.app_context():
            known = {"name": "cameron", "id_token": "", "in_memory": False, "started_at": START}
            db.session.add(PracticeSession(key=sessions.hash_of(key), sub=sub, sid=sid, **known))
            db.session.commit()

    def is_active(self, key: str = "left") -> bool:
        with self.app.app_context():
            return db.session.get_one(PracticeSession, sessions.hash_of(key)).ended_at is None

    def post(self, *tokens: str) -> tuple[int, Any]:
        """Status and body of the answer to a logout request."""
        answer = self.client.post("/practice/bclogout", data={"logout_token": list(tokens)})
        assert answer.headers["Cache-Control"] == "no-store"
        return answer.status_code, answer.get_json(silent=True)


@pytest.fixture
def practice(learn_folder: Path, network: Network) -> Iterator[Practice]:
    """With one session, which the tokens of ``tokens`` name."""
    app = pickup_learn.create_app(make_settings(learn_folder))
    keys = {"keys": [rsa_key("idp").public_jwk()]}
    network.answer(f"{ISSUER}/.well-known", 200, f'{{"issuer": "{ISSUER}", "jwks_uri": "{ISSUER}/oauth2/jwks"}}')
    network.answer(f"{ISSUER}/oauth2/jwks", 200, json.dumps(keys))
    made = Practice(app)
    made.sign_in("left")
    yield made
    close(app)


@pytest.fixture
def tokens() -> TokenMaker:
    """The IdP's."""
    return TokenMaker(ISSUER, "pickup-practice", rsa_key("idp"), START)


def good(tokens: TokenMaker, **changes: Any) -> str:
    header = {"typ": "logout+jwt", **changes.pop("header", {})}
    return tokens.logout_token(header=header, **{"sub": SUB, "sid": SID, **changes})


# --- good tokens ---


def test_good_token_ends_the_session_that_it_names_and_no_other(practice: Practice, tokens: TokenMaker) -> None:
    practice.sign_in("right", sid="sid-2")
    practice.sign_in("another person", sub="somebody", sid="sid-3")
    assert practice.post(good(tokens)) == (200, {"sessions_ended": 1})
    assert [practice.is_active(key) for key in ("left", "right", "another person")] == [False, True, True]


def test_token_with_a_sub_alone_ends_all_sessions_of_the_person(practice: Practice, tokens: TokenMaker) -> None:
    practice.sign_in("right", sid="sid-2")
    practice.sign_in("another person", sub="somebody", sid="sid-3")
    assert practice.post(good(tokens, without=["sid"])) == (200, {"sessions_ended": 2})
    assert practice.is_active("another person")


def test_token_with_a_sid_alone_ends_that_session(practice: Practice, tokens: TokenMaker) -> None:
    assert practice.post(good(tokens, without=["sub"])) == (200, {"sessions_ended": 1})


def test_sub_and_sid_must_both_fit(practice: Practice, tokens: TokenMaker) -> None:
    assert practice.post(good(tokens, sub="somebody")) == (200, {"sessions_ended": 0})
    assert practice.is_active()


def test_logout_of_a_session_that_has_ended_succeeds(practice: Practice, tokens: TokenMaker) -> None:
    assert practice.post(good(tokens))[0] == 200
    assert practice.post(good(tokens)) == (200, {"sessions_ended": 0})


@pytest.mark.parametrize("typ", ["logout+jwt", "application/logout+jwt", "JWT", ...])
def test_types_that_a_provider_may_send_are_accepted(practice: Practice, tokens: TokenMaker, typ: Any) -> None:
    assert practice.post(good(tokens, header={"typ": typ}))[0] == 200


def test_changed_key_of_the_idp_is_fetched(
    practice: Practice, tokens: TokenMaker, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert practice.post(good(tokens))[0] == 200
    later = time.monotonic() + REFETCH_SECONDS
    monkeypatch.setattr(time, "monotonic", lambda: later)
    network.answer(f"{ISSUER}/oauth2/jwks", 200, json.dumps({"keys": [rsa_key("next").public_jwk()]}))
    assert practice.post(good(tokens, header={"kid": "next"}, key=rsa_key("next")))[0] == 200


# --- refusals ---

BAD: dict[str, dict[str, Any]] = {
    "a foreign key": {"key": rsa_key("attacker")},
    "an unknown key": {"header": {"kid": "attacker"}, "key": rsa_key("attacker")},
    "the public key as a secret": {"header": {"alg": "HS256"}, "key": rsa_key("idp").public_pem()},
    "another algorithm": {"header": {"alg": "RS512"}},
    "the type of an access token": {"header": {"typ": "at+jwt"}},
    "another issuer": {"iss": "http://attacker.example"},
    "no issuer": {"without": ["iss"]},
    "another audience": {"aud": "pickup-dispatch"},
    "two audiences": {"aud": ["pickup-practice", "pickup-dispatch"]},
    "no audience": {"without": ["aud"]},
    "an exp that has passed": {"iat": START - 600, "exp": START - 480},
    "no exp": {"without": ["exp"]},
    "an exp that is a text": {"exp": "tomorrow"},
    "an exp that is not a number": {"exp": float("nan")},
    "an iat in the future": {"iat": START + 600, "exp": START + 720},
    "an old iat": {"iat": START - 90_000},
    "no iat": {"without": ["iat"]},
    "no events": {"without": ["events"]},
    "the claim event": {"without": ["events"], "event": {LOGOUT_EVENT: {}}},
    "another event": {"events": {"http://example.com/event": {}}},
    "an event that is no object": {"events": {LOGOUT_EVENT: True}},
    "a nonce": {"nonce": "n"},
    "neither sub nor sid": {"without": ["sub", "sid"]},
    "a sid that is no text": {"sid": ["sid-1"]},
    "no jti": {"without": ["jti"]},
}


@pytest.mark.parametrize("what", BAD)
def test_bad_token_is_refused_and_the_session_continues(practice: Practice, tokens: TokenMaker, what: str) -> None:
    status, body = practice.post(good(tokens, **dict(BAD[what])))
    assert (status, body["error"]) == (400, "invalid_request")
    assert body["error_description"]
    assert practice.is_active()


@pytest.mark.parametrize("sent", [[], ["hello"], ["a.b.c"], ["x" * 20_000], ["one", "two"]])
def test_request_without_exactly_one_token_is_refused(practice: Practice, sent: list[str]) -> None:
    assert practice.post(*sent)[0] == 400
    assert practice.is_active()


def test_deep_token_is_refused(practice: Practice) -> None:
    deep = b64(b'{"alg":"RS256"}') + "." + b64(b"[" * 5_000) + ".x"
    assert practice.post(deep)[0] == 400


def test_unsigned_token_is_refused(practice: Practice, tokens: TokenMaker) -> None:
    assert practice.post(jws({"alg": "none"}, tokens.logout_claims(sub=SUB, sid=SID), None))[0] == 400
    assert practice.is_active()


def test_id_token_is_refused(practice: Practice, tokens: TokenMaker) -> None:
    assert practice.post(tokens.id_token(sub=SUB, sid=SID))[0] == 400
    assert practice.is_active()


def test_token_is_used_once(practice: Practice, tokens: TokenMaker) -> None:
    token = good(tokens)
    assert practice.post(token)[0] == 200
    assert practice.post(token) == (
        400,
        {"error": "invalid_request", "error_description": "This logout token was used before."},
    )


def test_get_is_refused(practice: Practice) -> None:
    answer = practice.client.get("/practice/bclogout")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


def test_idp_may_send_the_token_again_while_its_keys_cannot_be_fetched(
    practice: Practice, tokens: TokenMaker, network: Network
) -> None:
    network.refuse(f"{ISSUER}/oauth2/jwks")
    answer = practice.client.post("/practice/bclogout", data={"logout_token": good(tokens)})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    assert practice.is_active()


def test_invented_keys_do_not_make_practice_ask_the_idp_each_time(
    practice: Practice, tokens: TokenMaker, network: Network
) -> None:
    for number in range(5):
        practice.post(good(tokens, header={"kid": f"invented-{number}"}))
    assert len(network.to(f"{ISSUER}/oauth2/jwks")) == 1


# --- settings ---


def test_unknown_settings_and_values_are_not_stored(practice: Practice) -> None:
    with practice.app.app_context():
        change(db.session, SUB, {"clock": "300", "typ": "anything"}, ())
        db.session.commit()
        assert behaviour_of(db.session, SUB).values == {"clock": "300"}


def test_first_choice_of_each_setting_is_that_of_a_person_who_changed_none() -> None:
    assert all(Behaviour()[setting.name] == setting.choices[0][0] for setting in ALL)


@pytest.mark.parametrize("signed", [True, False])
def test_unverified_token_only_chooses_whose_settings_apply(
    practice: Practice, tokens: TokenMaker, signed: bool
) -> None:
    """A forged token that names a person with another setting is still checked."""
    with practice.app.app_context():
        change(db.session, SUB, {"typ": "JWT"}, ())
        db.session.commit()
    key = rsa_key("idp" if signed else "attacker")
    assert practice.post(good(tokens, key=key, header={"typ": "JWT"}))[0] == (200 if signed else 400)


def set_fault(practice: Practice, values: dict[str, str], conditions: tuple[str, ...] = ()) -> None:
    """What a lab or the person has set."""
    with practice.app.app_context():
        change(db.session, SUB, values, conditions)
        db.session.commit()


def test_token_whose_only_name_a_lab_removes_ends_no_session_of_others(practice: Practice, tokens: TokenMaker) -> None:
    """The lab removes the sid. Without a sub, the token would then name all sessions of all people."""
    practice.sign_in("another person", sub="somebody", sid="sid-3")
    set_fault(practice, {"checks": "none"}, ("sub_only",))
    assert practice.post(good(tokens, without=["sub"]))[0] == 400
    assert practice.is_active("left")
    assert practice.is_active("another person")


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": "\ud800"}, {"sub": "x" * 300}, {"sub": "a\0b"}, {"sid": "\ud800", "sub": SUB}, {"jti": "\ud800"},
        {"jti": "a\0b"},
    ],
    ids=lambda claims: ascii(claims)[:20],
)  # fmt: skip
def test_foreign_token_with_text_that_no_database_takes_is_refused(practice: Practice, claims: dict[str, str]) -> None:
    set_fault(practice, {"issuer": "any"})
    own = f"{practice.app.config['LEARN_URL']}/workbench"
    maker = TokenMaker(own, "pickup-practice", rsa_key("idp"), START)
    content = {**maker.logout_claims(sub=SUB, sid=SID), **claims}
    token = jwt.encode(content, foreign_key(), "RS256", headers={"typ": "logout+jwt"})
    assert practice.post(token)[0] == 400
    assert practice.is_active()


def test_two_faults_together_are_no_fault_of_the_service(practice: Practice) -> None:
    """HS256 with the key of a foreign issuer: the receiver refuses it and does not fail."""
    set_fault(practice, {"issuer": "any", "algorithms": "HS256"})
    own = f"{practice.app.config['LEARN_URL']}/workbench"
    content = TokenMaker(own, "pickup-practice", rsa_key("idp"), START).logout_claims(sub=SUB, sid=SID)
    assert practice.post(jws({"alg": "HS256", "typ": "logout+jwt"}, content, None))[0] == 400


def test_slow_practice_leaves_threads_for_everyone_else(
    practice: Practice, tokens: TokenMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait takes a thread of Pickup Learn, so only some requests may wait at once."""
    waited: list[int] = []
    monkeypatch.setattr(backchannel, "sleep", waited.append)
    set_fault(practice, {"answer_time": "6"})
    with ExitStack() as others:
        for _ in range(backchannel.PLACES):
            others.enter_context(backchannel.waiting)
        answer = practice.client.post("/practice/bclogout", data={"logout_token": good(tokens)})
    assert (answer.status_code, answer.headers["Retry-After"], waited) == (503, "2", [])
    assert practice.is_active()
    assert practice.post(good(tokens))[0] == 200
    assert waited == [6]


def test_replay_guard_of_a_person_does_not_grow_without_end(
    practice: Practice, tokens: TokenMaker, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the checks off, anyone can send as many tokens as they like. Another person's guard stays as it is."""
    monkeypatch.setattr(backchannel, "KEEP", 3)
    assert practice.post(other := good(tokens, sub="somebody"))[0] == 200
    set_fault(practice, {"checks": "none"})
    for number in range(6):
        clock.turn(1)
        assert practice.post(good(tokens, jti=f"jti-{number}"))[0] == 200
    with practice.app.app_context():
        kept = db.session.scalars(select(UsedToken.jti).where(UsedToken.sub == SUB).order_by(UsedToken.jti))
        assert list(kept) == ["jti-3", "jti-4", "jti-5"]
    assert practice.post(other)[0] == 400


def test_sessions_that_ended_long_ago_are_deleted_at_the_next_sign_in(
    practice: Practice, tokens: TokenMaker, clock: Clock
) -> None:
    practice.sign_in("another person", sub="somebody", sid="sid-3")
    assert practice.post(good(tokens))[0] == 200
    clock.turn(sessions.KEEP_SECONDS + 1)
    with practice.app.test_request_context():
        assert sessions.begin({"sub": SUB, "sid": "sid-2"}, "cameron", "")
        assert set(db.session.scalars(select(PracticeSession.sid))) == {"sid-2", "sid-3"}


# --- sign-in ---


def test_state_that_is_not_ascii_is_refused(practice: Practice) -> None:
    browser = practice.app.test_client()
    browser.get("/practice/login")
    assert browser.get("/practice/oauth2client?code=c&state=%C3%A9").status_code == 400


def test_answer_to_a_sign_in_that_this_browser_did_not_start_is_refused(practice: Practice) -> None:
    assert practice.client.get("/practice/oauth2client?code=c&state=s").status_code == 400


def test_logout_token_that_overtakes_the_sign_in_wins(practice: Practice, tokens: TokenMaker) -> None:
    """The session must not begin after the logout that was to end it."""
    assert practice.post(good(tokens, sid="sid-2"))[0] == 200
    with practice.app.test_request_context():
        assert not sessions.begin({"sub": SUB, "sid": "sid-2"}, "cameron", "")
        assert sessions.begin({"sub": SUB, "sid": "sid-3"}, "cameron", "")


def test_practice_says_that_the_idp_does_not_answer(practice: Practice, network: Network) -> None:
    network.refuse(f"{ISSUER}/.well-known")
    answer = practice.client.get("/practice/login")
    assert answer.status_code == 503
    assert "IdP" in answer.text
