"""Whatever goes wrong has this one shape, also what goes wrong before it reaches a view."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus

from flask import Response, request
from pydantic import Field
from pydantic.alias_generators import to_camel
from werkzeug.exceptions import HTTPException, InternalServerError, MethodNotAllowed

from idp.admin_api.resources import Resource, as_response
from idp.operations import NotFoundError, OperationError

MEDIA_TYPE = "application/problem+json"  # RFC 9457: title, status and detail are its members, the others are ours
KEYS = {400: "badRequest", 404: "notFound", 405: "methodNotAllowed", 415: "unsupportedMediaType"}


class FieldError(Resource):
    """One thing that is wrong with what was sent."""

    object_name: str = Field(description="Where it stood.", examples=["query"])
    field: str = Field(examples=["size"])
    message: str = Field(examples=["Input should be less than or equal to 200."])


class ErrorBody(Resource):
    """What went wrong. Every member is there in every error."""

    title: str = Field(description="The status, in words.", examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(description="A sentence for a person.")
    path: str = Field(description="Of the request.", examples=["/admin/api/v1/clients/nobody"])
    error_key: str = Field(description="What went wrong, for a program.", examples=["notFound"])
    message: str = Field(description="`error.` and errorKey: for texts of your own.", examples=["error.notFound"])
    entity_name: str | None = Field(description="What kind of thing it is about, if any.", examples=["client"])
    params: dict[str, str] = Field(description="The names in the path.", examples=[{"clientId": "nobody"}])
    field_errors: list[FieldError]


class Problem(Exception):
    """A refusal: its status, its ``errorKey``, a sentence."""

    def __init__(
        self,
        status: int,
        key: str,
        detail: str,
        *,
        entity: str | None = None,
        field_errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.key, self.detail, self.entity = status, key, detail, entity
        self.field_errors, self.headers = list(field_errors), headers or {}

    def response(self) -> Response:
        """The error on the wire."""
        body = ErrorBody(
            title=HTTPStatus(self.status).phrase,
            status=self.status,
            detail=self.detail,
            path=request.script_root + request.path,
            error_key=self.key,
            message=f"error.{self.key}",
            entity_name=self.entity,
            params={to_camel(name): value for name, value in (request.view_args or {}).items()},
            field_errors=self.field_errors,
        )
        response = as_response(body.as_json(), self.status, MEDIA_TYPE)
        response.headers.update(self.headers)
        return response


def answer(error: Exception) -> Response:
    """Any error of the API, as a :class:`Problem`. One that nobody foresaw says nothing about itself."""
    if isinstance(error, OperationError):
        error = from_operation(error)
    if isinstance(error, HTTPException):
        error = from_http(error)
    return not_stored(error.response()) if isinstance(error, Problem) else answer(InternalServerError())


def from_operation(error: OperationError) -> Problem:
    """idp/operations/ says it in sentences; it is about the last thing that is named in the path."""
    name = to_camel(list(request.view_args or {"": ""})[-1])
    entity = name.removesuffix("Id") or None
    if isinstance(error, NotFoundError):
        return Problem(404, "notFound", str(error), entity=entity)
    return Problem(409, "conflict", str(error), entity=entity)


def from_http(error: HTTPException) -> Problem:
    """What Flask found: no such path, no such method, a request that cannot be read, a fault of our own."""
    status = error.code if error.code and error.code >= 400 else 404  # no redirect to a tidier path
    headers = {"Allow": ", ".join(error.valid_methods or [])} if isinstance(error, MethodNotAllowed) else {}
    sentence = "There is no such path." if status == 404 else error.description or HTTPStatus(status).description
    return Problem(status, KEYS.get(status, "error"), sentence, headers=headers)


def refuse_unknown() -> Response | None:
    """Before each request: a path below the API's that is none, or a method that it does not have."""
    fault = request.routing_exception
    below = request.path.startswith("/admin/api/")
    return answer(fault) if fault is not None and below else None


def not_stored(response: Response) -> Response:
    """The next one may come with another token, and find another state."""
    response.headers["Cache-Control"] = "no-store"
    return response
