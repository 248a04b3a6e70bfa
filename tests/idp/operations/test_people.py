"""An operator's operations on user accounts: each ends exactly the sessions it must end."""

from collections.abc import Callable
from typing import Any

import pytest

from idp.models import Consent, SsoSession, User
from idp.operations import InvalidError, NotFoundError, OperationError, people
from pickup_web.database import db, engine_of
from tests.conftest import PASSWORD, START, SiteClient
from tests.idp.conftest import DISPATCH, MANAGER, Provider
from tests.idp.flow.test_session_ending import killed, tokens_with_consent
from tests.statements import at_statement

ADMIN, CAMERON, ALEX = "248289761001", "248289761002", "248289761003"


def operate(provider: Provider, act: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Call one of the functions as the console and the API do, in a request's context."""
    with provider.app.app_context():
        return act(db.session, *arguments, **named)


def person(provider: Provider, sub: str) -> User:
    """The person's row."""
    return next(row for row in provider.rows(User) if row.sub == sub)


def add(provider: Provider, **changes: str) -> User:
    """Add a person; a change replaces a field."""
    good = {"username": "kim", "name": "Kim Ito", "email": "kim@pickup.example", "password": "eight or more"}
    given: dict[str, Any] = {**good, "role": "user", "by": "admin", **changes}
    with provider.app.app_context():
        added = people.add_person(db.session, **given)
        return person(provider, added.sub)


# --- the list ---


def test_list_is_sorted_paged_and_searched(provider: Provider) -> None:
    """By username; the number counts all matches."""
    assert [one.username for one in operate(provider, people.list_people)[0]] == ["admin", "alex", "cameron"]
    page, total = operate(provider, people.list_people, offset=1, limit=1)
    assert ([one.username for one in page], total) == (["alex"], 3)


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("CAM", ["cameron"]),
        ("reyes", ["cameron"]),
        ("alex@pick", ["alex"]),
        ("%", []),
        ("_", []),
        ("\0", []),
        ("  ", None),
    ],
)
def test_search_covers_username_name_and_email(search: str, found: list[str] | None, provider: Provider) -> None:
    """Case does not matter; wildcard characters of a database match literally."""
    page, total = operate(provider, people.list_people, search)
    names = ["admin", "alex", "cameron"] if found is None else found
    assert ([one.username for one in page], total) == (names, len(names))


@pytest.mark.usefixtures("cameron")
def test_only_active_sessions_are_counted(provider: Provider) -> None:
    """One query for a whole page of people."""
    assert operate(provider, people.count_sessions, [CAMERON, ALEX]) == {CAMERON: 1}
    operate(provider, people.disable_person, CAMERON, "admin")
    assert operate(provider, people.count_sessions, [CAMERON, ALEX]) == {}


# --- adding ---


def test_added_person_can_sign_in(provider: Provider) -> None:
    """With a new subject identifier, and the name as typed."""
    added = add(provider, username=" Kim ")
    browser = provider.browser()
    page = provider.authorize(browser)
    assert "code=" in provider.enter_password(browser, page, "kim", "eight or more").location
    assert (added.username, added.claims["name"], added.claims["email"]) == ("kim", "Kim Ito", "kim@pickup.example")
    assert added.sub not in (ADMIN, CAMERON, ALEX)
    (event,) = provider.events("op.user.added")
    assert event.detail == {"by": "admin", "sub": added.sub, "role": "user"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("username", ""),
        ("username", "two words"),
        ("username", "ünlaut"),
        ("username", "x" * 65),
        ("username", "Cameron"),
        ("name", ""),
        ("name", "a\nb"),
        ("email", "nowhere"),
        ("password", "seven77"),
        ("password", "x" * 1025),
        ("role", "god"),
    ],
)
def test_invalid_field_of_a_new_person_is_reported(field: str, value: str, provider: Provider) -> None:
    """No person is added."""
    with pytest.raises(InvalidError) as refused:
        add(provider, **{field: value})
    assert list(refused.value.fields) == [field]
    assert len(provider.rows(User)) == 3


def test_all_invalid_fields_are_reported_at_once(provider: Provider) -> None:
    """Users see all errors at once; an email address is optional."""
    with pytest.raises(InvalidError) as refused:
        add(provider, username="", password="", email="", name="")
    assert list(refused.value.fields) == ["username", "name", "password"]
    assert "email" not in add(provider, email="").claims


# --- disabling and enabling ---


