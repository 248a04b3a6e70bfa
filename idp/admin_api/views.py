"""The views. Each calls idp/operations/ with the caller's id and returns a resource.

A docstring's first line is the summary in ``openapi.json``, the rest the description.
"""

from typing import Any, Literal

from flask import g
from pydantic import Field

from idp.admin_api.bodies import AccountChanges, ClientBody, ClientChanges, NewAccount, NewClient
from idp.admin_api.errors import Problem
from idp.admin_api.paging import Listing, PageQuery
from idp.admin_api.queries import Text
from idp.admin_api.resources import Account, ClientWithSecret, Delivery, DeliveryWithAttempts, RegisteredClient, Session
from idp.models import User
from idp.operations import InvalidError, NotFoundError, applications, deliveries, people, sessions
from idp.outbox.reasons import Reason
from pickup_web.database import db

IDENTITY_STORE = "people"  # the only one


class SearchQuery(PageQuery):
    """A page of a list that can be searched."""

    search: Text = Field(default="", description="Part of its name or ID.")


class DeliveryQuery(PageQuery):
    """Filters of deliveries; all optional."""

    client_id: Text | None = None
    account_id: Text | None = None
    session_id: Text | None = None
    state: Literal["pending", "delivered", "refused", "given_up", "not_sent"] | None = None
    outcome: Text | None = Field(default=None, description="The result of the last attempt.")
    since: int | None = Field(default=None, ge=0, lt=2**53, description="Created at this time or later.")
    until: int | None = Field(default=None, ge=0, lt=2**53, description="Created before this time.")


# --- accounts ---


def list_accounts(identity_store_name: str, query: SearchQuery) -> Listing[Account]:
    """List the accounts, by user name"""
    in_store(identity_store_name)
    found, total = people.list_people(db.session, query.search, query.offset, query.size)
    return Listing([Account.of(user) for user in found], total, query)


def show_account(identity_store_name: str, account_id: str) -> Account:
    """Show one account"""
    return Account.of(find_account(identity_store_name, account_id))


def add_account(identity_store_name: str, body: NewAccount) -> Account:
    """Add an account

    The rules of the console apply. 422 if the username or the ID is already in use; an ID is never used twice.
    """
    in_store(identity_store_name)
    claims = body.claims
    if wrong := people.claims_fault(claims):
        raise InvalidError({"claims": wrong})
    user = people.add_person(
        db.session,
        body.username,
        claims.get("name", body.username),
        claims.get("email", ""),
        body.password,
        body.role,
        g.caller,
        email_verified=claims.get("email_verified", False),
        sub=body.id,
        more_claims=claims,
    )
    return Account.of(user)


def change_account(identity_store_name: str, account_id: str, body: AccountChanges) -> Account:
    """Change an account

    A new password, and `disabled`, end all its sessions, and its apps are notified. 409 for the last operator.
    """
    user = find_account(identity_store_name, account_id)
    given, sub = body.given(), user.sub
    wrong = {
        "claims": people.claims_fault({**user.claims, **without_null(body.claims)}),
        "password": people.password_fault(body.password) if "password" in given else "",
    }
    if fields := {field: sentence for field, sentence in wrong.items() if sentence}:
        raise InvalidError(fields)
    if given.get("role", user.role) != user.role:
        people.set_role(db.session, sub, body.role, g.caller)
    if "disabled" in given and body.disabled != (user.disabled_at is not None):
        (people.disable_person if body.disabled else people.enable_person)(db.session, sub, g.caller)
    if body.claims:
        people.change_claims(db.session, sub, body.claims, g.caller)
    if "password" in given:
        people.reset_password(db.session, sub, g.caller, body.password)
    return Account.of(people.get_person(db.session, sub))


def without_null(claims: dict[str, Any]) -> dict[str, Any]:
    """The claims that stay or are set."""
    return {name: value for name, value in claims.items() if value is not None}


def remove_account(identity_store_name: str, account_id: str) -> None:
    """Remove an account

    Its data is deleted and its sessions end; its apps are notified. 409 for the last operator.
    """
    user = find_account(identity_store_name, account_id)
    people.remove_person(db.session, user.sub, g.caller)


def find_account(identity_store_name: str, account_id: str) -> User:
    """The account in the path; :class:`Problem` 404."""
    in_store(identity_store_name)
    try:
        return people.get_person(db.session, account_id)
    except NotFoundError as error:
        raise Problem(404, "notFound", str(error), entity="account") from error


