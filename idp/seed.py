"""The demo people and the apps, out of seed.toml."""

import hashlib
import hmac
import tomllib
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.orm import Session

from idp.keys import make_first_keys
from idp.login import hasher
from idp.models import Client, SettingsMark, User, hash_of
from pickup_web.seed import Load
from pickup_web.settings import Settings

# Both apps are our own: both secure themselves alike, and may be told why a session ended.
FIRST_PARTY = {
    "grant_types": ["authorization_code", "refresh_token"],
    "response_types": ["code"],
    "token_endpoint_auth_method": "client_secret_basic",
    "backchannel_logout_session_required": True,
    "require_pkce": True,
    "tell_logout_reason": True,
}


def from_settings(settings: Settings) -> Load:
    """Loads people, clients and, if there is none, a signing key."""

    def load(connection: Connection) -> None:
        with Session(connection, join_transaction_mode="create_savepoint") as db:
            put_people_and_clients(db, settings)
            make_first_keys(db, settings.signing_algorithms)
            db.commit()

    return load


def follow_settings(engine: Engine, settings: Settings) -> None:
    """After the addresses, secrets or the password were changed, the two apps and the people follow.

    Only then: what an operator changed about them otherwise stays.
    """
    with Session(engine) as db:
        mark = db.get(SettingsMark, 1)
        if mark is None or mark.fingerprint != fingerprint(settings):
            put_people_and_clients(db, settings)
        make_first_keys(db, settings.signing_algorithms)
        db.commit()


def put_people_and_clients(db: Session, settings: Settings) -> None:
    """Add or renew what seed.toml describes."""
    content = tomllib.loads(Path(__file__).with_name("seed.toml").read_text("utf-8"))
    password_hash = hasher.hash(settings.demo_password.get_secret_value())
    for person in content["people"]:
        db.merge(User(**person, password_hash=password_hash))
    addresses = {"dispatch_url": settings.dispatch_url, "manager_url": settings.manager_url}
    secrets = {
        "pickup-dispatch": settings.dispatch_client_secret,
        "pickup-manager": settings.manager_client_secret,
        "pickup-admin": settings.admin_client_secret,
    }
    for client in content["clients"]:
        if secret := secrets[client["client_id"]]:
            secret_hash = hash_of(secret.get_secret_value())
            db.merge(Client(**{**FIRST_PARTY, **fill_in(client, addresses)}, secret_hash=secret_hash))
        elif known := db.get(Client, client["client_id"]):
            known.secret_hash = None  # a secret that was taken out of the settings opens nothing any more
    db.merge(SettingsMark(id=1, fingerprint=fingerprint(settings)))


def fingerprint(settings: Settings) -> str:
    """Tells settings apart; keyed, because one of them is a password that could be guessed."""
    secrets = [settings.demo_password, settings.dispatch_client_secret, settings.manager_client_secret]
    if settings.admin_client_secret:
        secrets.append(settings.admin_client_secret)
    values = [settings.dispatch_url, settings.manager_url, *(secret.get_secret_value() for secret in secrets)]
    key = settings.secret_key.get_secret_value().encode()
    return hmac.new(key, "\n".join(values).encode(), hashlib.sha256).hexdigest()


def fill_in(value: Any, addresses: dict[str, str]) -> Any:
    """``value`` with the addresses in the place of their names."""
    if isinstance(value, str):
        for name, address in addresses.items():
            value = value.replace(f"{{{name}}}", address)
        return value
    if isinstance(value, list):
        return [fill_in(item, addresses) for item in value]
    return {name: fill_in(item, addresses) for name, item in value.items()} if isinstance(value, dict) else value
