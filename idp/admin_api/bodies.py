"""Request bodies: JSON objects. Unknown members are refused, because a misspelled setting must not be ignored.

The types of a client's settings, and all other rules, are checked by the operations, as for the console.
"""

import json
from typing import Any, Literal

from flask import request
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, create_model
from pydantic.alias_generators import to_camel

from idp.admin_api.errors import FieldError, Problem
from idp.operations.application_settings import SETTINGS
from idp.operations.people import MIN_PASSWORD

RENAMED = {"client_name": "name", "scope": "scopes"}  # as in the resource
SCOPES = {"type": "array", "items": {"type": "string"}}


class Body(BaseModel):
    """No body; subclasses add members. :meth:`given` has only those of the request."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", strict=True)

    def given(self) -> dict[str, Any]:
        """The members of the request, by their names in Python."""
        return self.model_dump(exclude_unset=True)


PASSWORD = Field(description=f"At least {MIN_PASSWORD} characters.", json_schema_extra={"format": "password"})
CLAIMS = "Claims of any kind, by their names in tokens: name, email, email_verified, groups, …"


class NewAccount(Body):
    """A new account."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "zoe-1",
                "username": "zoe",
                "password": "eight words are enough",
                "claims": {"name": "Zoe Abel", "email": "zoe@example.com", "email_verified": True, "groups": ["night"]},
            }
        }
    )

    id: str | None = Field(default=None, description="`sub` in every token; random if missing.")
    username: str
    password: str = PASSWORD
    role: Literal["user", "operator"] = "user"
    claims: dict[str, Any] = Field(default={}, description=CLAIMS)


class AccountChanges(Body):
    """Changes of an account, in this order. Members that are missing stay."""

    model_config = ConfigDict(json_schema_extra={"example": {"claims": {"name": "Cameron L. Reyes"}}})

    role: Literal["user", "operator"] = "user"
    disabled: bool = Field(
        default=False, description="true ends all sessions and revokes all tokens; false allows sign-in again."
    )
    claims: dict[str, Any] = Field(default={}, description=f"{CLAIMS} Others stay; null removes one.")
    password: str = Field(default="", description="A new password ends all sessions.")


def settings_fields(skip: tuple[str, ...] = ()) -> dict[str, Any]:
    """A field for each setting of docs/console.md."""
    found: dict[str, Any] = {}
    for name, about in SETTINGS.items():
        schema = SCOPES if name == "scope" else {key: about[key] for key in about if key not in ("examples", "title")}
        if name not in skip:
            description = about.get("description") or about.get("title")
            extra = {"default": None, **schema, "description": description}
            found[RENAMED.get(name, name)] = (Any, Field(default=None, json_schema_extra=without_none(extra)))
    return found


def without_none(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema without empty members."""
    return {name: value for name, value in schema.items() if value is not None}


SECRET = Field(
    default=None,
    min_length=1,
    max_length=255,
    description="A secret that you choose, for tests. If missing, a new client gets a random one, and a known one "
    "keeps its own.",
)


class ClientBody(Body):
    """The settings of a client."""

    client_secret: str | None = SECRET

    def settings(self) -> dict[str, Any]:
        """By the names that the operations take, without the secret."""
        names = {renamed: name for name, renamed in RENAMED.items()}
        values = {names.get(name, name): value for name, value in self.given().items() if name != "client_secret"}
        scopes = values.get("scope")
        if isinstance(scopes, list) and all(isinstance(scope, str) for scope in scopes):
            values["scope"] = " ".join(scopes)
        elif scopes is not None:
            raise Problem(400, "invalidBody", "The body is invalid.", field_errors=[error("scopes", "Enter a list.")])
        return values


EXAMPLE: dict[str, JsonValue] = {
    "clientId": "fleet-radio",
    "clientSecret": "a secret for tests",
    "name": "Fleet Radio",
    "redirectUris": ["http://radio.localhost:8090/oauth2client"],
    "backchannelLogoutUri": "http://radio.localhost:8090/bclogout",
    "scopes": ["openid", "profile"],
}
NewClient = create_model(
    "NewClient", __base__=ClientBody, __doc__="A new client.", **{**settings_fields(), "name": (Any, Field())}
)
NewClient.model_config["json_schema_extra"] = {"example": EXAMPLE}
ClientChanges = create_model(
    "ClientChanges",
    __base__=ClientBody,
    __doc__="Changes of a client. Members that are missing stay.",
    **settings_fields(skip=("client_id",)),
)
ClientChanges.model_config["json_schema_extra"] = {"example": {"readTimeout": 3.0}}


def read_body(kind: type[Body]) -> dict[str, Any]:
    """The body as the view's argument, if it takes one; :class:`Problem` with all errors."""
    if kind is Body:
        refuse_body()
        return {}
    if request.mimetype != "application/json":
        raise Problem(415, "unsupportedMediaType", "Send the body as application/json.")
    try:
        content = json.loads(request.get_data())
        json.dumps(content, ensure_ascii=False).encode()  # half of a surrogate pair is not a text
    except (ValueError, RecursionError) as fault:
        raise Problem(400, "invalidBody", "The body is not JSON in UTF-8.") from fault
    try:
        return {"body": kind.model_validate(content)}
    except ValidationError as fault:
        errors = [
            error(str(one["loc"][0]) if one["loc"] else "", in_words(one["type"], one["msg"])) for one in fault.errors()
        ]
        raise Problem(400, "invalidBody", "The body is invalid.", field_errors=errors) from fault


def in_words(kind: str, message: str) -> str:
    """The error as a sentence."""
    return "This member does not exist." if kind == "extra_forbidden" else f"{message}."


def error(field: str, message: str) -> FieldError:
    """An invalid member of the body."""
    return FieldError(object_name="body", field=field, message=message)


def refuse_body() -> None:
    """415: a body would have no effect, so it is refused, unread."""
    if request.content_length or "Transfer-Encoding" in request.headers:
        raise Problem(415, "unsupportedMediaType", "This operation takes no body. Leave it out.")
