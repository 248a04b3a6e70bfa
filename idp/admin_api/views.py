"""The operations. Each is one of idp/operations/; what is added here is who asks, and the shape of the answer.

A function's first line is its summary in ``openapi.json``, the rest its description.
"""

from typing import Literal

from flask import g
from pydantic import Field

from idp.admin_api.errors import Problem
from idp.admin_api.paging import Listing, PageQuery
from idp.admin_api.queries import Text
from idp.admin_api.resources import Account, Delivery, DeliveryWithAttempts, RegisteredClient, Session
from idp.models import User
from idp.operations import NotFoundError, applications, deliveries, people, sessions
from idp.outbox.reasons import Reason
from pickup_web.database import db

IDENTITY_STORE = "people"  # the one there is


class SearchQuery(PageQuery):
    """A list that can be searched."""

    search: Text = Field(default="", description="A part of what it is called.")


class DeliveryQuery(PageQuery):
    """What is left out does not matter."""

    client_id: Text | None = None
    account_id: Text | None = None
    session_id: Text | None = None
    state: Literal["pending", "delivered", "refused", "given_up", "not_sent"] | None = None
    outcome: Text | None = Field(default=None, description="Of the last try.")
    since: int | None = Field(default=None, ge=0, lt=2**53, description="Written then or later.")
    until: int | None = Field(default=None, ge=0, lt=2**53, description="Written before then.")


# --- accounts ---


def list_accounts(identity_store_name: str, query: SearchQuery) -> Listing[Account]:
    """List the accounts, by user name"""
    in_store(identity_store_name)
    found, total = people.list_people(db.session, query.search, query.offset, query.size)
    return Listing([Account.of(user) for user in found], total, query)


def show_account(identity_store_name: str, account_id: str) -> Account:
    """Show one account"""
    return Account.of(find_account(identity_store_name, account_id))


def find_account(identity_store_name: str, account_id: str) -> User:
    """The account of the path; 404."""
    in_store(identity_store_name)
    try:
        return people.get_person(db.session, account_id)
    except NotFoundError as error:
        raise Problem(404, "notFound", str(error), entity="account") from error


def in_store(identity_store_name: str) -> None:
    """404 for any identity store but ours."""
    if identity_store_name != IDENTITY_STORE:
        sentence = f"There is no such identity store. The one there is, is called {IDENTITY_STORE}."
        raise Problem(404, "notFound", sentence, entity="identityStore")


# --- their sessions ---


def list_sessions(identity_store_name: str, account_id: str, query: PageQuery) -> Listing[Session]:
    """List an account's sessions that live, the last used first"""
    user = find_account(identity_store_name, account_id)
    found, total = sessions.list_sessions(db.session, sub=user.sub, offset=query.offset, limit=query.size)
    return Listing([Session.of(view) for view in found], total, query)


def show_session(identity_store_name: str, account_id: str, session_id: str) -> Session:
    """Show one session, while it lives"""
    user = find_account(identity_store_name, account_id)
    return Session.of(find_session(user, session_id))


def end_session(identity_store_name: str, account_id: str, session_id: str) -> None:
    """End one session, in every app that shares it

    Its tokens are revoked, and its apps are told over the back channel. The answer does not wait for a slow app: what
    became of it is in the deliveries. 404 if there is no such session, or if it has ended already.
    """
    user = find_account(identity_store_name, account_id)
    sid = find_session(user, session_id).session.sid
    sessions.end_one(db.session, sid, Reason.OPERATOR, g.caller)


def end_sessions(identity_store_name: str, account_id: str) -> None:
    """End all sessions of an account

    204 also when it has none: nobody is signed in with it afterwards.
    """
    user = find_account(identity_store_name, account_id)
    sessions.end_all_of(db.session, user.sub, Reason.OPERATOR, g.caller)


def find_session(user: User, session_id: str) -> sessions.SessionView:
    """The account's session of this name; 404 for one that has ended, or that is another account's."""
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


# --- deliveries ---


def list_deliveries(query: DeliveryQuery) -> Listing[Delivery]:
    """List what was told to which app, the newest first"""
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
    """Show one delivery, with every try"""
    return DeliveryWithAttempts.of(deliveries.get_delivery(db.session, delivery_id))


def redeliver(delivery_id: str) -> DeliveryWithAttempts:
    """Send a delivery again, now

    Whatever became of it before. The answer shows it as it stands after a moment; if the app is away, it is tried
    again for as long as a new one would be. 409 if there is nowhere to send it.
    """
    return DeliveryWithAttempts.of(deliveries.send_again(db.session, delivery_id, g.caller))
