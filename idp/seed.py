"""Loads the demo people and the apps from seed.toml, your own from PICKUP_SEED, and applies changed settings."""

import json
import tomllib
from pathlib import Path
from typing import Any

from argon2.exceptions import Argon2Error, InvalidHashError
from sqlalchemy import Connection, Engine, select, update
from sqlalchemy.orm import Session

from idp.models import AppliedSetting, Client, User, hash_of
from idp.seed_file import NO_FILE, SeedFile
from idp.sign_in.passwords import hasher
from idp.tokens.signing_keys import make_first_keys
from pickup_web.schema import in_turn
from pickup_web.seed import Load
from pickup_web.settings import Settings

SEED = tomllib.loads(Path(__file__).with_name("seed.toml").read_text("utf-8"))
PASSWORD, ADDRESSES = "demo password", "addresses"  # names of rows
PRACTICE = "pickup-practice"
ADDRESS_FIELDS = ("home_url", "redirect_uris", "post_logout_redirect_uris", "backchannel_logout_uri")

# Both apps are first-party: same security settings, and the logout token may contain the reason.
FIRST_PARTY = {
    "grant_types": ["authorization_code", "refresh_token"],
    "response_types": ["code"],
    "token_endpoint_auth_method": "client_secret_basic",
    "backchannel_logout_session_required": True,
    "require_pkce": True,
    "tell_logout_reason": True,
}


def from_settings(settings: Settings, own: SeedFile) -> Load:
    """Returns a function that loads people, clients and a signing key for each algorithm."""

    def load(connection: Connection) -> None:
        with Session(connection, join_transaction_mode="create_savepoint") as db:
            password_hash = hasher.hash(settings.demo_password.get_secret_value())
            db.add_all(User(**person, password_hash=password_hash) for person in SEED["people"])
            db.add(AppliedSetting(name=PASSWORD, value=password_hash))
            follow_clients(db, settings)
            own.add_new(db, password_hash)
            make_first_keys(db, settings.signing_algorithms)
            db.commit()

    return load


def follow_settings(engine: Engine, settings: Settings, own: SeedFile = NO_FILE) -> None:
    """Applies settings that changed since the last start. Each changes only the values that came from it.

    Changes by an operator or a user stay: roles, claims, passwords, addresses and removals.
    """
    with in_turn(engine) as connection, Session(connection, join_transaction_mode="create_savepoint") as db:
        follow_password(db, settings.demo_password.get_secret_value())
        follow_clients(db, settings)
        own.add_new(db, db.get_one(AppliedSetting, PASSWORD).value)
        make_first_keys(db, settings.signing_algorithms)
        db.commit()


def follow_password(db: Session, password: str) -> None:
    """Sets a changed demo password for the users who still have the old one, found by its salted hash."""
    given = db.get(AppliedSetting, PASSWORD)
    if given is None:  # data of an earlier version: find a user with the demo password
        known = db.scalars(select(User.password_hash).where(User.sub.in_([row["sub"] for row in SEED["people"]])))
        value = next((password_hash for password_hash in known if is_hash_of(password_hash, password)), "")
        db.add(AppliedSetting(name=PASSWORD, value=value))
    elif not is_hash_of(given.value, password):
        password_hash = hasher.hash(password)
        db.execute(update(User).where(User.password_hash == given.value).values(password_hash=password_hash))
        given.value = password_hash


def is_hash_of(password_hash: str, password: str) -> bool:
    """Whether the password matches. Does not use the pool, whose threads must not start before the fork."""
    try:
        return hasher.verify(password_hash, password)
    except (Argon2Error, InvalidHashError):
        return False


def follow_clients(db: Session, settings: Settings) -> None:
    """Adds new apps of seed.toml, and applies changed secrets and addresses to the others."""
    addresses = {name: getattr(settings, name) for name in ("dispatch_url", "manager_url", "learn_url")}
    secrets = {
        "pickup-dispatch": settings.dispatch_client_secret,
        "pickup-manager": settings.manager_client_secret,
        "pickup-admin": settings.admin_client_secret,
    }
    given = db.get(AppliedSetting, ADDRESSES)
    before = {**addresses, **json.loads(given.value)} if given else addresses
    for described in SEED["clients"]:
        if described["client_id"] == PRACTICE:
            follow_practice(db, described, addresses, is_wanted=settings.demo_events)
        else:
            secret = secrets[described["client_id"]]
            follow_secret(db, described, addresses, hash_of(secret.get_secret_value()) if secret else None)
        client = db.get(Client, described["client_id"])
        if client and client.removed_at is None and before != addresses:
            follow_addresses(client, fill_in(described, before), fill_in(described, addresses))
    db.merge(AppliedSetting(name=ADDRESSES, value=json.dumps(addresses)))


def follow_secret(db: Session, described: dict[str, Any], addresses: dict[str, str], secret_hash: str | None) -> None:
    """Applies the secret of one app. Without a secret in the settings, the app cannot authenticate."""
    client, name = db.get(Client, described["client_id"]), f"{described['client_id']} secret"
    given = db.get(AppliedSetting, name)
    if secret_hash == (given.value if given else None):
        return
    if client and client.removed_at is None:
        client.secret_hash = secret_hash
    elif client is None and given is None:  # otherwise an operator removed it and its row was deleted
        db.add(Client(**{**FIRST_PARTY, **fill_in(described, addresses)}, secret_hash=secret_hash))
    if secret_hash:
        db.merge(AppliedSetting(name=name, value=secret_hash))
    elif given:
        db.delete(given)


def follow_practice(db: Session, described: dict[str, Any], addresses: dict[str, str], *, is_wanted: bool) -> None:
    """Adds the app of the labs once. It is a public client (RFC 6749 §2.1), and only a demonstration has it."""
    name = f"{PRACTICE} added"
    if is_wanted and db.get(AppliedSetting, name) is None:  # otherwise an operator may have removed it
        db.add(AppliedSetting(name=name, value=""))
        if db.get(Client, PRACTICE) is None:
            db.add(Client(**{**FIRST_PARTY, **fill_in(described, addresses)}))


def follow_addresses(client: Client, before: dict[str, Any], after: dict[str, Any]) -> None:
    """Replaces the addresses that came from the old settings; those that an operator entered stay."""
    for name in ADDRESS_FIELDS:
        old, new, current = before.get(name), after.get(name), getattr(client, name)
        if isinstance(current, list):
            moved = dict(zip(old or [], new or [], strict=True))
            setattr(client, name, [moved.get(uri, uri) for uri in current])
        elif current == old:
            setattr(client, name, new)


def fill_in(value: Any, addresses: dict[str, str]) -> Any:
    """``value`` with each placeholder replaced by its address."""
    if isinstance(value, str):
        for name, address in addresses.items():
            value = value.replace(f"{{{name}}}", address)
        return value
    if isinstance(value, list):
        return [fill_in(item, addresses) for item in value]
    return {name: fill_in(item, addresses) for name, item in value.items()} if isinstance(value, dict) else value
