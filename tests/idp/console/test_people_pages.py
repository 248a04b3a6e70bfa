"""People: added, disabled, given a new password, through the pages only."""

import re
from typing import Any

import pytest

from idp.models import SsoSession, User
from tests.conftest import PASSWORD, SiteClient
from tests.idp.conftest import DISPATCH, MANAGER, Provider
from tests.idp.console.conftest import HOSTILE, after, operator, send
from tests.reading import words

CAMERON, ADMIN = "/console/people/248289761002", "/console/people/248289761001"
ROBIN = {"username": "Robin", "name": "Robin Okoye", "email": "robin@pickup.example", "role": "user"}


def can_sign_in(provider: Provider, username: str, password: str = PASSWORD) -> bool:
    """With their own browser."""
    browser = provider.browser()
    browser.get("/login?next=/account")
    return browser.submit("/login", next="/account", username=username, password=password).status_code == 303


def alive(provider: Provider, sub: str = "248289761002") -> int:
    """The number of a person's active sessions."""
    return len([row for row in provider.rows(SsoSession) if row.sub == sub and row.ended_at is None])


def password_on(page: Any) -> str:
    """The password that is shown once."""
    found = re.search(r'id="password">([^<]+)<', page.text)
    assert found, words(page)
    return found[1]


# --- adding ---


def test_new_person_can_sign_in_with_the_shown_password(admin: SiteClient, provider: Provider) -> None:
    page = send(admin, "/console/people/add", **ROBIN)
    assert page.status_code == 201
    text = words(page)
    assert "Added Robin Okoye" in text
    assert "Username robin" in text
    assert f"{provider.issuer}/account" in text
    password = password_on(page)
    assert can_sign_in(provider, "robin", password)
    (row,) = (row for row in provider.rows(User) if row.username == "robin")
    assert password not in admin.get(f"/console/people/{row.sub}").text
    assert "Robin Okoye robin robin@pickup.example user 1" in words(admin.get("/console/people?search=OKOYE"))


@pytest.mark.parametrize(("ticked", "verified"), [({"email_verified": "yes"}, True), ({}, False)])
def test_operator_sets_whether_the_email_is_verified(
    ticked: dict[str, str], verified: bool, admin: SiteClient, provider: Provider
) -> None:
    """Core §5.1: some apps reject users whose ``email_verified`` is not true. The page shows the value."""
    send(admin, "/console/people/add", **ROBIN, **ticked)
    (row,) = (row for row in provider.rows(User) if row.username == "robin")
    assert row.claims["email_verified"] is verified
    shown = words(admin.get(f"/console/people/{row.sub}"))
    assert f"Email robin@pickup.example, {'verified' if verified else 'not verified'}" in shown


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"username": ""}, "Use up to 64 letters"),
        ({"username": "a b"}, "Use up to 64 letters"),
        ({"username": "Admin"}, "The username admin is already in use."),
        ({"name": ""}, "Enter a name."),
        ({"email": "nowhere"}, "Enter an email address"),
        ({"email": "", "email_verified": "yes"}, "Enter the address that is verified"),
        ({"role": "king"}, "Choose user or operator."),
    ],
)
def test_invalid_person_is_not_added(
    changes: dict[str, str], sentence: str, admin: SiteClient, provider: Provider
) -> None:
    page = send(admin, "/console/people/add", **{**ROBIN, **changes})
    assert page.status_code == 422
    assert sentence in words(page)
    assert 'id="password"' not in page.text
    assert len(provider.rows(User)) == 3


def test_hostile_name_is_escaped(admin: SiteClient, provider: Provider) -> None:
    send(admin, "/console/people/add", **{**ROBIN, "name": HOSTILE})
    (row,) = (row for row in provider.rows(User) if row.username == "robin")
    path = f"/console/people/{row.sub}"
    for page in ("/console/people", path, *(f"{path}/{act}" for act in ("disable", "remove", "password", "role"))):
        assert "<script>alert" not in admin.get(page).text
        assert HOSTILE in words(admin.get(page))


def test_search_without_a_match_says_so(admin: SiteClient) -> None:
    assert "No such person" in words(admin.get("/console/people?search=zz%25"))


# --- one person ---


