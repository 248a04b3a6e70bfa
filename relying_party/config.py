"""The settings of a relying party: Flask configuration keys ``RELYING_PARTY_…``."""

from dataclasses import dataclass, fields
from typing import Any, Self
from urllib.parse import urlsplit

from flask import Flask

from relying_party.jws import KEY_TYPES
from relying_party.logout_token import MAX_AGE

PREFIX = "RELYING_PARTY_"
REQUIRED = ("issuer", "base_url")


@dataclass(frozen=True)
class Config:
    """One provider and one client, read when the extension is set up."""

    issuer: str  # exactly as the provider writes it, with or without a slash at the end
    base_url: str  # our own public address; the provider sends browsers and logout tokens below it
    client_id: str = ""  # empty: the application registers itself, see registration.py
    client_secret: str = ""  # empty with a client id: a public client, protected by PKCE alone
    client_name: str = "A relying party"  # for registering itself
    registration_token: str = ""  # the provider's initial access token for that, if it wants one
    scopes: str = "openid profile email"
    signing_algorithm: str = "RS256"  # the client's registered id_token_signed_response_alg
    logout_token_seconds: int = MAX_AGE  # how old a logout token may be; some providers offer one for a day
    database_url: str = ""  # of the sessions, where init_app() is given no engine; empty: a SQLite file
    live_streams: int = 10  # open tabs a process listens for; keep it below its threads. 0: tabs ask instead
    ca_bundle: str | None = None  # certificates to trust instead of the usual ones
    allow_plain_http: bool = False  # for demonstrations on one machine
    layout: str = "relying_party/layout.html"  # the template our pages extend
    home: str = "home"  # the endpoint to go to when there is nowhere else

    @classmethod
    def from_app(cls, app: Flask) -> Self:
        """Read ``app.config``; :class:`ValueError`, with a sentence, for what cannot work."""
        values = app.config.get_namespace(PREFIX)
        for name in REQUIRED:
            if not values.get(name):
                raise ValueError(f"{PREFIX}{name.upper()} is not set.")
        _check_names_and_types(values)
        config = cls(**{**values, "base_url": values["base_url"].rstrip("/")})
        if config.signing_algorithm not in KEY_TYPES:
            raise ValueError(f"RELYING_PARTY_SIGNING_ALGORITHM must be one of {', '.join(KEY_TYPES)}.")
        if "openid" not in config.scopes.split():
            raise ValueError("RELYING_PARTY_SCOPES must contain openid.")
        if not 0 < config.logout_token_seconds <= MAX_AGE:
            raise ValueError(f"RELYING_PARTY_LOGOUT_TOKEN_SECONDS must be at most {MAX_AGE}, a day.")
        for name in REQUIRED:
            if urlsplit(getattr(config, name)).scheme != "https" and not config.allow_plain_http:
                raise ValueError(
                    f"{PREFIX}{name.upper()} is not https. For a demonstration on one machine "
                    "set RELYING_PARTY_ALLOW_PLAIN_HTTP."
                )
        return config

    def url(self, path: str) -> str:
        """The public address of one of our own paths; never made from a Host header."""
        return self.base_url + path


def _check_names_and_types(values: dict[str, Any]) -> None:
    """A setting that is spelled wrong is not ignored; one of the wrong type is not guessed at."""
    known = {field.name: field for field in fields(Config)}
    for name, value in values.items():
        if name not in known:
            raise ValueError(f"{PREFIX}{name.upper()} is not a setting of the relying party.")
        default = known[name].default
        wanted = type(default) if isinstance(default, bool | int) else str
        if type(value) is not wanted and value != default:
            # Flask reads FLASK_… variables as JSON: a secret of digits becomes a number unless it is quoted.
            given = type(value).__name__
            raise ValueError(f"{PREFIX}{name.upper()} must be of type {wanted.__name__}, and is {given}.")