def test_disabled_person_is_logged_out_and_cannot_sign_in(provider: Provider, cameron: SiteClient) -> None:
    """Sessions end, apps are notified, tokens become invalid, and the password is rejected."""
    tokens = provider.tokens(cameron)
    operate(provider, people.disable_person, CAMERON, "admin")
    assert (provider.session().end_reason, provider.session().ended_at) == ("user_disabled", START)
    assert all(len(provider.logout_tokens(app)) == 1 for app in (DISPATCH, MANAGER))
    assert not provider.works(tokens["access_token"])
    assert provider.refresh(tokens["refresh_token"]).get_json()["error"] == "invalid_grant"
    browser = provider.browser()
    assert provider.enter_password(browser, provider.authorize(browser)).status_code == 401
    (event,) = provider.events("op.user.disabled")
    assert event.detail == {"by": "admin", "sub": CAMERON}


@pytest.mark.parametrize("act", [people.disable_person, people.remove_person])
@pytest.mark.parametrize("policy", ["none", "session", "all"])
def test_offline_tokens_of_a_disabled_person_are_revoked(
    act: Callable[..., None], policy: str, provider: Provider, cameron: SiteClient
) -> None:
    """At refresh, userinfo and introspection; the policy is about sessions, this is about the user."""
    provider.change_client(DISPATCH, scopes=["openid", "offline_access"], delete_tokens_on_logout=policy)
    tokens = tokens_with_consent(provider, cameron, scope="openid offline_access")
    assert provider.works(tokens["access_token"])
    assert provider.post("/oauth2/introspect", token=tokens["access_token"]).get_json()["active"]
    operate(provider, act, CAMERON, "admin")
    assert not provider.works(tokens["access_token"])
    assert provider.post("/oauth2/introspect", token=tokens["access_token"]).get_json() == {"active": False}
    assert provider.refresh(tokens["refresh_token"]).get_json()["error"] == "invalid_grant"


@pytest.mark.usefixtures("cameron")
def test_enabled_person_can_sign_in_but_gets_no_old_session(provider: Provider) -> None:
    """The old session stays ended."""
    operate(provider, people.disable_person, CAMERON, "admin")
    operate(provider, people.enable_person, CAMERON, "admin")
    assert provider.session().end_reason == "user_disabled"
    provider.sign_in()
    with pytest.raises(OperationError, match="is not disabled"):
        operate(provider, people.enable_person, CAMERON, "admin")


@pytest.mark.usefixtures("cameron")
def test_disabling_twice_is_rejected(provider: Provider) -> None:
    """The time of the first disabling is kept."""
    operate(provider, people.disable_person, CAMERON, "admin")
    with pytest.raises(OperationError, match="already disabled"):
        operate(provider, people.disable_person, CAMERON, "admin")
    assert len(provider.events("op.user.disabled")) == 1


@pytest.mark.usefixtures("cameron")
def test_crash_while_disabling_changes_nothing(provider: Provider) -> None:
    """Person, tokens, sessions and deliveries are one transaction."""
    with at_statement(engine_of(provider.app), "INSERT INTO delivery", killed), pytest.raises(KeyboardInterrupt):
        operate(provider, people.disable_person, CAMERON, "admin")
    assert person(provider, CAMERON).disabled_at is None
    assert provider.session().ended_at is None
    assert provider.events("op.user.disabled") == []


# --- removing ---


def test_only_the_subject_of_a_removed_person_is_kept(provider: Provider, cameron: SiteClient) -> None:
    """Core §2: it is never reassigned. The username can be used again."""
    with provider.database() as rows:
        rows.add(Consent(sub=CAMERON, client_id=DISPATCH, scopes=["openid"], given_at=START))
    tokens = provider.tokens(cameron)
    operate(provider, people.remove_person, CAMERON, "admin")
    removed = person(provider, CAMERON)
    assert (removed.claims, removed.password_hash, removed.removed_at) == ({}, "", START)
    assert "cameron" not in removed.username
    assert provider.rows(Consent) == []
    assert provider.session().end_reason == "user_removed"
    assert not provider.works(tokens["access_token"])
    assert operate(provider, people.list_people)[1] == 2
    assert add(provider, username="cameron").sub != CAMERON
    browser = provider.browser()
    assert provider.enter_password(browser, provider.authorize(browser)).status_code == 401, "another password"
    assert provider.enter_password(browser, provider.authorize(browser), removed.username, "").status_code == 401