def test_person_page_shows_account_and_sessions(provider: Provider, cameron: SiteClient) -> None:
    del cameron
    text = words(operator(provider).get(CAMERON))
    for part in ("Cameron Reyes", "Username cameron", "cameron@pickup.example", "Pickup Dispatch, Pickup Manager"):
        assert part in text


def test_logging_a_person_out_shows_consequences_and_result(provider: Provider, cameron: SiteClient) -> None:
    tokens = provider.tokens(cameron)
    provider.sign_in()
    admin = operator(provider)
    question = words(admin.get(f"{CAMERON}/sign-out"))
    assert "Log Cameron Reyes out everywhere?" in question
    assert "Notified immediately Pickup Dispatch Pickup Manager" in question
    assert "End 2 sessions" in question
    assert provider.works(tokens["access_token"]), "the question alone changes nothing"
    page = after(admin, admin.submit(f"{CAMERON}/sign-out"))
    assert "Logged Cameron Reyes out: 2 sessions ended. 2 apps were notified." in page
    assert alive(provider) == 0
    assert not provider.works(tokens["access_token"])
    assert {event.outcome for event in provider.events("op.session.ended")} == {"operator"}
    again = after(admin, admin.submit(f"{CAMERON}/sign-out"))
    assert "Cameron Reyes had no active session." in again


def test_person_can_be_disabled_and_enabled(provider: Provider, cameron: SiteClient) -> None:
    del cameron
    admin = operator(provider)
    assert "1 session ends in all apps" in words(admin.get(f"{CAMERON}/disable"))
    assert alive(provider) == 1
    page = after(admin, admin.submit(f"{CAMERON}/disable"))
    assert "Disabled Cameron Reyes. 1 session ended. 2 apps were notified." in page
    assert alive(provider) == 0
    assert len(provider.logout_tokens(DISPATCH)) == len(provider.logout_tokens(MANAGER)) == 1
    assert not can_sign_in(provider, "cameron")
    assert send(admin, f"{CAMERON}/disable").status_code == 409
    assert "Enabled Cameron Reyes." in after(admin, send(admin, f"{CAMERON}/enable"))
    assert can_sign_in(provider, "cameron")


def test_new_password_is_shown_once_and_ends_the_sessions(provider: Provider, cameron: SiteClient) -> None:
    del cameron
    admin = operator(provider)
    assert "The old password stops working" in words(admin.get(f"{CAMERON}/password"))
    assert can_sign_in(provider, "cameron"), "the question alone changes nothing"
    page = admin.submit(f"{CAMERON}/password")
    assert page.status_code == 200
    assert "2 sessions ended. 2 apps were notified." in words(page)
    assert alive(provider) == 0
    assert not can_sign_in(provider, "cameron")
    assert can_sign_in(provider, "cameron", password_on(page))


def test_removed_person_is_deleted(provider: Provider, cameron: SiteClient) -> None:
    del cameron
    admin = operator(provider)
    assert "This cannot be undone." in words(admin.get(f"{CAMERON}/remove"))
    page = after(admin, admin.submit(f"{CAMERON}/remove"))
    assert "Removed Cameron Reyes. 1 session ended. 2 apps were notified." in page
    assert "cameron" not in page
    assert alive(provider) == 0
    assert not can_sign_in(provider, "cameron")
    assert admin.get(CAMERON).status_code == 404


def test_role_can_be_granted_and_revoked(admin: SiteClient, provider: Provider) -> None:
    assert "logging everyone out" in words(admin.get(f"{CAMERON}/role"))
    assert "Cameron Reyes is now an operator." in after(admin, admin.submit(f"{CAMERON}/role"))
    assert operator(provider, "cameron").get("/console").status_code == 200
    assert "Cameron Reyes is now a user." in after(admin, send(admin, f"{CAMERON}/role"))
    assert operator(provider, "cameron").get("/console").status_code == 403


@pytest.mark.parametrize("act", ["disable", "remove", "role"])
def test_operator_cannot_lock_themselves_out(act: str, admin: SiteClient, provider: Provider) -> None:
    answer = send(admin, f"{ADMIN}/{act}")
    assert answer.status_code == 409
    assert "You cannot do this to your own account; another operator can. Nothing has changed." in words(answer)
    assert admin.get("/console").status_code == 200
    assert can_sign_in(provider, "admin")
    assert f"/{act}" not in admin.get(ADMIN).text.partition("<main")[2], "and is not offered it"
