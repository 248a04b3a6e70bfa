"""``flask --app idp client set``, ``client register``, ``keys rotate``, ``person add`` and ``person end-sessions``.

All work while the service runs.
"""

import json
import sys
from urllib.parse import urlsplit

import click
from flask import Flask
from flask.cli import AppGroup
from sqlalchemy import select

from idp.models import Client, User
from idp.operations import InvalidError, OperationError, people, sessions
from idp.operations.applications import edit_application, register_application
from idp.outbox.reasons import Reason
from idp.provider import current_provider
from idp.tokens.signing_keys import BEFORE_SIGNING_SECONDS, RELOAD_SECONDS, rotate
from pickup_web import events
from pickup_web.database import db
from pickup_web.words import duration

CHANGEABLE = ("backchannel_logout_uri", "delete_tokens_on_logout")
BY = "command line"  # who did it, in the events


def add_commands(app: Flask) -> None:
    """Give ``app`` the command groups ``client``, ``keys`` and ``person``."""
    group = AppGroup("client", help="The registered clients.")
    group.command("set", help="Change one value of a client; an empty VALUE removes it.")(set_value)
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


@click.argument("client_id")
@click.argument("name", type=click.Choice(CHANGEABLE))
@click.argument("value")
def set_value(client_id: str, name: str, value: str) -> None:
    """``flask client set``."""
    client = db.session.get(Client, client_id)
    if client is None:
        raise click.ClickException(f"No client {client_id!r} is registered.")
    if name == "delete_tokens_on_logout" and value not in ("", "none", "session", "all"):
        raise click.ClickException("delete_tokens_on_logout is none, session or all; empty for the provider's default.")
    if name == "backchannel_logout_uri" and value and not is_usable(value):
        raise click.ClickException("backchannel_logout_uri is an absolute http(s) address without a fragment.")
    setattr(client, name, value or None)
    events.record(db.session, "op.client.changed", client_id=client_id, outcome=f"{name} = {value or '(none)'}")
    db.session.commit()
    click.echo(f"{client_id}: {name} = {value or '(none)'}")


@click.argument("client_id")
@click.argument("metadata")
def register(client_id: str, metadata: str) -> None:
    """``flask client register``: the metadata is JSON, as in dynamic registration (RFC 7591 §2)."""
    try:
        values = json.loads(metadata)
    except ValueError as error:
        raise click.ClickException("METADATA is not JSON.") from error
    if not isinstance(values, dict) or values.get("token_endpoint_auth_method") != "none":
        # The console shows a new secret once. A terminal keeps what it has shown.
        raise click.ClickException('This registers clients with "token_endpoint_auth_method": "none" only.')
    client = db.session.get(Client, client_id)
    try:
        if client is None:
            register_application(db.session, {**values, "client_id": client_id}, by="command line")
        else:
            edit_application(db.session, client_id, values, by="command line")
    except InvalidError as error:
        raise click.ClickException(" ".join(f"{name}: {text}" for name, text in error.fields.items())) from error
    click.echo(f"{client_id} is registered.")


def is_usable(uri: str) -> bool:
    """BCL §2.2: absolute, perhaps with a query, never with a fragment."""
    parts = urlsplit(uri)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and "#" not in uri


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
