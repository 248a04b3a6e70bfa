"""The settings: Flask configuration keys that begin with ``RELYING_PARTY_``."""

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
    """One provider and one client. Read once, in ``init_app``."""

    issuer: str  # exactly as in the provider's metadata; a trailing slash is a difference
    base_url: str  # the app's public URL; all redirect and logout URIs are below it
    client_id: str = ""  # empty: the app registers itself, see registration.py
    client_secret: str = ""  # empty with a client id: a public client, protected by PKCE alone
    client_name: str = "A relying party"  # for dynamic registration
    registration_token: str = ""  # initial access token for dynamic registration, if the provider requires one
    scopes: str = "openid profile email"
    signing_algorithm: str = "RS256"  # the client's registered id_token_signed_response_alg
    logout_token_seconds: int = MAX_AGE  # greatest accepted age of a logout token
    database_url: str = ""  # of the sessions, if init_app() gets no engine; empty: a SQLite file
    frontchannel_logout: bool = False  # also log out in a frame of the provider's page; see frontchannel.py
    live_streams: int = 10  # event streams per process; keep it below the number of threads. 0: tabs poll instead
    ca_bundle: str | None = None  # certificate authorities to trust instead of the default ones
    allow_plain_http: bool = False  # for demonstrations on one machine
    layout: str = "relying_party/layout.html"  # the template that the extension's pages extend
    home: str = "home"  # the endpoint to redirect to after signing in without a `next` page

    @classmethod
    def from_app(cls, app: Flask) -> Self:
        """Read ``app.config``; raise :class:`ValueError` for a setting that is missing, unknown or invalid."""
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
            raise ValueError(f"RELYING_PARTY_LOGOUT_TOKEN_SECONDS must be from 1 to {MAX_AGE}.")
        for name in REQUIRED:
            if urlsplit(getattr(config, name)).scheme != "https" and not config.allow_plain_http:
                raise ValueError(
                    f"{PREFIX}{name.upper()} is not https. For a demonstration on one machine "
                    "set RELYING_PARTY_ALLOW_PLAIN_HTTP."
                )
        return config

    def url(self, path: str) -> str:
        """The public URL of ``path``. Not built from the Host header, which a client can choose."""
        return self.base_url + path


def _check_names_and_types(values: dict[str, Any]) -> None:
    # A misspelled setting raises an error; a value of the wrong type is not converted.
    known = {field.name: field for field in fields(Config)}
    for name, value in values.items():
        if name not in known:
            raise ValueError(f"{PREFIX}{name.upper()} is not a setting of relying_party.")
        default = known[name].default
        wanted = type(default) if isinstance(default, bool | int) else str
        if type(value) is not wanted and value != default:
            # Flask reads FLASK_… variables as JSON, so a secret of digits becomes a number unless it is quoted.
            given = type(value).__name__
            raise ValueError(f"{PREFIX}{name.upper()} must be of type {wanted.__name__}, not {given}.")
