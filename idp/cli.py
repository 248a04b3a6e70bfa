"""``flask --app idp``: the commands ``client …``, ``keys rotate`` and ``person …``.

All work while the service runs.
"""

import json
import sys
from typing import Any
from urllib.parse import urlsplit

import click
from flask import Flask
from flask.cli import AppGroup
from sqlalchemy import select

from idp.models import Client, User
from idp.operations import InvalidError, NotFoundError, OperationError, people, sessions
from idp.operations.application_settings import SETTINGS
from idp.operations.applications import (
    edit_application,
    has_secret,
    list_applications,
    register_application,
    remove_application,
)
from idp.outbox.reasons import Reason
from idp.provider import current_provider
from idp.tokens.signing_keys import BEFORE_SIGNING_SECONDS, RELOAD_SECONDS, rotate
from pickup_web import events
from pickup_web.database import db
from pickup_web.words import duration

FOR_DEMONSTRATIONS = ("backchannel_logout_uri", "delete_tokens_on_logout")
CHANGEABLE = [name for name in SETTINGS if name != "client_id"]
BY = "command line"  # who did it, in the events


def add_commands(app: Flask) -> None:
    """Give ``app`` the command groups ``client``, ``keys`` and ``person``."""
    group = AppGroup("client", help="The registered clients.")
    group.command("list", help="List the clients: id, authentication method, back-channel logout URL.")(show_clients)
    group.command("add", help="Register a client. Reads its secret from standard input.")(add_client)
    group.command("set", help="Change one setting of a client; an empty VALUE removes it.")(set_value)
    group.command("remove", help="Remove a client, and end its part in every session.")(remove_client)
    group.command("register", help="Register a client without a secret, or change it.")(register)
    app.cli.add_command(group)
    keys = AppGroup("keys", help="The signing keys.")
    keys.command("rotate", help="Publish the next keys now; they sign a little later.")(rotate_keys)
    app.cli.add_command(keys)
    person = AppGroup("person", help="The people who can sign in.")
    person.command("add", help="Add those of standard input, each line a username and a password, unless they exist.")(
        add_people
    )
    person.command("end-sessions", help="End all sessions of a person.")(end_sessions)
    app.cli.add_command(person)


def rotate_keys() -> None:
    """``flask keys rotate``."""
    for key in rotate(db.session, current_provider().settings.signing_algorithms):
        events.record(db.session, "op.key.published", outcome=key.alg)
        click.echo(
            f"{key.kid} ({key.alg}): every worker publishes it within {duration(RELOAD_SECONDS)}, "
            f"and signs with it in {duration(BEFORE_SIGNING_SECONDS)}."
        )
    db.session.commit()


def show_clients() -> None:
    """``flask client list``. Prints a line for each client; the last column is ``-`` if it is not notified."""
    for client in list_applications(db.session):
        click.echo(f"{client.client_id} {client.token_endpoint_auth_method} {client.backchannel_logout_uri or '-'}")


@click.argument("client_id")
@click.argument("settings")
def add_client(client_id: str, settings: str) -> None:
    """``flask client add``. ``settings``: a JSON object with the settings of docs/console.md.

    It reads the secret from standard input, because other users of the machine can see the arguments of a process.
    """
    values = json_object("SETTINGS", settings)
    secret = None
    if has_secret(Client(token_endpoint_auth_method=values.get("token_endpoint_auth_method", "client_secret_basic"))):
        secret = sys.stdin.readline().strip()
        if not secret:
            raise click.ClickException("Write the client's secret to standard input.")
    try:
        register_application(db.session, {"client_name": client_id, **values, "client_id": client_id}, BY, secret)
    except InvalidError as error:
        raise in_words(error) from error
    click.echo(f"{client_id} is registered.")


@click.argument("client_id")
@click.argument("name", type=click.Choice(CHANGEABLE))
@click.argument("value")
def set_value(client_id: str, name: str, value: str) -> None:
    """``flask client set``. The value of a list, a number or true/false is JSON."""
    client = db.session.get(Client, client_id)
    if client is None or client.removed_at is not None:
        raise click.ClickException(f"No client {client_id!r} is registered.")
    if name in FOR_DEMONSTRATIONS:
        check_for_demonstration(name, value)
        setattr(client, name, value or None)
        events.record(db.session, "op.client.changed", client_id=client_id, outcome=f"{name} = {value or '(none)'}")
        db.session.commit()
    else:
        try:
            edit_application(db.session, client_id, {name: value_of(name, value)}, BY)
        except InvalidError as error:
            raise in_words(error) from error
    click.echo(f"{client_id}: {name} = {value or '(none)'}")


