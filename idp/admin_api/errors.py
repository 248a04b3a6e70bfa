"""The one shape of all errors, also of those raised before a view is called."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus

from flask import Response, request
from pydantic import Field
from pydantic.alias_generators import to_camel
from werkzeug.exceptions import HTTPException, InternalServerError, MethodNotAllowed

from idp.admin_api.resources import Resource, as_response
from idp.operations import InvalidError, NotFoundError, OperationError
from idp.sign_in.passwords import RETRY_AFTER, TooManyAtOnce

MEDIA_TYPE = "application/problem+json"  # RFC 9457 defines title, status and detail; the other members are extensions
MEMBERS = {"sub": "id", "client_name": "name", "scope": "scopes"}  # the body's name of an operation's field
KEYS = {400: "badRequest", 404: "notFound", 405: "methodNotAllowed", 415: "unsupportedMediaType"}


class FieldError(Resource):
    """One invalid value in the request."""

    object_name: str = Field(description="The part of the request.", examples=["query", "body"])
    field: str = Field(examples=["size"])
    message: str = Field(examples=["Input should be less than or equal to 200."])


class ErrorBody(Resource):
    """An error. Every error has all members."""

    title: str = Field(description="The status as text.", examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(description="An explanation for people.")
    path: str = Field(description="The path of the request.", examples=["/admin/api/v1/clients/unknown"])
    error_key: str = Field(description="The error code for programs.", examples=["notFound"])
    message: str = Field(
        description="`error.` followed by errorKey: a key for translations.", examples=["error.notFound"]
    )
    entity_name: str | None = Field(
        description="The kind of object that the error is about, if any.", examples=["client"]
    )
    params: dict[str, str] = Field(description="The parameters in the path.", examples=[{"clientId": "unknown"}])
    field_errors: list[FieldError]


class Problem(Exception):
    """An error response: status, ``errorKey`` and a sentence."""

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
        """The HTTP response."""
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
    """The response to any error. An unexpected one shows no details."""
    if isinstance(error, TooManyAtOnce):
        sentence = "Too many passwords are being checked at this moment. Try again in a few seconds."
        error = Problem(503, "tooManyPasswords", sentence, headers={"Retry-After": str(RETRY_AFTER)})
    if isinstance(error, OperationError):
        error = from_operation(error)
    if isinstance(error, HTTPException):
        error = from_http(error)
    return not_stored(error.response()) if isinstance(error, Problem) else answer(InternalServerError())


def from_operation(error: OperationError) -> Problem:
    """An error of idp/operations/; the last parameter in the path is the entity."""
    name = to_camel(list(request.view_args or {"": ""})[-1])
    entity = name.removesuffix("Id") or None
    if isinstance(error, InvalidError):
        fields = [
            FieldError(object_name="body", field=MEMBERS.get(field, to_camel(field)), message=sentence)
            for field, sentence in error.fields.items()
        ]
        return Problem(422, "invalidValue", "A value is not allowed.", entity=entity, field_errors=fields)
    if isinstance(error, NotFoundError):
        return Problem(404, "notFound", str(error), entity=entity)
    return Problem(409, "conflict", str(error), entity=entity)


def from_http(error: HTTPException) -> Problem:
    """An error of Flask: unknown path, wrong method, unreadable request, internal error."""
    status = error.code if error.code and error.code >= 400 else 404  # instead of a redirect to a normalized path
    headers = {"Allow": ", ".join(error.valid_methods or [])} if isinstance(error, MethodNotAllowed) else {}
    sentence = "This path does not exist." if status == 404 else error.description or HTTPStatus(status).description
    return Problem(status, KEYS.get(status, "error"), sentence, headers=headers)


def refuse_unknown() -> Response | None:
    """Before each request: answers unknown paths and methods below ``/admin/api/``."""
    fault = request.routing_exception
    below = request.path.startswith("/admin/api/")
    return answer(fault) if fault is not None and below else None


def not_stored(response: Response) -> Response:
    """Responses depend on the token and on the current state, so caches must not keep them."""
    response.headers["Cache-Control"] = "no-store"
    return response
