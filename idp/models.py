"""The IdP's tables. Times are seconds since the epoch; secrets, cookies, codes and tokens are kept as hashes."""

import hashlib
import hmac
from typing import Any, ClassVar, NamedTuple

from authlib.oauth2.rfc6749 import AuthorizationCodeMixin, ClientMixin, TokenMixin
from sqlalchemy import (
    JSON,
    BigInteger,
    ColumnElement,
    ForeignKey,
    Index,
    SQLColumnExpression,
    String,
    Text,
    func,
    literal,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from pickup_web.clock import now

ID = String(255)  # subject identifiers, session ids, client ids
OUTCOME_LENGTH = 40  # characters of an outcome in the ledger


def hash_of(secret: str) -> str:
    """The stored hash of a random secret: it recognises the secret, but does not reveal it."""
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


def has_word(words: SQLColumnExpression[str], word: str) -> ColumnElement[bool]:
    """Whether the space-separated ``words`` contain exactly ``word``.

    ``LIKE`` would match parts of words, take ``_`` for any character, and ignore case on SQLite.
    """
    spaced = literal(" ") + words + literal(" ")
    return func.replace(spaced, f" {word} ", "") != spaced


class Base(DeclarativeBase):
    """Maps the types that all tables use."""

    type_annotation_map: ClassVar = {int: BigInteger, dict[str, Any]: JSON, list[str]: JSON}


class User(Base):
    """A person. ``claims`` are the standard claims of Core §5.1."""

    __tablename__ = "user_account"

    sub: Mapped[str] = mapped_column(ID, primary_key=True)  # never reassigned (Core §2)
    username: Mapped[str] = mapped_column(String(255), unique=True)
    password_hash: Mapped[str] = mapped_column(String(255))
    role: Mapped[str] = mapped_column(String(20), default="user")  # or "operator"
    claims: Mapped[dict[str, Any]]
    disabled_at: Mapped[int | None]
    removed_at: Mapped[int | None]  # the emptied row stays, so that its sub is never reassigned


class Client(Base, ClientMixin):  # type: ignore[misc] # Authlib has no types
    """An application that signs its users in here."""

    __tablename__ = "client"

    client_id: Mapped[str] = mapped_column(ID, primary_key=True)
    secret_hash: Mapped[str | None] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(255))
    home_url: Mapped[str | None] = mapped_column(Text)

    redirect_uris: Mapped[list[str]]
    post_logout_redirect_uris: Mapped[list[str]]
    scopes: Mapped[list[str]]
    grant_types: Mapped[list[str]]
    response_types: Mapped[list[str]]
    token_endpoint_auth_method: Mapped[str] = mapped_column(String(40), default="client_secret_basic")  # Core §9
    id_token_signed_response_alg: Mapped[str] = mapped_column(String(20), default="RS256")

    backchannel_logout_uri: Mapped[str | None] = mapped_column(Text)  # BCL §2.2
    backchannel_logout_session_required: Mapped[bool] = mapped_column(default=False)
    frontchannel_logout_uri: Mapped[str | None] = mapped_column(Text)  # FCL §2
    frontchannel_logout_session_required: Mapped[bool] = mapped_column(default=False)
    registered: Mapped[dict[str, Any]] = mapped_column(default=dict)  # the rest of Registration §2: clients/metadata.py
    registration_token_hash: Mapped[str | None] = mapped_column(String(64))  # RFC 7592 §3
    created_at: Mapped[int] = mapped_column(default=now)
    used_at: Mapped[int | None]  # first use of a self-registered client, which keeps it (clean_up.py)

    # Set by the operator; a client cannot register these.
    require_pkce: Mapped[bool] = mapped_column(default=True)
    may_introspect: Mapped[bool] = mapped_column(default=False)  # for APIs that receive our access tokens
    claims_in_id_token: Mapped[bool] = mapped_column(default=False)
    notify_initiator: Mapped[bool] = mapped_column(default=True)  # also of a logout that began in this app
    tell_logout_reason: Mapped[bool] = mapped_column(default=False)  # reveals which app the user left: first party only
    delete_tokens_on_logout: Mapped[str | None] = mapped_column(
        String(10)
    )  # none, session, all; None: the default setting
    connect_timeout: Mapped[float] = mapped_column(default=2.0)  # seconds, of the logout request
    read_timeout: Mapped[float] = mapped_column(default=5.0)
    ca_certificates: Mapped[str | None] = mapped_column(Text)  # PEM, trusted for the logout URI; None: the default CAs
    retry_seconds: Mapped[int | None]  # how long deliveries are retried; None: GIVE_UP_SECONDS
    removed_at: Mapped[int | None]  # hidden from now on; the row stays until its last deliveries end

    # --- the interface that Authlib calls (authlib.oauth2.rfc6749.ClientMixin) ---

    @property
    def client_metadata(self) -> dict[str, Any]:
        """The registered metadata that Authlib reads by name."""
        return {"post_logout_redirect_uris": self.post_logout_redirect_uris}

    def get_client_id(self) -> str:
        """The client_id."""
        return self.client_id

    def get_default_redirect_uri(self) -> None:
        """Core §3.1.2.1: redirect_uri is REQUIRED, even if only one is registered."""
        return

    def get_allowed_scope(self, scope: str | None) -> str:
        """Core §3.1.2.1: scopes that are unknown or not allowed are ignored."""
        return " ".join(name for name in (scope or "").split() if name in self.scopes)

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        """RFC 9700 §2.1: exact string comparison."""
        return redirect_uri in self.redirect_uris

    def check_client_secret(self, client_secret: str) -> bool:
        """Compares in constant time."""
        return self.secret_hash is not None and hmac.compare_digest(self.secret_hash, hash_of(client_secret))

    @property
    def is_public(self) -> bool:
        """RFC 6749 §2.1: a public client has no secret."""
        return self.token_endpoint_auth_method == "none"  # noqa: S105 # the name of a method

    def check_endpoint_auth_method(self, method: str, _endpoint: str) -> bool:
        """RFC 7591 §2: only the registered method."""
        return method == self.token_endpoint_auth_method

    def check_response_type(self, response_type: str) -> bool:
        """Only registered ones; the order of the values does not matter (Multiple Response Types §3)."""
        return set(response_type.split()) in [set(registered.split()) for registered in self.response_types]

    def check_grant_type(self, grant_type: str) -> bool:
        """Only registered ones."""
        return grant_type in self.grant_types