def check_for_demonstration(name: str, value: str) -> None:
    """The form of a value. Unlike the console, this does not ask where the address leads."""
    if name == "delete_tokens_on_logout" and value not in ("", "none", "session", "all"):
        raise click.ClickException("delete_tokens_on_logout is none, session or all; empty for the provider's default.")
    if name == "backchannel_logout_uri" and value and not is_usable(value):
        raise click.ClickException("backchannel_logout_uri is an absolute http(s) address without a fragment.")


def is_usable(uri: str) -> bool:
    """BCL §2.2: absolute, perhaps with a query, never with a fragment."""
    parts = urlsplit(uri)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and "#" not in uri


@click.argument("client_id")
def remove_client(client_id: str) -> None:
    """``flask client remove``. Its id can never be used again."""
    try:
        notified = remove_application(db.session, client_id, BY)
    except NotFoundError as error:
        raise click.ClickException(f"No client {client_id!r} is registered.") from error
    click.echo(f"{client_id} is removed; it is notified of {notified} {'logout' if notified == 1 else 'logouts'}.")


@click.argument("client_id")
@click.argument("metadata")
def register(client_id: str, metadata: str) -> None:
    """``flask client register``: the metadata is JSON, as in dynamic registration (RFC 7591 §2)."""
    values = json_object("METADATA", metadata)
    if values.get("token_endpoint_auth_method") != "none":
        raise click.ClickException('This registers clients with "token_endpoint_auth_method": "none" only; see add.')
    client = db.session.get(Client, client_id)
    try:
        if client is None:
            register_application(db.session, {**values, "client_id": client_id}, by=BY)
        else:
            edit_application(db.session, client_id, values, by=BY)
    except InvalidError as error:
        raise in_words(error) from error
    click.echo(f"{client_id} is registered.")


def json_object(name: str, text: str) -> dict[str, Any]:
    """The argument ``name`` as a JSON object."""
    try:
        values = json.loads(text)
    except ValueError as error:
        raise click.ClickException(f"{name} is not JSON.") from error
    if not isinstance(values, dict):
        raise click.ClickException(f'{name} takes a JSON object only, such as {{"redirect_uris": ["…"]}}.')
    return values


def value_of(name: str, text: str) -> Any:
    """The text as a value of this setting; None if it is empty."""
    kinds = {SETTINGS[name].get("type"), *(kind.get("type") for kind in SETTINGS[name].get("anyOf", []))}
    if not text:
        return [] if "array" in kinds else None
    if "string" in kinds or "enum" in SETTINGS[name]:
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise click.ClickException(f"{name} needs JSON: a number, true or false, or a list.") from error


def in_words(error: InvalidError) -> click.ClickException:
    """A sentence for each invalid setting."""
    return click.ClickException(" ".join(f"{name}: {text}" for name, text in error.fields.items()))


def add_people() -> None:
    """``flask person add``. Prints each username that was added.

    It reads standard input, because other users of the machine can see the arguments of a process.
    """
    for line in sys.stdin:
        username, _, password = line.strip().partition(" ")
        if not username or person_named(username):
            continue
        try:
            people.add_person(db.session, username, username, "", password, "user", BY)
        except OperationError as refused:
            raise click.ClickException(f"{username}: {refused}") from refused
        click.echo(username)


@click.argument("username")
def end_sessions(username: str) -> None:
    """``flask person end-sessions``."""
    person = person_named(username)
    if person is None:
        raise click.ClickException(f"There is no person {username!r}.")
    count = sessions.end_all_of(db.session, person.sub, Reason.OPERATOR, BY)
    click.echo(f"{username}: {count} {'session' if count == 1 else 'sessions'} ended")


def person_named(username: str) -> User | None:
    """The person with this username."""
    return db.session.scalar(select(User).where(User.username == username))