@pytest.mark.parametrize(
    "act", [people.disable_person, people.enable_person, people.remove_person, people.reset_password]
)
@pytest.mark.parametrize("sub", ["nobody", "", "\0", CAMERON])
def test_operations_on_an_unknown_person_fail(act: Callable[..., None], sub: str, provider: Provider) -> None:
    """Also for a person who was removed."""
    operate(provider, people.remove_person, CAMERON, "admin")
    with pytest.raises(NotFoundError):
        operate(provider, act, sub, "admin")
    with pytest.raises(NotFoundError):
        operate(provider, people.get_person, sub)


# --- protection of operators ---


@pytest.mark.parametrize("act", [people.disable_person, people.remove_person, people.set_role])
def test_operators_cannot_lock_out_themselves_or_the_last_operator(
    act: Callable[..., None], provider: Provider
) -> None:
    """At least one operator must remain. An API client does not count as one."""
    arguments = ("user",) if act is people.set_role else ()
    with pytest.raises(OperationError, match="your own account"):
        operate(provider, act, ADMIN, *arguments, by="admin")
    with pytest.raises(OperationError, match="the last operator"):
        operate(provider, act, ADMIN, *arguments, by="a-program")
    assert (person(provider, ADMIN).disabled_at, person(provider, ADMIN).role) == (None, "operator")
    operate(provider, people.set_role, ALEX, "operator", by="admin")
    operate(provider, act, ADMIN, *arguments, by="alex")
    with pytest.raises(OperationError, match="the last operator"):
        operate(provider, act, ALEX, *arguments, by="a-program")


def test_disabled_operator_does_not_count(provider: Provider) -> None:
    """Only an enabled operator counts as the last one."""
    operate(provider, people.set_role, ALEX, "operator", by="admin")
    operate(provider, people.disable_person, ALEX, by="admin")
    with pytest.raises(OperationError, match="the last operator"):
        operate(provider, people.disable_person, ADMIN, by="a-program")


def test_unknown_role_is_rejected(provider: Provider) -> None:
    """Any other value changes nothing."""
    with pytest.raises(InvalidError):
        operate(provider, people.set_role, ALEX, "god", by="admin")
    assert person(provider, ALEX).role == "user"


# --- passwords ---


def test_password_reset_invalidates_the_old_one_and_ends_all_sessions(provider: Provider, cameron: SiteClient) -> None:
    """It is generated here, and returned once."""
    provider.sign_in()
    password = operate(provider, people.reset_password, CAMERON, "admin")
    assert {session.end_reason for session in provider.rows(SsoSession)} == {"password_changed"}
    assert len(provider.rows(SsoSession)) == 2
    browser = provider.browser()
    assert provider.enter_password(browser, provider.authorize(browser)).status_code == 401
    assert provider.enter_password(browser, provider.authorize(browser), "cameron", password).status_code == 303
    assert operate(provider, people.reset_password, CAMERON, "admin") != password
    assert password not in str([event.as_dict() for event in provider.events()])
    del cameron


def test_operator_can_choose_a_valid_password(provider: Provider) -> None:
    """The same rules as for other users."""
    assert operate(provider, people.reset_password, CAMERON, "admin", "correct horse") == "correct horse"
    with pytest.raises(InvalidError) as refused:
        operate(provider, people.reset_password, CAMERON, "admin", "short")
    assert "password" in refused.value.fields


def change(provider: Provider, old: str, new: str, keep_sid: str = "") -> int:
    """Cameron changes the password."""
    with provider.app.app_context():
        return people.change_own_password(db.session, db.session.get_one(User, CAMERON), old, new, keep_sid)


@pytest.mark.usefixtures("cameron")
def test_password_change_ends_only_the_other_sessions(provider: Provider) -> None:
    """An attacker who knew the old password is logged out."""
    kept = provider.session().sid
    provider.sign_in()
    provider.sign_in()
    assert change(provider, PASSWORD, "another one", kept) == 2
    assert [session.sid for session in provider.rows(SsoSession) if session.ended_at is None] == [kept]
    browser = provider.browser()
    assert provider.enter_password(browser, provider.authorize(browser)).status_code == 401
    assert provider.enter_password(browser, provider.authorize(browser), "cameron", "another one").status_code == 303


@pytest.mark.usefixtures("cameron")
@pytest.mark.parametrize(
    ("old", "new", "field"),
    [("wrong", "another one", "old"), (PASSWORD, "seven77", "new"), (PASSWORD, "x" * 1025, "new"), ("", "", "old")],
)
def test_password_change_needs_the_old_and_a_valid_new_one(old: str, new: str, field: str, provider: Provider) -> None:
    """In that case no session ends."""
    with pytest.raises(InvalidError) as refused:
        change(provider, old, new)
    assert list(refused.value.fields) == [field]
    assert provider.session().ended_at is None
    provider.sign_in()