IDLE_SECONDS = 2 * 3600  # a session ends when no app or page has used it for this long


class SsoSession(Base):
    """One session per browser, shared by its apps and identified by ``sid``.

    Tokens contain ``sid``. The cookie is a different random value, so that no token reveals it.
    """

    __tablename__ = "sso_session"
    __table_args__ = (
        Index("sso_session_alive", "ended_at", "last_seen_at"),
        Index("sso_session_expiring", "ended_at", "expires_at"),
    )

    sid: Mapped[str] = mapped_column(ID, primary_key=True)
    cookie_hash: Mapped[str] = mapped_column(String(64), unique=True)
    sub: Mapped[str] = mapped_column(ForeignKey("user_account.sub"), index=True)
    auth_time: Mapped[int]  # when the user last entered the password
    amr: Mapped[list[str]]
    created_at: Mapped[int]
    last_seen_at: Mapped[int]
    expires_at: Mapped[int]
    user_agent: Mapped[str] = mapped_column(String(255))
    ended_at: Mapped[int | None]
    end_reason: Mapped[str | None] = mapped_column(String(40))


class ActiveSession(NamedTuple):
    """What a request reads of its browser's session. Later changes do not reach it."""

    sid: str
    sub: str
    auth_time: int
    amr: list[str]
    last_seen_at: int
    expires_at: int


