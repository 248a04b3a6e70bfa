"""The demo people and the apps, out of seed.toml."""

import tomllib
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert
from sqlalchemy.orm import Session

from idp.keys import make_first_keys
from idp.login import hasher
from idp.models import Client, User, hash_of
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
    content = tomllib.loads(Path(__file__).with_name("seed.toml").read_text("utf-8"))
    addresses = {"dispatch_url": settings.dispatch_url, "manager_url": settings.manager_url}
    secrets = {
        "pickup-dispatch": settings.dispatch_client_secret.get_secret_value(),
        "pickup-manager": settings.manager_client_secret.get_secret_value(),
    }

    def load(connection: Connection) -> None:
        password_hash = hasher.hash(settings.demo_password.get_secret_value())
        people = [{**person, "password_hash": password_hash} for person in content["people"]]
        connection.execute(insert(User), people)
        clients = [{**FIRST_PARTY, **fill_in(client, addresses)} for client in content["clients"]]
        connection.execute(
            insert(Client),
            [{**client, "secret_hash": hash_of(secrets[client["client_id"]])} for client in clients],
        )
        with Session(connection, join_transaction_mode="create_savepoint") as db:
            make_first_keys(db)
            db.commit()

    return load


def fill_in(value: Any, addresses: dict[str, str]) -> Any:
    """``value`` with the addresses in the place of their names."""
    if isinstance(value, str):
        for name, address in addresses.items():
            value = value.replace(f"{{{name}}}", address)
        return value
    if isinstance(value, list):
        return [fill_in(item, addresses) for item in value]
    return {name: fill_in(item, addresses) for name, item in value.items()} if isinstance(value, dict) else value
