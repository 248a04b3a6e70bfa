"""Anybody can post to Manager's back-channel address. Only a genuine, unused logout token ends anything there."""

import time
from typing import Any

import pytest
from playwright.sync_api import expect

from e2e.capabilities import not_applicable
from e2e.code_flow import tokens_of
from e2e.conftest import Can
from e2e.device import Device
from e2e.logout_tokens import (
    SIGNED_BY_THE_PROVIDER,
    logout_claims,
    sign,
    signed_by_somebody_else,
    signed_with_the_public_key,
    tampered,
    unsigned,
)
from e2e.pages.app_page import AppPage
from e2e.plain import is_signed_in, post_logout_token
from e2e.stack import Stack

OK = (200, 204)  # BCL §2.8: 200; an identity provider should also accept 204, which some frameworks send


class Victim:
    """Somebody who is signed in at Manager, with the page open."""

    def __init__(self, device: Device, stack: Stack) -> None:
        self._device, self._stack = device, stack
        self._explains = "explains_refusals" in stack.manager.can
        self.manager: AppPage = device.sign_in(stack.manager, "cameron")
        self._look()

    def _look(self) -> None:
        """What the app knows. If it shows no claims, Dispatch got the same session and the same subject."""
        stack, device = self._stack, self._device
        teller = stack.manager
        if "shows_claims" not in teller.can:
            teller = stack.dispatch
            device.open(teller).tab.close()
        token = device.id_token(teller)
        self.cookie = device.cookie(stack.manager.url)
        self.sub, self.sid = str(token["sub"]), str(token["sid"])
        self.claims = logout_claims(stack.idp_url, stack.manager.client_id, self.sub, self.sid)

    def sign_in_again(self) -> None:
        """After a flawed token that the app accepted. The provider's session has not ended."""
        if not is_signed_in(self._stack.manager, self.cookie):
            self._device.open(self._stack.manager).tab.close()
            self._look()

    def is_not_moved_by(self, token: str, because: str) -> None:
        """The token is refused for that reason, and the victim stays signed in."""
        answer = post_logout_token(self.manager.app, token)
        assert answer.status_code == 400, f"{answer.status_code} {answer.text}"
        assert not self._explains or because in answer.json()["error_description"], answer.text
        assert is_signed_in(self.manager.app, self.cookie), "a forged logout token signs nobody out"
        self.manager.expect_signed_in("Cameron Reyes")


@pytest.fixture
def victim(laptop: Device, stack: Stack) -> Victim:
    return Victim(laptop, stack)


@pytest.fixture(scope="module")
def signing_key(stack: Stack) -> dict[str, Any]:
    """The private key of the IdP. Reading it starts a Python where the IdP runs, so it is read once."""
    if "signs" not in stack.provider.can or stack.hands is None:
        not_applicable("signs")
    return stack.provider.signing_key(stack.hands)


def published_key(stack: Stack) -> dict[str, Any]:
    return [key for key in stack.provider.public_keys() if key["alg"] == "RS256"][-1]


def test_token_without_the_idp_signature_ends_no_session(
    victim: Victim, stack: Stack, subtests: pytest.Subtests
) -> None:
    public = published_key(stack)
    with subtests.test("a key of the attacker's own"):
        victim.is_not_moved_by(signed_by_somebody_else(victim.claims, public["kid"]), because="signature")
    with subtests.test("a key nobody knows"):
        victim.is_not_moved_by(signed_by_somebody_else(victim.claims, "nobody"), because="key")
    with subtests.test("alg: none"):
        victim.is_not_moved_by(unsigned(victim.claims), because="algorithm")
    with subtests.test("the public key as a shared secret"):
        victim.is_not_moved_by(signed_with_the_public_key(victim.claims, public), because="algorithm")


def test_id_token_is_refused_as_a_logout_token(victim: Victim, laptop: Device, stack: Stack) -> None:
    own = tokens_of(laptop, stack, stack.manager, scope="openid").id_token
    victim.is_not_moved_by(own, because="events")


def test_token_with_one_flaw_is_refused_for_it_and_the_same_token_without_it_is_accepted(
    victim: Victim, stack: Stack, signing_key: dict[str, Any], subtests: pytest.Subtests, can: Can
) -> None:
    for forgery in SIGNED_BY_THE_PROVIDER:
        if forgery.needs and not can(forgery.needs, stack.manager):
            continue
        with subtests.test(forgery.name):
            victim.sign_in_again()
            victim.is_not_moved_by(tampered(forgery, victim.claims, signing_key), because=forgery.because)

    victim.sign_in_again()
    answer = post_logout_token(stack.manager, sign(victim.claims, signing_key))
    assert answer.status_code in OK, answer.text
    assert not is_signed_in(stack.manager, victim.cookie), "the flaws were the reason, and nothing else"
    if can("notices", stack.manager):
        expect(victim.manager.signed_out_card).to_be_visible()


def test_replayed_logout_token_does_not_end_the_next_session(
    laptop: Device, stack: Stack, signing_key: dict[str, Any], can: Can
) -> None:
    # One for all sessions of the user, so that the session which comes after it would be meant, too. It was
    # issued a moment ago: a session that is younger than a logout outlives it.
    victim = Victim(laptop, stack)
    claims = logout_claims(stack.idp_url, stack.manager.client_id, victim.sub, sid=None)
    captured = sign({**claims, "iat": int(time.time()) - 10}, signing_key)
    assert post_logout_token(stack.manager, captured).status_code in OK
    assert not is_signed_in(stack.manager, victim.cookie)

    laptop.open(stack.manager).expect_signed_in("Cameron Reyes")
    cookie = laptop.cookie(stack.manager.url)
    answer = post_logout_token(stack.manager, captured)

    if not can("refuses_replays", stack.manager):
        not_applicable("refuses_replays")
    assert answer.status_code == 400
    if can("explains_refusals", stack.manager):
        assert "used before" in answer.json()["error_description"]
    assert is_signed_in(stack.manager, cookie)