class Participation(Base):
    """BCL §2.3: a client that received an ID token in a session is notified when it ends."""

    __tablename__ = "participation"
    __table_args__ = (Index("participation_by_client", "client_id", "since"),)

    sid: Mapped[str] = mapped_column(ForeignKey("sso_session.sid"), primary_key=True)
    client_id: Mapped[str] = mapped_column(ID, primary_key=True)
    sub: Mapped[str] = mapped_column(ID)  # as sent to this client
    since: Mapped[int]


class Participant(NamedTuple):
    """A participation, with the row of its client."""

    client: Client
    sid: str
    sub: str


class AuthorizationCode(Base, AuthorizationCodeMixin):  # type: ignore[misc] # Authlib has no types
    """A code, bound to its request (Core §3.1.2.5). Used codes are kept, to detect a second use."""

    __tablename__ = "authorization_code"

    code_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    client_id: Mapped[str] = mapped_column(ID)
    sid: Mapped[str] = mapped_column(ID)
    sub: Mapped[str] = mapped_column(ID)
    redirect_uri: Mapped[str] = mapped_column(Text)
    scope: Mapped[str] = mapped_column(Text)
    nonce: Mapped[str | None] = mapped_column(Text)
    auth_time: Mapped[int]
    amr: Mapped[list[str]]
    acr: Mapped[str | None] = mapped_column(String(255))  # only if it was requested
    claims: Mapped[dict[str, Any]] = mapped_column(default=dict)  # the claims parameter (Core §5.5)
    code_challenge: Mapped[str | None] = mapped_column(String(128))
    code_challenge_method: Mapped[str | None] = mapped_column(String(10))
    expires_at: Mapped[int] = mapped_column(index=True)
    used_at: Mapped[int | None]

    def get_redirect_uri(self) -> str:
        """For Authlib's comparison with the token request."""
        return self.redirect_uri

    def get_scope(self) -> str:
        """The granted scope."""
        return self.scope


class Token(Base, TokenMixin):  # type: ignore[misc] # Authlib has no types
    """An access token, with or without a refresh token. ``family`` is the code that the tokens come from."""

    __tablename__ = "token"
    __table_args__ = (Index("token_over", "refresh_expires_at", "access_expires_at"),)

    access_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    refresh_hash: Mapped[str | None] = mapped_column(String(64), unique=True)
    family: Mapped[str] = mapped_column(String(64), index=True)
    client_id: Mapped[str] = mapped_column(ID, index=True)
    sid: Mapped[str | None] = mapped_column(ID, index=True)
    sub: Mapped[str] = mapped_column(ID)
    scope: Mapped[str] = mapped_column(Text)
    auth_time: Mapped[int]
    amr: Mapped[list[str]]
    acr: Mapped[str | None] = mapped_column(String(255))
    claims: Mapped[dict[str, Any]] = mapped_column(default=dict)
    issued_at: Mapped[int]
    access_expires_at: Mapped[int]
    refresh_expires_at: Mapped[int | None]
    rotated_at: Mapped[int | None]  # the refresh token was used and replaced
    replaced_by: Mapped[str | None] = mapped_column(String(64))  # the access_hash of the row with its successor
    revoked_at: Mapped[int | None]

    @property
    def is_offline(self) -> bool:
        """Core §11: offline access, which outlives the session."""
        return "offline_access" in self.scope.split()

    def check_client(self, client: Client) -> bool:
        """Whether it was issued to this client."""
        return self.client_id == client.client_id

    def get_scope(self) -> str:
        """The granted scope."""
        return self.scope

    def get_expires_in(self) -> int:
        """Seconds from issue to expiry of the access token."""
        return self.access_expires_at - self.issued_at

    def is_expired(self) -> bool:
        """Whether the access token has expired."""
        return self.access_expires_at <= now()

    def is_revoked(self) -> bool:
        """Whether the token was revoked."""
        return self.revoked_at is not None


