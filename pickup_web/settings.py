"""Every setting of the environment, typed, each with its reason. All are variables ``PICKUP_…``."""

from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

MISSING = "is not set; `make up` makes it"

# What each service cannot do without, besides its key. An app is given no secret of another service.
REQUIRED = {
    "idp": ("dispatch_client_secret", "manager_client_secret", "demo_password"),
    "dispatch": ("dispatch_client_secret",),
    "manager": ("manager_client_secret",),
}


class Settings(BaseSettings):
    """Read once at the start; a bad value stops the start with a sentence."""

    model_config = SettingsConfigDict(env_prefix="PICKUP_", env_ignore_empty=True, extra="ignore")

    idp_port: int = Field(9000, ge=1, le=65535, description="Port of the OpenID Provider.")
    dispatch_port: int = Field(8080, ge=1, le=65535, description="Port of Pickup Dispatch.")
    manager_port: int = Field(8081, ge=1, le=65535, description="Port of Pickup Manager.")

    idp_url: str = Field("", description="The issuer. By default http://idp.localhost and the port.")
    dispatch_url: str = Field("", description="Base URL of Pickup Dispatch, without a trailing slash.")
    manager_url: str = Field("", description="Base URL of Pickup Manager, without a trailing slash.")

    data_dir: Path = Field(Path("var"), description="Folder of the SQLite files, one a service.")
    idp_database_url: str = Field("", description="Database of the provider (SQLAlchemy URL); else a file.")
    dispatch_database_url: str = Field("", description="Database of Dispatch.")
    manager_database_url: str = Field("", description="Database of Manager.")

    secret_key: SecretStr = Field(
        description="This service's own key, no other service's: signs its cookies and forms, encrypts what it stores."
    )
    dispatch_client_secret: SecretStr = Field(SecretStr(""), description="Shared by the provider and Dispatch.")
    manager_client_secret: SecretStr = Field(SecretStr(""), description="Shared by the provider and Manager.")
    admin_client_secret: SecretStr | None = Field(
        default=None, description="Of the client pickup-admin, for the admin API. Without it nobody is that client."
    )
    demo_password: SecretStr = Field(SecretStr(""), description="Password of the demo people.")

    compose_network: bool = Field(
        default=False, description="Names under .localhost may be other containers; the Compose files set this."
    )
    demo_plain_http: bool = Field(
        default=False,
        description="Allows http:// addresses. For demonstrations on one machine only; every page says so.",
    )
    demo_private_addresses: bool = Field(
        default=False,
        description="Lets clients register addresses on this machine and its networks. Demonstrations only.",
    )
    demo_open_registration: bool = Field(
        default=False, description="Lets any software register itself as a client. Demonstrations only."
    )
    registration_token: SecretStr | None = Field(
        default=None, description="The initial access token that registers clients, when it is not open to all."
    )
    ca_bundle: str | None = Field(
        default=None,
        description="A file with the certificates to trust between the services, instead of the usual ones.",
    )
    trusted_proxies: int = Field(
        default=0,
        ge=0,
        le=9,
        description="How many proxies stand in front of every service. So many entries of X-Forwarded-For, counted "
        "from the right, are believed; with 0 the header is ignored.",
    )
    demo_events: bool = Field(default=False, description="Shows each service's protocol events to anyone at /events.")

    signing_algorithms: Annotated[tuple[Literal["RS256", "ES256", "EdDSA"], ...], NoDecode] = Field(
        default=("RS256", "ES256"),
        description="What the provider signs with, separated by spaces; clients register for one of them. RS256 must "
        "be there (Core §15.1). Some key libraries and one certification module cannot read EdDSA keys.",
    )
    logout_wait: float = Field(
        default=1.0,
        ge=0,
        le=30,
        description="How many seconds a user's redirect waits for the logout requests, at most.",
    )
    logout_per_host: int = Field(
        default=128,
        ge=1,
        le=1000,
        description="How many logout requests each process of the provider has under way to one host, at most.",
    )
    delete_tokens_on_logout: Literal["none", "session", "all"] = Field(
        default="session",
        description="Which tokens die with a session, unless the client says otherwise: none (and no "
        "logout request is sent), session (not the offline ones), all.",
    )

    @field_validator("signing_algorithms", mode="before")
    @classmethod
    def _words(cls, value: object) -> object:
        return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _complete(self) -> Self:
        self.idp_url = self.idp_url or f"http://idp.localhost:{self.idp_port}"
        self.dispatch_url = self.dispatch_url or f"http://dispatch.localhost:{self.dispatch_port}/pickup-dispatch"
        self.manager_url = self.manager_url or f"http://manager.localhost:{self.manager_port}/pickup-manager"
        for name in ("idp", "dispatch", "manager"):
            url = getattr(self, f"{name}_url")
            self._check_url(f"PICKUP_{name.upper()}_URL", url)
            if not getattr(self, f"{name}_database_url"):
                setattr(self, f"{name}_database_url", f"sqlite:///{self.data_dir.absolute()}/{name}.db")
        if "RS256" not in self.signing_algorithms:
            raise ValueError("PICKUP_SIGNING_ALGORITHMS must contain RS256 (Core §15.1).")
        if self.ca_bundle and not Path(self.ca_bundle).is_file():
            raise ValueError(f"PICKUP_CA_BUNDLE is {self.ca_bundle!r}; there is no such file.")
        return self

    def _check_url(self, variable: str, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"{variable} is {url!r}; it must be an absolute http(s) URL without ? and #.")
        if url.endswith("/"):
            raise ValueError(f"{variable} is {url!r}; leave out the slash at the end.")
        if parts.scheme == "http" and not self.demo_plain_http:
            raise ValueError(
                f"{variable} is {url!r}, which is not https. For a demonstration on one machine "
                "set PICKUP_DEMO_PLAIN_HTTP=true."
            )


def load_settings(service: str) -> Settings:
    """The settings of this process, which runs ``service``; :class:`SystemExit` with one sentence a wrong value."""
    try:
        settings = Settings()  # type: ignore[call-arg] # pydantic-settings reads them from the environment
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            name = "".join(f"PICKUP_{str(part).upper()}: " for part in problem["loc"])
            lines.append(name + in_words(problem))
        raise cannot_start(lines) from error
    if missing := [name for name in REQUIRED[service] if not getattr(settings, name).get_secret_value()]:
        raise cannot_start([f"PICKUP_{name.upper()}: {MISSING}" for name in missing])
    return settings


def cannot_start(lines: list[str]) -> SystemExit:
    """One line a wrong value."""
    return SystemExit("\n".join(["Pickup cannot start with these settings:", *lines]))


def in_words(problem: ErrorDetails) -> str:
    """What is wrong with one setting, with the value that was given, unless it is a secret."""
    if problem["type"] == "missing":
        return MISSING
    if problem["type"] == "value_error":  # a sentence of our own
        return problem["msg"].removeprefix("Value error, ")
    is_secret = any(word in str(problem["loc"]) for word in ("secret", "password", "registration_token"))
    given = "" if is_secret else problem["input"]
    wants = "true or false" if problem["type"] == "bool_parsing" else problem["msg"]
    return f"{given!r} is not possible: {wants}" if given else wants
