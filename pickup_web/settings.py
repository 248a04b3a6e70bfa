"""Every setting, with its type and description. All are environment variables ``PICKUP_…``."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

MISSING = "is not set; `make up` creates it"

# The secrets each service needs in addition to its key. An app is not given another service's secret.
REQUIRED = {
    "idp": ("dispatch_client_secret", "manager_client_secret", "demo_password"),
    "dispatch": ("dispatch_client_secret",),
    "manager": ("manager_client_secret",),
    "learn": (),
    "disposable": (),  # python -m idp
}


class Settings(BaseSettings):
    """Read once at the start; an invalid value stops the start with a message."""

    model_config = SettingsConfigDict(env_prefix="PICKUP_", env_ignore_empty=True, extra="ignore")

    idp_port: int = Field(9000, ge=1, le=65535, description="Port of the OpenID Provider.")
    dispatch_port: int = Field(8080, ge=1, le=65535, description="Port of Pickup Dispatch.")
    manager_port: int = Field(8081, ge=1, le=65535, description="Port of Pickup Manager.")
    learn_port: int = Field(8082, ge=1, le=65535, description="Port of Pickup Learn.")

    idp_url: str = Field(
        "", description="The issuer, exactly as in its metadata. By default http://idp.localhost and the port."
    )
    dispatch_url: str = Field("", description="Base URL of Pickup Dispatch, without a trailing slash.")
    manager_url: str = Field("", description="Base URL of Pickup Manager, without a trailing slash.")
    learn_url: str = Field("", description="Base URL of Pickup Learn, without a trailing slash.")

    data_dir: Path = Field(Path("var"), description="Folder of the SQLite files, one per service.")
    idp_database_url: str = Field("", description="Database of the IdP (SQLAlchemy URL); a file if empty.")
    dispatch_database_url: str = Field("", description="Database of Dispatch.")
    manager_database_url: str = Field("", description="Database of Manager.")
    learn_database_url: str = Field("", description="Database of Learn: the messages that it collected.")

    secret_key: SecretStr = Field(
        description="This service's own key. Signs its cookies and forms, encrypts its tokens and secrets."
    )
    dispatch_client_id: str = Field("pickup-dispatch", description="Dispatch's name at the IdP.")
    manager_client_id: str = Field("pickup-manager", description="Manager's name at the IdP.")
    dispatch_client_secret: SecretStr = Field(SecretStr(""), description="Shared by the IdP and Dispatch.")
    manager_client_secret: SecretStr = Field(SecretStr(""), description="Shared by the IdP and Manager.")
    admin_client_secret: SecretStr | None = Field(
        default=None, description="Secret of the client pickup-admin, for the admin API; it exists only if set."
    )
    demo_password: SecretStr = Field(SecretStr(""), description="Password of the demo users.")

    seed: Path | None = Field(
        default=None, description="A TOML file with more people and clients for the IdP's initial data."
    )

    compose_network: bool = Field(
        default=False, description="Names under .localhost may be other containers; the Compose files set this."
    )
    demo_plain_http: bool = Field(
        default=False,
        description="Allows http:// addresses. For demonstrations on one machine only; every page has a banner.",
    )
    demo_private_addresses: bool = Field(
        default=False,
        description="Lets clients register addresses on this machine and its networks. Demonstrations only.",
    )
    demo_open_registration: bool = Field(
        default=False, description="Lets any software register itself as a client. Demonstrations only."
    )
    registration_token: SecretStr | None = Field(
        default=None, description="The initial access token that clients need to register unless registration is open."
    )
    ca_bundle: str | None = Field(
        default=None,
        description="A file with the certificates to trust between the services, instead of the usual ones.",
    )
    trusted_proxies: int = Field(
        default=0,
        ge=0,
        le=9,
        description="The number of proxies in front of every service. That many entries of X-Forwarded-For, counted "
        "from the right, are trusted; with 0 the header is ignored.",
    )
    demo_events: bool = Field(
        default=False,
        description="Shows each service's protocol events and messages to anyone, at /events and /messages.",
    )

    metrics_listen: str = Field(
        "",
        description="Address and port for Prometheus metrics, such as 127.0.0.1:9464; none if empty.",
    )

    apps_signing_algorithm: str = Field(
        "RS256",
        description="The algorithm for which both apps are registered at the IdP (id_token_signed_response_alg).",
    )
    drivers_scope: str = Field(
        "fleet.read",
        description="The scope that Dispatch requests and Manager's list of drivers requires; none for an IdP that "
        "refuses unknown scopes. Then there is no list.",
    )
    other_idp: bool = Field(
        default=False,
        description="The IdP is another product, so pages do not link to pages that only Pickup's IdP has.",
    )
    idp_pages: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Origins of another IdP's pages that are not the issuer's, separated by spaces.",
    )

    signing_algorithms: Annotated[tuple[Literal["RS256", "ES256", "EdDSA"], ...], NoDecode] = Field(
        default=("RS256", "ES256"),
        description="The IdP's signing algorithms, separated by spaces; each client uses one. RS256 must "
        "be included (Core §15.1). Some key libraries and one certification module cannot read EdDSA keys.",
    )
    logout_wait: float = Field(
        default=0.5,
        ge=0,
        le=30,
        description="The longest time, in seconds, that a user's redirect waits for the logout requests.",
    )
    logout_per_host: int = Field(
        default=128,
        ge=1,
        le=1000,
        description="The most simultaneous logout requests from one process of the IdP to one host.",
    )
    delete_tokens_on_logout: Literal["none", "session", "all"] = Field(
        default="session",
        description="The tokens that a logout revokes, unless the client has its own setting: none (and no "
        "logout request is sent), session (except offline tokens), all.",
    )

    @field_validator("drivers_scope")
    @classmethod
    def _none(cls, value: str) -> str:
        return "" if value == "none" else value  # an empty variable counts as not set

    @field_validator("signing_algorithms", "idp_pages", mode="before")
    @classmethod
    def _words(cls, value: object) -> object:
        return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _complete(self) -> Self:
        self.idp_url = self.idp_url or f"http://idp.localhost:{self.idp_port}"
        self.dispatch_url = self.dispatch_url or f"http://dispatch.localhost:{self.dispatch_port}/pickup-dispatch"
        self.manager_url = self.manager_url or f"http://manager.localhost:{self.manager_port}/pickup-manager"
        scheme = self.idp_url.partition(":")[0]  # a deployment with https may leave Learn out
        self.learn_url = self.learn_url or f"{scheme}://learn.localhost:{self.learn_port}"
        for page in self.idp_pages:
            self._check_url("PICKUP_IDP_PAGES", page)
        for name in ("idp", "dispatch", "manager", "learn"):
            url = getattr(self, f"{name}_url")
            self._check_url(f"PICKUP_{name.upper()}_URL", url)
            if not getattr(self, f"{name}_database_url"):
                setattr(self, f"{name}_database_url", f"sqlite:///{self.data_dir.absolute()}/{name}.db")
        if "RS256" not in self.signing_algorithms:
            raise ValueError("PICKUP_SIGNING_ALGORITHMS must contain RS256 (Core §15.1).")
        if self.metrics_listen and not re.fullmatch(r"\S+:\d{1,5}", self.metrics_listen):
            raise ValueError(
                f"PICKUP_METRICS_LISTEN is {self.metrics_listen!r}; it must be an address and a port, such as "
                "127.0.0.1:9464."
            )
        if self.ca_bundle and not Path(self.ca_bundle).is_file():
            raise ValueError(f"PICKUP_CA_BUNDLE is {self.ca_bundle!r}; there is no such file.")
        if self.seed and (self.seed.is_dir() or not self.seed.exists()):  # /dev/null is a file without entries
            raise ValueError(f"PICKUP_SEED is {str(self.seed)!r}; there is no such file.")
        return self

    def _check_url(self, variable: str, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"{variable} is {url!r}; it must be an absolute http(s) URL without ? and #.")
        if url.endswith("/") and not (self.other_idp and variable == "PICKUP_IDP_URL"):
            raise ValueError(f"{variable} is {url!r}; leave out the slash at the end.")
        if parts.scheme == "http" and not self.demo_plain_http:
            raise ValueError(
                f"{variable} is {url!r}, which is not https. For a demonstration on one machine "
                "set PICKUP_DEMO_PLAIN_HTTP=true."
            )


def load_settings(service: str) -> Settings:
    """The settings of this process, which runs ``service``; :class:`SystemExit` with one line per invalid value."""
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
    """The message, with one line per invalid value."""
    return SystemExit("\n".join(["Pickup cannot start with these settings:", *lines]))


def in_words(problem: ErrorDetails) -> str:
    """The error in one setting, with the given value unless it is a secret."""
    if problem["type"] == "missing":
        return MISSING
    if problem["type"] == "value_error":  # one of our own messages
        return problem["msg"].removeprefix("Value error, ")
    is_secret = any(word in str(problem["loc"]) for word in ("secret", "password", "registration_token"))
    given = "" if is_secret else problem["input"]
    wants = "true or false" if problem["type"] == "bool_parsing" else problem["msg"]
    return f"{given!r} is not possible: {wants}" if given else wants