LONG_REQUEST_SECONDS = 600  # browsers follow a redirect immediately; the rest is for reloading the page


class LongRequest(Base):
    """A request too long for a URL, stored while a redirect of ours refers to it; see pending.py."""

    __tablename__ = "long_request"

    key_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    content: Mapped[str] = mapped_column(Text)  # signed
    kept_at: Mapped[int] = mapped_column(index=True)


class Consent(Base):
    """The scopes that a user last consented to for a client."""

    __tablename__ = "consent"

    sub: Mapped[str] = mapped_column(ForeignKey("user_account.sub"), primary_key=True)
    client_id: Mapped[str] = mapped_column(ID, primary_key=True)
    scopes: Mapped[list[str]]
    given_at: Mapped[int]


class FailedLogins(Base):
    """Wrong passwords in a row for one name; see sign_in/throttle.py."""

    __tablename__ = "failed_logins"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    failures: Mapped[int]
    failed_at: Mapped[int] = mapped_column(index=True)  # the last failure
    wait_until: Mapped[int]


class UsedAssertion(Base):
    """A used client assertion: each is accepted once (RFC 7523 §3 (7))."""

    __tablename__ = "used_assertion"

    client_id: Mapped[str] = mapped_column(ID, primary_key=True)
    jti_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    expires_at: Mapped[int] = mapped_column(index=True)


class Delivery(Base):
    """One logout notification for one client. The transaction that ends the session also inserts it."""

    __tablename__ = "delivery"
    __table_args__ = (Index("delivery_due", "state", "next_try_at"), Index("delivery_newest", "created_at"))

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    client_id: Mapped[str] = mapped_column(ID, index=True)
    sid: Mapped[str] = mapped_column(ID, index=True)
    sub: Mapped[str] = mapped_column(ID)  # as sent to this client
    host: Mapped[str] = mapped_column(Text, default="")  # with port; the limit per host counts these
    reason: Mapped[str] = mapped_column(Text)  # a sentence for the user
    state: Mapped[str] = mapped_column(String(20))  # pending, delivered, refused, given_up, not_sent
    note: Mapped[str] = mapped_column(Text, default="")  # why it was not sent
    created_at: Mapped[int]
    next_try_at: Mapped[int]
    taken_until: Mapped[int] = mapped_column(default=0)  # one worker holds the row until then
    give_up_at: Mapped[int]
    tries: Mapped[int] = mapped_column(default=0)
    refusals: Mapped[int] = mapped_column(default=0)  # tries that the client answered with 400
    outcome: Mapped[str] = mapped_column(String(OUTCOME_LENGTH), default="")  # of the last try


class DeliveryAttempt(Base):
    """One try of a delivery, with its outcome."""

    __tablename__ = "delivery_attempt"

    jti: Mapped[str] = mapped_column(String(64), primary_key=True)
    delivery_id: Mapped[str] = mapped_column(ForeignKey("delivery.id"), index=True)
    at: Mapped[int]
    milliseconds: Mapped[int]
    outcome: Mapped[str] = mapped_column(String(OUTCOME_LENGTH))
    status: Mapped[int | None]
    answer: Mapped[str] = mapped_column(Text)  # the client's response body, shortened


class AppliedSetting(Base):
    """The value of a setting that was last applied to the data, to detect changes; see seed.py."""

    __tablename__ = "applied_setting"

    name: Mapped[str] = mapped_column(ID, primary_key=True)
    value: Mapped[str] = mapped_column(Text)  # a secret only as its hash


class SigningKey(Base):
    """An encrypted private key. It signs from ``signs_from``, and is published until ``published_until``."""

    __tablename__ = "signing_key"

    kid: Mapped[str] = mapped_column(String(64), primary_key=True)
    alg: Mapped[str] = mapped_column(String(20))
    private_jwk: Mapped[dict[str, Any]]
    created_at: Mapped[int]
    signs_from: Mapped[int]
    published_until: Mapped[int | None]
