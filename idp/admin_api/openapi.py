"""The API's description (OpenAPI 3.1), generated from the route map, the views' signatures and the resources."""

import inspect
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from idp.admin_api.bodies import Body
from idp.admin_api.errors import MEDIA_TYPE, ErrorBody
from idp.admin_api.operation import Operation
from idp.admin_api.queries import Query
from idp.provider import current_provider
from idp.tokens.client_credentials import ADMIN_SCOPES

REFUSALS = {
    400: ("BadRequest", "The query or the body is invalid."),
    401: ("Unauthorized", "The access token is missing or invalid."),
    403: ("Forbidden", "The access token lacks the required scope."),
    404: ("NotFound", "The object in the path does not exist."),
    409: ("Conflict", "The current state does not allow it. Nothing was changed."),
    415: ("UnsupportedMediaType", "The operation takes no body, or only one as application/json."),
    422: ("UnprocessableContent", "A value breaks a rule; fieldErrors says which. Nothing was changed."),
    503: ("ServiceUnavailable", "Too many passwords are being checked."),
}
# Path parameters, with examples that exist after `make up`.
NAMES = {
    "identityStoreName": ("The store of the accounts. There is one.", {"type": "string", "enum": ["people"]}, "people"),
    "accountId": ("The subject identifier.", {"type": "string"}, "248289761002"),
    "sessionId": ("The session's `sid`.", {"type": "string"}, "wVC0cnsVdTLkSXp0VOKCgBNmcOsPQPXn"),
    "clientId": ("", {"type": "string"}, "pickup-manager"),
    "deliveryId": ("", {"type": "string"}, "7d1c2a52e3f44f2a8a5b8d0a3a5f1c0e"),
}
HEADER = {
    "X-Total-Count": {"description": "Items on all pages.", "required": True, "schema": {"type": "integer"}},
    "Link": {
        "description": "The other pages (RFC 8288): first, prev, next, last.",
        "required": True,
        "schema": {"type": "string"},
    },
}


Mode: TypeAlias = Literal["validation", "serialization"]


class Shapes(GenerateJsonSchema):
    """Leaves out titles that are only generated from member names."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Never."""
        del schema
        return False


def document(prefix: str, operations: Sequence[Operation]) -> dict[str, Any]:
    """The whole of ``openapi.json``."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = describe(operation)
    issuer = current_provider().issuer
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Pickup admin API",
            "version": "1",
            "description": "Accounts, their sessions, clients, and the logout notifications to apps. "
            "Times are seconds since the epoch.",
        },
        "servers": [{"url": issuer + prefix}],
        "paths": paths,
        "components": {
            "schemas": schemas(operations),
            "responses": {name: refusal(status, sentence) for status, (name, sentence) in REFUSALS.items()},
            "securitySchemes": {
                "clientCredentials": {
                    "type": "oauth2",
                    "description": "Send the access token in the header: `Authorization: Bearer …`.",
                    "flows": {
                        "clientCredentials": {"tokenUrl": f"{issuer}/oauth2/token", "scopes": ADMIN_SCOPES},
                    },
                }
            },
        },
    }


def schemas(operations: Sequence[Operation]) -> dict[str, Any]:
    """The schemas of all resources, and of the error."""
    kinds: dict[tuple[type[BaseModel], Mode], None] = {(ErrorBody, "serialization"): None}
    for operation in operations:
        if operation.resource:
            kinds[operation.resource, "serialization"] = None
        if operation.body is not Body:
            kinds[operation.body, "validation"] = None
    _, found = models_json_schema(
        list(kinds),
        ref_template="#/components/schemas/{model}",
        schema_generator=Shapes,
    )
    shapes: dict[str, Any] = found["$defs"]
    return shapes


def describe(operation: Operation) -> dict[str, Any]:
    """One operation."""
    summary, _, description = inspect.cleandoc(operation.view.__doc__ or "").partition("\n\n")
    refusals = [400, 401, 403, *([404] if operation.names else []), *([409] if operation.can_conflict else []), 415]
    body: dict[str, Any] = {}
    if operation.body is not Body:
        refusals += [422, *([503] if "password" in operation.body.model_fields else [])]
        schema = {"$ref": f"#/components/schemas/{operation.body.__name__}"}
        body["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return {
        "operationId": operation.name,
        "summary": summary,
        "description": " ".join(description.split()),
        "security": [{"clientCredentials": [operation.scope]}],
        "parameters": [*map(path_parameter, operation.names), *query_parameters(operation.query)],
        **body,
        "responses": {
            str(operation.status): success(operation),
            **{str(status): {"$ref": f"#/components/responses/{REFUSALS[status][0]}"} for status in refusals},
        },
    }


def path_parameter(name: str) -> dict[str, Any]:
    """A parameter in the path."""
    description, schema, example = NAMES[name]
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": schema,
        "example": example,
    }


def query_parameters(query: type[Query]) -> list[dict[str, Any]]:
    """The query parameters, all optional."""
    found = []
    for name, schema in query.model_json_schema(schema_generator=Shapes).get("properties", {}).items():
        kinds = schema.pop("anyOf", [{}])  # optional: the first kind is the type, the second is null
        description = schema.pop("description", "")
        schema = {key: value for key, value in (schema | kinds[0]).items() if key != "title" and value is not None}
        found.append({"name": name, "in": "query", "description": description, "schema": schema})
    return found


def success(operation: Operation) -> dict[str, Any]:
    """The response to a successful request."""
    if operation.resource is None:
        return {"description": "Done. The response is empty."}
    schema: dict[str, Any] = {"$ref": f"#/components/schemas/{operation.resource.__name__}"}
    if operation.is_listing:
        content = {"application/json": {"schema": {"type": "array", "items": schema}}}
        return {"description": "One page.", "headers": HEADER, "content": content}
    return {"description": operation.resource.__doc__, "content": {"application/json": {"schema": schema}}}


def refusal(status: int, sentence: str) -> dict[str, Any]:
    """An error response."""
    answer = {
        "description": sentence,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ErrorBody"}}},
    }
    if status in (401, 403):  # RFC 6750 §3
        answer["headers"] = {"WWW-Authenticate": {"required": True, "schema": {"type": "string"}}}
    return answer
