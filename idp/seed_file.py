"""Your own people and clients, from the TOML file that PICKUP_SEED names (docs/running.md).

The file is read and checked at every start. What is new in it is added; what exists is kept, with every change made in
the console. ``make reset`` restores the state of the file.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from idp.models import AppliedSetting, Client, User, hash_of
from idp.operations.application_settings import Metadata, OperatorSettings, read, sentences
from idp.operations.applications import CLIENT_ID, RESERVED, apply, has_secret
from idp.operations.people import SUB, USERNAME, claims_fault
from idp.sign_in.passwords import MAX_PASSWORD, hasher
from pickup_web.clock import now
from pickup_web.settings import cannot_start


class SeedFileError(Exception):
    """A sentence that says which entry is wrong."""


def claims_of_a_person(claims: dict[str, Any]) -> dict[str, Any]:
    """Claims that a token can contain."""
    if wrong := claims_fault(claims):
        raise ValueError(wrong)
    return claims


class Person(BaseModel):
    """An entry of ``[[people]]``."""

    model_config = ConfigDict(extra="forbid", strict=True)

    username: str = Field(pattern=f"^{USERNAME.pattern}$")
    sub: str | None = Field(default=None, pattern=f"^{SUB.pattern}$")  # by default the username
    password: str | None = Field(default=None, min_length=1, max_length=MAX_PASSWORD)  # by default the demo password
    role: Literal["user", "operator"] = "user"
    claims: Annotated[dict[str, Any], AfterValidator(claims_of_a_person)] = {}


@dataclass(frozen=True)
class App:
    """A checked entry of ``[[clients]]``."""

    client_id: str
    secret: str | None
    metadata: Metadata
    settings: OperatorSettings


@dataclass(frozen=True)
class SeedFile:
    """The file's entries."""

    people: list[Person]
    apps: list[App]

    def add_new(self, db: Session, demo_password_hash: str) -> None:
        """Add the entries that this database has never had. Does not commit."""
        for person in self.people:
            sub = person.sub or person.username
            same = select(User.sub).where((User.sub == sub) | (User.username == person.username))
            if is_new(db, f"seed person {person.username}") and db.scalar(same) is None:
                password_hash = hasher.hash(person.password) if person.password else demo_password_hash
                claims = {"name": person.username, "preferred_username": person.username, **person.claims}
                db.add(
                    User(
                        sub=sub,
                        username=person.username,
                        password_hash=password_hash,
                        role=person.role,
                        claims=claims,
                    )
                )
        for app in self.apps:
            if is_new(db, f"seed client {app.client_id}") and db.get(Client, app.client_id) is None:
                client = Client(client_id=app.client_id, created_at=now(), scopes=[])
                apply(client, app.metadata, app.settings)
                client.secret_hash = hash_of(app.secret) if app.secret else None
                db.add(client)


NO_FILE = SeedFile([], [])


def is_new(db: Session, name: str) -> bool:
    """Whether the entry was never added; remembers it, so that what an operator removed stays removed."""
    if db.get(AppliedSetting, name):
        return False
    db.add(AppliedSetting(name=name, value=""))
    return True


def read_seed_file(path: Path | None) -> SeedFile:
    """The checked file; empty without one. An invalid file stops the start with a sentence. Needs an app context."""
    if path is None:
        return NO_FILE
    try:
        content = tomllib.loads(path.read_text("utf-8"))
        refuse_unknown(content)
        file = SeedFile(
            [person_of(entry) for entry in entries(content, "people")],
            [app_of(entry) for entry in entries(content, "clients")],
        )
        refuse_duplicates([person.username for person in file.people], "username")
        refuse_duplicates([person.sub or person.username for person in file.people], "sub")
        refuse_duplicates([app.client_id for app in file.apps], "client_id")
    except (OSError, ValueError, SeedFileError) as error:  # ValueError: not UTF-8, or not TOML
        raise cannot_start([f"PICKUP_SEED: {path}: {error}"]) from error
    return file


def refuse_unknown(content: dict[str, Any]) -> None:
    """A misspelt table must not be ignored."""
    if unknown := sorted(set(content) - {"people", "clients"}):
        raise SeedFileError(f"{unknown[0]} is unknown; the file has [[people]] and [[clients]]")


def entries(content: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The tables ``[[name]]``."""
    found = content.get(name, [])
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise SeedFileError(f"write [[{name}]], in double brackets, before each entry")
    return found


def person_of(entry: dict[str, Any]) -> Person:
    """A checked entry of ``[[people]]``."""
    try:
        return Person.model_validate(entry)
    except ValidationError as error:
        name, sentence = next(iter(sentences(error).items()))
        raise SeedFileError(f"person {entry.get('username')!r}: {name}: {sentence}") from error


def app_of(entry: dict[str, Any]) -> App:
    """A checked entry of ``[[clients]]``: the settings of docs/console.md and ``client_secret``."""
    values, client_id = dict(entry), entry.get("client_id")
    secret = values.pop("client_secret", None)
    metadata, settings, errors = read({"client_name": client_id, **values})
    if not isinstance(client_id, str) or not CLIENT_ID.fullmatch(client_id) or client_id in RESERVED:
        errors["client_id"] = "Use letters, digits and . _ ~ - only, 100 at most, and begin with a letter or a digit."
    if errors or metadata is None or settings is None or not isinstance(client_id, str):
        name, sentence = next(iter(errors.items()))
        raise SeedFileError(f"client {client_id!r}: {name}: {sentence}")
    needs_secret = has_secret(Client(token_endpoint_auth_method=metadata.token_endpoint_auth_method))
    if needs_secret != (isinstance(secret, str) and bool(secret)):
        method = metadata.token_endpoint_auth_method
        which = f"{method} needs a text" if needs_secret else f"{method} has none"
        raise SeedFileError(f"client {client_id!r}: client_secret: {which}")
    return App(client_id, secret, metadata, settings)


def refuse_duplicates(values: list[str], name: str) -> None:
    """No two entries with the same name."""
    if twice := next((value for value in values if values.count(value) > 1), None):
        raise SeedFileError(f"{name} {twice!r} is there twice")
