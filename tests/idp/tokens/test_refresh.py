"""Refresh tokens: rotation, the grace period, and what reuse revokes."""

import hashlib
import threading
from typing import Any

import pytest

from idp.tokens import refresh_grant
from idp.tokens.refresh_grant import GRACE_SECONDS
from idp.tokens.token_store import REFRESH_SECONDS
from tests.conftest import START, Clock, SiteClient
from tests.idp.conftest import DISPATCH, MANAGER, Provider, hidden
from tests.idp.flow.test_token import assert_refused
from tests.network import query_of
from tests.tokens import b64, read


def test_refresh_returns_new_tokens_of_the_same_session(provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """TOK-12, Core §12.2: the login's auth_time and sid, a new iat, no nonce."""
    old = provider.tokens(cameron)
    clock.turn(300)
    new = provider.refresh(old["refresh_token"]).get_json()
    before, after = read(old["id_token"])[1], read(new["id_token"])[1]
    for claim in ("iss", "sub", "aud", "azp", "auth_time", "amr", "sid"):
        assert after[claim] == before[claim]
    assert (before["iat"], after["iat"]) == (START, START + 300)
    assert not {"nonce", "c_hash"} & set(after)
    assert after["at_hash"] == b64(hashlib.sha256(new["access_token"].encode()).digest()[:16])
    assert provider.works(new["access_token"])
    assert len({old["access_token"], new["access_token"], old["refresh_token"], new["refresh_token"]}) == 4


def test_replaced_token_works_within_the_grace_period(provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """TOK-13: the replaced token works for a few more seconds."""
    old = provider.tokens(cameron)["refresh_token"]
    assert provider.refresh(old).status_code == 200
    clock.turn(GRACE_SECONDS)
    assert provider.refresh(old).status_code == 200


@pytest.mark.parametrize("offline", [False, True], ids=["session", "offline"])
def test_second_refresh_within_the_grace_revokes_the_first(
    offline: bool, provider: Provider, cameron: SiteClient
) -> None:
    """TOK-13, RFC 9700 §4.14.2: the first response was lost or the token was copied; one chain continues either way."""
    old = grant(provider, cameron, offline=offline)["refresh_token"]
    answers = [provider.refresh(old).get_json() for _ in range(3)]
    assert [provider.works(answer["access_token"]) for answer in answers] == [False, False, True]
    assert provider.refresh(answers[-1]["refresh_token"]).status_code == 200


@pytest.mark.parametrize("offline", [False, True], ids=["session", "offline"])
def test_reuse_after_the_successor_was_used_revokes_all(offline: bool, provider: Provider, cameron: SiteClient) -> None:
    """TOK-13, RFC 9700 §4.14.2: the first response was not lost, so the token was copied."""
    old = grant(provider, cameron, offline=offline)["refresh_token"]
    first = provider.refresh(old).get_json()
    second = provider.refresh(first["refresh_token"]).get_json()
    assert_refused(provider.refresh(old), "invalid_grant")
    assert not provider.works(second["access_token"])
    assert_refused(provider.refresh(second["refresh_token"]), "invalid_grant")


def test_use_of_a_revoked_successor_revokes_all(provider: Provider, cameron: SiteClient) -> None:
    """TOK-13, RFC 9700 §4.14.2: both responses arrived, at two parties; the faster one does not keep its chain."""
    old = provider.tokens(cameron)["refresh_token"]
    first, second = (provider.refresh(old).get_json() for _ in range(2))
    assert_refused(provider.refresh(first["refresh_token"]), "invalid_grant")
    assert not provider.works(second["access_token"])
    assert_refused(provider.refresh(second["refresh_token"]), "invalid_grant")


def test_replaced_token_is_rejected_after_its_successor_was_revoked(provider: Provider, cameron: SiteClient) -> None:
    """TOK-13, RFC 7009 §2.1: the app revoked its tokens; the grace period does not restore them."""
    old = provider.tokens(cameron)["refresh_token"]
    provider.post("/oauth2/revoke", token=provider.refresh(old).get_json()["refresh_token"])
    assert_refused(provider.refresh(old), "invalid_grant")


def test_second_use_with_an_invalid_scope_revokes_nothing(provider: Provider, cameron: SiteClient) -> None:
    """TOK-11, TOK-13: an invalid request changes nothing."""
    old = provider.tokens(cameron, scope="openid email")["refresh_token"]
    first = provider.refresh(old).get_json()
    assert_refused(provider.refresh(old, scope="openid email fleet.read"), "invalid_scope")
    assert provider.works(first["access_token"])
    assert provider.refresh(first["refresh_token"]).status_code == 200


def grant(provider: Provider, browser: SiteClient, *, offline: bool) -> dict[str, Any]:
    """Tokens that end with the session, or are valid longer."""
    if not offline:
        return provider.tokens(browser)
    provider.change_client(DISPATCH, scopes=["openid", "offline_access"])
    page = provider.authorize(browser, scope="openid offline_access", prompt="consent")
    response = browser.submit("/consent", request=hidden(page, "request"), answer="allow")
    tokens = provider.redeem(query_of(browser.get(response.location).location)["code"]).get_json()
    assert "offline_access" in tokens["scope"]
    return dict(tokens)


def test_late_reuse_of_a_refresh_token_revokes_all(provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """TOK-13, RFC 9700 §4.14.2: one of its two users stole it, and the IdP cannot tell which."""
    old, others = provider.tokens(cameron), provider.tokens(cameron, MANAGER)
    new = provider.refresh(old["refresh_token"]).get_json()
    clock.turn(GRACE_SECONDS + 1)
    assert provider.works(new["access_token"])
    assert_refused(provider.refresh(old["refresh_token"]), "invalid_grant")
    assert not provider.works(new["access_token"])
    assert_refused(provider.refresh(new["refresh_token"]), "invalid_grant")
    assert provider.works(others["access_token"])


def test_reuse_does_not_extend_the_grace_period(provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """TOK-13: the grace period starts with the first use."""
    old = provider.tokens(cameron)["refresh_token"]
    provider.refresh(old)
    clock.turn(GRACE_SECONDS - 1)
    provider.refresh(old)
    clock.turn(2)
    assert_refused(provider.refresh(old), "invalid_grant")


def test_second_of_two_simultaneous_refreshes_counts_as_reuse(
    provider: Provider, cameron: SiteClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TOK-13: rotated by one conditional update, for all workers; without the grace period reuse is theft."""
    monkeypatch.setattr(refresh_grant, "GRACE_SECONDS", -1)
    old, together, answers = provider.tokens(cameron)["refresh_token"], threading.Barrier(3), []

    def refresh() -> None:
        together.wait()
        answers.append(provider.refresh(old))

    threads = [threading.Thread(target=refresh) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first, *others = sorted(answers, key=lambda answer: answer.status_code)
    assert first.status_code == 200
    for other in others:
        assert_refused(other, "invalid_grant")
    assert not provider.works(first.get_json()["access_token"])


def test_three_simultaneous_refreshes_leave_one_chain(provider: Provider, cameron: SiteClient) -> None:
    """TOK-13: three threads of one app; each gets a response, and one of them stays valid."""
    old, together, answers = provider.tokens(cameron)["refresh_token"], threading.Barrier(3), []

    def refresh() -> None:
        together.wait()
        answers.append(provider.refresh(old).get_json())

    threads = [threading.Thread(target=refresh) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([answer for answer in answers if provider.works(answer["access_token"])]) == 1


def test_refresh_token_of_another_client_is_rejected(provider: Provider, cameron: SiteClient) -> None:
    """TOK-11: a made-up one belongs to no client."""
    token = provider.tokens(cameron)["refresh_token"]
    assert_refused(provider.refresh(token, MANAGER), "invalid_grant")
    assert_refused(provider.refresh("made up"), "invalid_grant")
    assert provider.refresh(token).status_code == 200


def test_refresh_can_reduce_but_not_extend_the_scope(provider: Provider, cameron: SiteClient) -> None:
    """TOK-11."""
    token = provider.tokens(cameron, scope="openid email")["refresh_token"]
    assert_refused(provider.refresh(token, scope="openid email fleet.read"), "invalid_scope")
    narrower = provider.refresh(token, scope="openid").get_json()
    assert narrower["scope"] == "openid"
    assert set(provider.userinfo(narrower["access_token"]).get_json()) == {"sub"}


def test_refresh_token_expires_with_the_longest_session(provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """TOK-14: ten hours."""
    token = provider.tokens(cameron)["refresh_token"]
    clock.turn(REFRESH_SECONDS)
    assert_refused(provider.refresh(token), "invalid_grant")
