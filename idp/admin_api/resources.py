"""The resources in responses. Times are seconds since the epoch.

None contains secrets or their hashes, except the one that shows a new client's secret once.
"""

import json
from typing import Any, Literal, Self

from flask import Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from idp.models import Client, User
from idp.operations.application_settings import SETTINGS
from idp.operations.deliveries import Entry
from idp.operations.sessions import SessionView


class Resource(BaseModel):
    """Members are camelCase on the wire."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, from_attributes=True)

    def as_json(self) -> dict[str, Any]:
        """The JSON value."""
        return self.model_dump(mode="json", by_alias=True)


def as_response(data: Any, status: int = 200, media_type: str = "application/json") -> Response:
    """A JSON response with members in the order of the model."""
    return Response(json.dumps(data), status, mimetype=media_type)


class Account(Resource):
    """A person who can sign in."""

    id: str = Field(description="The subject identifier: `sub` in every token.", examples=["248289761002"])
    username: str = Field(examples=["cameron"])
    name: str | None = Field(examples=["Cameron Reyes"])
    email: str | None = Field(examples=["cameron@pickup.example"])
    email_verified: bool = Field(description="As the claim `email_verified`; false without an email address.")
    role: str = Field(json_schema_extra={"enum": ["user", "operator"]})
    disabled_at: int | None = Field(description="When it was disabled; null if it is enabled.")

    @classmethod
    def of(cls, user: User) -> Self:
        """One person."""
        return cls(
            id=user.sub,
            username=user.username,
            name=user.claims.get("name"),
            email=user.claims.get("email"),
            email_verified=user.claims.get("email_verified") is True,
            role=user.role,
            disabled_at=user.disabled_at,
        )


class App(Resource):
    """An app that takes part in a session."""

    client_id: str = Field(examples=["pickup-dispatch"])
    name: str = Field(examples=["Pickup Dispatch"])
    since: int
    told: bool = Field(description="Whether it is notified when the session ends.")
    why_not: str = Field(description="Why it is not notified; empty if it is.")
    policy: str = Field(
        description="Which of its tokens are revoked when the session ends.",
        json_schema_extra={"enum": ["none", "session", "all"]},
    )
    access_tokens: int = Field(description="The number of valid ones.")
    refresh_tokens: int
    offline_tokens: int = Field(description="Those that may outlive the session.")


class Session(Resource):
    """An active session of one browser, and the apps that share it."""

    id: str = Field(description="`sid` in every ID token and logout token of the session.")
    account_id: str = Field(examples=["248289761002"])
    device: str = Field(examples=["Chromium on Linux"])
    signed_in_at: int = Field(description="When the password was last entered.")
    created_at: int
    last_seen_at: int
    expires_at: int = Field(description="At the latest; sooner if it is not used.")
    apps: list[App]

    @classmethod
    def of(cls, view: SessionView) -> Self:
        """One session."""
        session = view.session
        apps = [
            App(
                client_id=app.client.client_id,
                name=app.client.name,
                since=app.since,
                told=app.told,
                why_not=app.why_not,
                policy=app.policy,
                access_tokens=app.access_alive,
                refresh_tokens=app.refresh_alive,
                offline_tokens=app.offline_alive,
            )
            for app in view.apps
        ]
        return cls(
            id=session.sid,
            account_id=session.sub,
            device=view.device,
            signed_in_at=session.auth_time,
            created_at=session.created_at,
            last_seen_at=session.last_seen_at,
            expires_at=session.expires_at,
            apps=apps,
        )


def setting(name: str) -> Any:
    """A member with the label and the hint that the console shows for this setting."""
    about = SETTINGS[name]
    return Field(title=about["title"], description=about.get("description"))


class RegisteredClient(Resource):
    """A registered client. Shows the authentication method, never the credentials."""

    client_id: str = Field(examples=["pickup-manager"])
    name: str = Field(examples=["Pickup Manager"])
    redirect_uris: list[str] = setting("redirect_uris")
    post_logout_redirect_uris: list[str] = setting("post_logout_redirect_uris")
    grant_types: list[str] = setting("grant_types")
    response_types: list[str] = setting("response_types")
    scopes: list[str] = setting("scope")
    token_endpoint_auth_method: str = setting("token_endpoint_auth_method")
    id_token_signed_response_alg: str = setting("id_token_signed_response_alg")
    backchannel_logout_uri: str | None = setting("backchannel_logout_uri")
    backchannel_logout_session_required: bool = setting("backchannel_logout_session_required")
    frontchannel_logout_uri: str | None = setting("frontchannel_logout_uri")
    frontchannel_logout_session_required: bool = setting("frontchannel_logout_session_required")
    delete_tokens_on_logout: Literal["none", "session", "all"] | None = setting("delete_tokens_on_logout")
    connect_timeout: float = setting("connect_timeout")
    read_timeout: float = setting("read_timeout")
    retry_seconds: int | None = setting("retry_seconds")
    home_url: str | None = setting("home_url")
    require_pkce: bool = setting("require_pkce")
    may_introspect: bool = setting("may_introspect")
    claims_in_id_token: bool = setting("claims_in_id_token")
    notify_initiator: bool = setting("notify_initiator")
    tell_logout_reason: bool = setting("tell_logout_reason")
    created_at: int

    @classmethod
    def of(cls, client: Client) -> Self:
        """One client."""
        return cls.model_validate(client)


class ClientWithSecret(RegisteredClient):
    """A new client. Only this response has its secret, because the IdP stores a hash."""

    client_secret: str | None = Field(description="Null if its authentication method has no secret.")

    @classmethod
    def with_secret(cls, client: Client, secret: str | None) -> Self:
        """The new client and its secret."""
        return cls(**RegisteredClient.of(client).model_dump(), client_secret=secret)


class Delivery(Resource):
    """The notification of one app about one ended session."""

    id: str
    client_id: str = Field(examples=["pickup-manager"])
    client_name: str | None = Field(examples=["Pickup Manager"])
    account_id: str = Field(examples=["248289761002"])
    username: str | None = Field(examples=["cameron"])
    session_id: str
    reason: str = Field(description="Why the session ended, as shown to the user.")
    state: Literal["pending", "delivered", "refused", "given_up", "not_sent"]
    note: str = Field(description="Why it was not sent; empty otherwise.")
    created_at: int
    next_try_at: int | None = Field(description="Only while it is pending.")
    give_up_at: int
    tries: int
    outcome: str = Field(
        description="The result of the last attempt; empty if there was none.", examples=["delivered", "timeout"]
    )

    @classmethod
    def of(cls, entry: Entry) -> Self:
        """One delivery."""
        return cls(**cls.values(entry))

    @staticmethod
    def values(entry: Entry) -> dict[str, Any]:
        """The members of a delivery."""
        row = entry.delivery
        return {
            "id": row.id,
            "client_id": row.client_id,
            "client_name": entry.client_name,
            "account_id": row.sub,
            "username": entry.username,
            "session_id": row.sid,
            "reason": row.reason,
            "state": row.state,
            "note": row.note,
            "created_at": row.created_at,
            "next_try_at": row.next_try_at if row.state == "pending" else None,
            "give_up_at": row.give_up_at,
            "tries": row.tries,
            "outcome": row.outcome,
        }


class Attempt(Resource):
    """One attempt of a delivery."""

    jti: str = Field(description="The logout token's ID, which the IdP and the app both record.")
    at: int
    milliseconds: int
    outcome: str = Field(examples=["delivered", "timeout", "refused"])
    status: int | None = Field(description="The status of the app's HTTP response, if any.")
    answer: str = Field(description="The app's response, shortened.")


class DeliveryWithAttempts(Delivery):
    """A delivery with every attempt, oldest first."""

    attempts: list[Attempt]

    @classmethod
    def of(cls, entry: Entry) -> Self:
        """One delivery."""
        return cls(**cls.values(entry), attempts=[Attempt.model_validate(attempt) for attempt in entry.attempts])
