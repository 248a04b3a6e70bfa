"""Delete tokens on logout: what the session's tokens are worth afterwards."""

import pytest
from playwright.sync_api import expect

from e2e.code_flow import token_request, tokens_of
from e2e.conftest import Can
from e2e.device import Device
from e2e.operator import Operator
from e2e.plain import http, is_signed_in
from e2e.record import Record
from e2e.stack import Stack


def status_with(access_token: str, url: str) -> int:
    """What an API answers to the bearer of this token."""
    return http.get(url, headers={"Authorization": f"Bearer {access_token}"}).status_code


@pytest.mark.needs("revokes_access_tokens")
def test_policy_session_refuses_old_tokens_after_the_logout(laptop: Device, stack: Stack, can: Can) -> None:
    has_drivers = can("pickup_idp") and can("pickup_app", stack.manager)
    dispatch = laptop.sign_in(stack.dispatch, "cameron")
    tokens = tokens_of(laptop, stack, stack.dispatch, scope="openid fleet.read" if has_drivers else "openid")
    drivers, userinfo = f"{stack.manager.url}/api/drivers", stack.provider.metadata["userinfo_endpoint"]
    assert status_with(tokens.access_token, userinfo) == 200
    assert not has_drivers or status_with(tokens.access_token, drivers) == 200

    dispatch.log_out()
    dispatch.expect_logged_out()

    assert status_with(tokens.access_token, userinfo) == 401
    if has_drivers:
        assert status_with(tokens.access_token, drivers) == 401, "Manager's API asks the provider, which revoked it"
    if not tokens.refresh_token:
        return
    answer = token_request(stack, stack.dispatch, grant_type="refresh_token", refresh_token=tokens.refresh_token)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant"), "and nothing makes a new one"


@pytest.mark.needs("pickup_idp", "pickup_app")
def test_policy_none_keeps_tokens_and_sends_no_logout_request(
    laptop: Device, record: Record, stack: Stack, operator: Operator
) -> None:
    with operator.client_setting("pickup-manager", delete_tokens_on_logout="none"):
        dispatch, manager = laptop.sign_in_at(stack.dispatch, stack.manager, user="cameron")
        manager.expect_signed_in("Cameron Reyes")
        sid, cookie = laptop.sid(stack.manager), laptop.cookie(stack.manager.url)
        tokens = tokens_of(laptop, stack, stack.manager, scope="openid")

        dispatch.log_out()
        dispatch.expect_logged_out()

        not_sent = record.wait_for("idp", "op.logout.not_sent", sid=sid, client_id="pickup-manager")
        assert not_sent.outcome == "Its policy is to keep tokens and to send no logout request."
        assert record.events("manager", "rp.logout_token.accepted", sid=sid) == []
        assert is_signed_in(stack.manager, cookie)
        expect(manager.signed_out_card).to_have_count(0)
        assert status_with(tokens.access_token, f"{stack.idp_url}/oauth2/userinfo") == 200
