"""People: added, shut out, given a new password, by a person who has only the pages."""

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
    """By a browser of their own."""
    browser = provider.browser()
    browser.get("/login?next=/account")
    return browser.submit("/login", next="/account", username=username, password=password).status_code == 303


def alive(provider: Provider, sub: str = "248289761002") -> int:
    """How many of a person's sessions live."""
    return len([row for row in provider.rows(SsoSession) if row.sub == sub and row.ended_at is None])


def password_on(page: Any) -> str:
    """The one that is shown once."""
    found = re.search(r'id="password">([^<]+)<', page.text)
    assert found, words(page)
    return found[1]


# --- adding ---


def test_somebody_new_can_sign_in_with_the_password_that_is_shown_once(admin: SiteClient, provider: Provider) -> None:
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
def test_the_operator_says_whether_the_address_is_verified(
    ticked: dict[str, str], verified: bool, admin: SiteClient, provider: Provider
) -> None:
    """Core §5.1: some apps refuse people whose ``email_verified`` is not true. The page shows which it is."""
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
def test_who_is_not_described_well_is_not_added(
    changes: dict[str, str], sentence: str, admin: SiteClient, provider: Provider
) -> None:
    page = send(admin, "/console/people/add", **{**ROBIN, **changes})
    assert page.status_code == 422
    assert sentence in words(page)
    assert 'id="password"' not in page.text
    assert len(provider.rows(User)) == 3


def test_a_hostile_name_is_text(admin: SiteClient, provider: Provider) -> None:
    send(admin, "/console/people/add", **{**ROBIN, "name": HOSTILE})
    (row,) = (row for row in provider.rows(User) if row.username == "robin")
    path = f"/console/people/{row.sub}"
    for page in ("/console/people", path, *(f"{path}/{act}" for act in ("disable", "remove", "password", "role"))):
        assert "<script>alert" not in admin.get(page).text
        assert HOSTILE in words(admin.get(page))


def test_what_is_not_there_is_said(admin: SiteClient) -> None:
    assert "No such person" in words(admin.get("/console/people?search=zz%25"))


# --- one person ---


def test_a_persons_page_shows_account_and_sessions(provider: Provider, cameron: SiteClient) -> None:
    del cameron
    text = words(operator(provider).get(CAMERON))
    for part in ("Cameron Reyes", "Username cameron", "cameron@pickup.example", "Pickup Dispatch, Pickup Manager"):
        assert part in text


def test_signing_out_shows_first_what_dies_and_then_says_what_happened(provider: Provider, cameron: SiteClient) -> None:
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


def test_disabling_and_enabling(provider: Provider, cameron: SiteClient) -> None:
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


def test_a_new_password_is_shown_once_and_ends_the_sessions(provider: Provider, cameron: SiteClient) -> None:
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


def test_who_is_removed_is_gone(provider: Provider, cameron: SiteClient) -> None:
    del cameron
    admin = operator(provider)
    assert "This cannot be undone." in words(admin.get(f"{CAMERON}/remove"))
    page = after(admin, admin.submit(f"{CAMERON}/remove"))
    assert "Removed Cameron Reyes. 1 session ended. 2 apps were notified." in page
    assert "cameron" not in page
    assert alive(provider) == 0
    assert not can_sign_in(provider, "cameron")
    assert admin.get(CAMERON).status_code == 404


def test_a_role_is_given_and_taken(admin: SiteClient, provider: Provider) -> None:
    assert "logging everyone out" in words(admin.get(f"{CAMERON}/role"))
    assert "Cameron Reyes is now an operator." in after(admin, admin.submit(f"{CAMERON}/role"))
    assert operator(provider, "cameron").get("/console").status_code == 200
    assert "Cameron Reyes is now a user." in after(admin, send(admin, f"{CAMERON}/role"))
    assert operator(provider, "cameron").get("/console").status_code == 403


@pytest.mark.parametrize("act", ["disable", "remove", "role"])
def test_an_operator_does_not_shut_themselves_out(act: str, admin: SiteClient, provider: Provider) -> None:
    answer = send(admin, f"{ADMIN}/{act}")
    assert answer.status_code == 409
    assert "You cannot do this to your own account; another operator can. Nothing has changed." in words(answer)
    assert admin.get("/console").status_code == 200
    assert can_sign_in(provider, "admin")
    assert f"/{act}" not in admin.get(ADMIN).text.partition("<main")[2], "and is not offered it"