def in_store(identity_store_name: str) -> None:
    """404 for any other identity store."""
    if identity_store_name != IDENTITY_STORE:
        sentence = f"This identity store does not exist. The only one is {IDENTITY_STORE}."
        raise Problem(404, "notFound", sentence, entity="identityStore")


# --- their sessions ---


def list_sessions(identity_store_name: str, account_id: str, query: PageQuery) -> Listing[Session]:
    """List an account's active sessions, last used first"""
    user = find_account(identity_store_name, account_id)
    found, total = sessions.list_sessions(db.session, sub=user.sub, offset=query.offset, limit=query.size)
    return Listing([Session.of(view) for view in found], total, query)


def show_session(identity_store_name: str, account_id: str, session_id: str) -> Session:
    """Show one active session"""
    user = find_account(identity_store_name, account_id)
    return Session.of(find_session(user, session_id))


def end_session(identity_store_name: str, account_id: str, session_id: str) -> None:
    """End one session, in every app that shares it

    Its tokens are revoked, and its apps are notified over the back channel. The response does not wait for slow apps;
    the deliveries show the result. 404 if the session does not exist or has ended.
    """
    user = find_account(identity_store_name, account_id)
    sid = find_session(user, session_id).session.sid
    sessions.end_one(db.session, sid, Reason.OPERATOR, g.caller)


def end_sessions(identity_store_name: str, account_id: str) -> None:
    """End all sessions of an account

    204 also if it has none.
    """
    user = find_account(identity_store_name, account_id)
    sessions.end_all_of(db.session, user.sub, Reason.OPERATOR, g.caller)


def find_session(user: User, session_id: str) -> sessions.SessionView:
    """The account's active session; :class:`NotFoundError` for ended ones and for those of other accounts."""
    view = sessions.get_session(db.session, session_id)
    if view.session.sub != user.sub or view.session.ended_at is not None:
        raise NotFoundError("This account has no such session, or it has ended already.")
    return view


# --- clients ---


def list_clients(query: SearchQuery) -> Listing[RegisteredClient]:
    """List the registered clients, by name"""
    found = applications.list_applications(db.session, query.search)
    page = found[query.offset : query.offset + query.size]
    return Listing([RegisteredClient.of(client) for client in page], len(found), query)


def show_client(client_id: str) -> RegisteredClient:
    """Show one client"""
    return RegisteredClient.of(applications.get_application(db.session, client_id))


def add_client(body: NewClient) -> ClientWithSecret:  # type: ignore[valid-type] # made at run time
    """Register a client

    The rules of the console apply. 422 if the ID is already in use; an ID is never used twice.
    """
    given: ClientBody = body
    client, secret = applications.register_application(db.session, given.settings(), g.caller, given.client_secret)
    return ClientWithSecret.with_secret(client, secret)


def change_client(client_id: str, body: ClientChanges) -> RegisteredClient:  # type: ignore[valid-type]
    """Change a client

    Changes apply immediately. A new secret revokes the tokens that the client got for itself.
    """
    given: ClientBody = body
    settings, secret = given.settings(), given.client_secret
    client = applications.edit_application(db.session, client_id, settings, g.caller, given_secret=secret)
    return RegisteredClient.of(client)


def remove_client(client_id: str) -> None:
    """Remove a client

    Its part in every session ends, with its tokens, and it is notified.
    """
    applications.remove_application(db.session, client_id, g.caller)


# --- deliveries ---


def list_deliveries(query: DeliveryQuery) -> Listing[Delivery]:
    """List the deliveries, newest first"""
    wanted = deliveries.Search(
        client_id=query.client_id,
        sub=query.account_id,
        sid=query.session_id,
        state=query.state,
        outcome=query.outcome,
        since=query.since,
        until=query.until,
        offset=query.offset,
        limit=query.size,
    )
    found, total = deliveries.search(db.session, wanted)
    return Listing([Delivery.of(entry) for entry in found], total, query)


def show_delivery(delivery_id: str) -> DeliveryWithAttempts:
    """Show one delivery with every attempt"""
    return DeliveryWithAttempts.of(deliveries.get_delivery(db.session, delivery_id))


def redeliver(delivery_id: str) -> DeliveryWithAttempts:
    """Send a delivery again, now

    In any state. The response shows it after a moment; if the app is unreachable, it is retried with a new deadline.
    409 if the app has no back-channel logout URL, or if it is being sent now.
    """
    return DeliveryWithAttempts.of(deliveries.send_again(db.session, delivery_id, g.caller))
