"""One password opens both apps: they share one session of the provider, named by one sid."""

import pytest
from playwright.sync_api import expect

from e2e.apps import App
from e2e.conftest import Can
from e2e.device import Device
from e2e.pages.sign_in import SignInPage
from e2e.record import Record
from e2e.stack import Stack


def test_signing_in_at_one_app_opens_the_other_without_a_password(
    laptop: Device, record: Record, here: App, there: App, can: Can
) -> None:
    first = laptop.sign_in_by_hand(here, "cameron")
    second = first.open_other_app(there)

    if there.front_heading:
        expect(second.heading, "the other app opens at once").to_have_text(there.front_heading)
    second.expect_signed_in("Cameron Reyes")

    if not (can("shows_claims", here) and can("shows_claims", there)):
        return
    one, other = laptop.id_token(here), laptop.id_token(there)
    audiences = [token["aud"] if isinstance(token["aud"], list) else [token["aud"]] for token in (one, other)]
    assert audiences == [[here.client_id], [there.client_id]], "each app has an ID token of its own"
    assert one["sub"] == other["sub"], "both ID tokens name the same person"
    if can("shared_sid"):
        assert one["sid"] == other["sid"], "and the same session"

    if not can("shows_events"):
        return
    sid = str(one["sid"])
    assert len(record.events("idp", "op.session.created", sid=sid)) == 1, (
        "which is the provider's, made by one password"
    )
    issued = record.events("idp", "op.id_token.issued", sid=sid)
    assert [event.client_id for event in issued] == [here.client_id, there.client_id]


@pytest.mark.needs("checks_passwords")
def test_wrong_password_opens_neither_app(laptop: Device, stack: Stack) -> None:
    laptop.may_complain("status of 401")  # that is how the sign-in page answers
    sign_in = SignInPage(laptop.open(stack.dispatch).tab, stack)

    sign_in.sign_in("cameron", password="not the password")

    sign_in.expect_refused()
    for app in (stack.dispatch, stack.manager):
        SignInPage(laptop.open(app).tab, stack).expect_shown()
