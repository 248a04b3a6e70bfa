"""``/admin/api/v1``: the operations of the console, for programs.

:func:`serve` handles a request in these steps:

1. access.py checks the access token and its scope.
2. queries.py checks the query, bodies.py the body.
3. views.py calls the same functions as the console (idp/operations/).
4. resources.py defines the responses; errors.py defines the one shape of all errors.

``openapi.json`` is generated from this route map and those resources (openapi.py).
"""

from collections.abc import Callable

from flask import Blueprint, Flask, Response
from werkzeug.exceptions import HTTPException

from idp.admin_api import errors, openapi, views
from idp.admin_api.access import require_scope
from idp.admin_api.bodies import read_body
from idp.admin_api.operation import Operation
from idp.admin_api.queries import read_query
from idp.admin_api.resources import as_response
from idp.operations import OperationError
from idp.sign_in.passwords import TooManyAtOnce
from pickup_web import csrf

PREFIX = "/admin/api/v1"
ACCOUNTS = "/identityStores/{identityStoreName}/accounts"
# fmt: off
OPERATIONS = [
    Operation("GET",    ACCOUNTS,                                       "account:read",   views.list_accounts),
    Operation("POST",   ACCOUNTS,                                       "account:manage", views.add_account, 201),
    Operation("GET",    ACCOUNTS + "/{accountId}",                      "account:read",   views.show_account),
    Operation("PATCH",  ACCOUNTS + "/{accountId}",                      "account:manage", views.change_account),
    Operation("DELETE", ACCOUNTS + "/{accountId}",                      "account:manage", views.remove_account, 204),
    Operation("GET",    ACCOUNTS + "/{accountId}/sessions",             "account:read",   views.list_sessions),
    Operation("GET",    ACCOUNTS + "/{accountId}/sessions/{sessionId}", "account:read",   views.show_session),
    Operation("DELETE", ACCOUNTS + "/{accountId}/sessions/{sessionId}", "account:write",  views.end_session, 204),
    Operation("DELETE", ACCOUNTS + "/{accountId}/sessions",             "account:write",  views.end_sessions, 204),
    Operation("GET",    "/clients",                                     "client:read",    views.list_clients),
    Operation("POST",   "/clients",                                     "client:manage",  views.add_client, 201),
    Operation("GET",    "/clients/{clientId}",                          "client:read",    views.show_client),
    Operation("PATCH",  "/clients/{clientId}",                          "client:manage",  views.change_client),
    Operation("DELETE", "/clients/{clientId}",                          "client:manage",  views.remove_client, 204),
    Operation("GET",    "/deliveries",                                  "delivery:read",  views.list_deliveries),
    Operation("GET",    "/deliveries/{deliveryId}",                     "delivery:read",  views.show_delivery),
    Operation("POST",   "/deliveries/{deliveryId}/redeliver",           "delivery:write", views.redeliver, 202),
]
# fmt: on


def init_app(app: Flask) -> None:
    """Register the operations and their description. Cookies are not used here, so no CSRF token is needed."""
    blueprint = Blueprint("admin_api", __name__, url_prefix=PREFIX)
    for operation in OPERATIONS:
        view = serve(operation)
        blueprint.add_url_rule(
            operation.rule, operation.name, view, methods=[operation.method], provide_automatic_options=False
        )
    blueprint.add_url_rule("/openapi.json", "openapi", describe, provide_automatic_options=False)
    for kind in (errors.Problem, OperationError, TooManyAtOnce, HTTPException):
        blueprint.register_error_handler(kind, errors.answer)
    blueprint.before_app_request(errors.refuse_unknown)
    blueprint.after_request(errors.not_stored)
    csrf.exempt(blueprint)
    app.register_blueprint(blueprint)


def describe() -> Response:
    """``openapi.json``. Public: it contains no data."""
    return as_response(openapi.document(PREFIX, OPERATIONS))


def serve(operation: Operation) -> Callable[..., Response]:
    """The Flask view of an operation."""

    def view(**names: str) -> Response:
        require_scope(operation.scope)
        arguments = read_query(operation.query) | read_body(operation.body)
        return operation.answer(operation.view(**names, **arguments))

    return view
