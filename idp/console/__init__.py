"""``/console``: the operator's pages, one file for each section. The work is done in operations/.

Actions that cannot be undone ask first: GET shows what will happen, POST does it, and the next page says what happened.
"""

from collections.abc import Callable

from flask import Blueprint
from flask.typing import ResponseReturnValue

from idp.console import applications, deliveries, keys, overview, people, sessions, settings
from idp.console.parts import only_printable, refused
from idp.operations import OperationError
from idp.own_pages import guard, require_operator

Route = tuple[str, str, str, Callable[..., ResponseReturnValue]]

# fmt: off
ROUTES: list[Route] = [
    ("GET",      "",                                       "show",                overview.show),
    # registered apps and people
    ("GET",      "/applications",                          "applications",        applications.show_all),
    ("GET POST", "/applications/register",                 "register_application", applications.register),
    ("GET",      "/applications/<client_id>",              "application",         applications.show),
    ("GET POST", "/applications/<client_id>/edit",         "edit_application",    applications.edit),
    ("POST",     "/applications/<client_id>/check",        "check_application",   applications.check),
    ("GET POST", "/applications/<client_id>/secret",       "renew_secret",        applications.renew_secret),
    ("GET POST", "/applications/<client_id>/remove",       "remove_application",  applications.remove),
    ("GET",      "/people",                                "people",              people.show_all),
    ("GET POST", "/people/add",                            "add_person",          people.add),
    ("GET",      "/people/<sub>",                          "person",              people.show),
    ("GET POST", "/people/<sub>/role",                     "change_role",         people.change_role),
    ("GET POST", "/people/<sub>/password",                 "reset_password",      people.reset_password),
    ("GET POST", "/people/<sub>/sign-out",                 "sign_out_person",     people.sign_out),
    ("GET POST", "/people/<sub>/disable",                  "disable_person",      people.disable),
    ("GET POST", "/people/<sub>/enable",                   "enable_person",       people.enable),
    ("GET POST", "/people/<sub>/remove",                   "remove_person",       people.remove),
    # active sessions
    ("GET",      "/sessions",                              "sessions",            sessions.show_all),
    ("GET",      "/sessions/<sid>",                        "session",             sessions.show),
    ("GET POST", "/sessions/<sid>/end",                    "end_one_session",     sessions.end),
    # logout notifications
    ("GET",      "/deliveries",                            "deliveries",          deliveries.show_all),
    ("GET",      "/deliveries.csv",                        "export_deliveries",   deliveries.export),
    ("GET",      "/deliveries/<delivery_id>",              "delivery",            deliveries.show),
    ("POST",     "/deliveries/<delivery_id>/send-again",   "send_again",          deliveries.send_again),
    # the IdP itself
    ("GET",      "/keys",                                  "keys",                keys.show),
    ("GET POST", "/keys/rotate",                           "rotate_keys",         keys.rotate_now),
    ("GET",      "/settings",                              "settings",            settings.show),
]
# fmt: on

blueprint = Blueprint("console", __name__, url_prefix="/console")
guard(blueprint, require_operator)
blueprint.before_request(only_printable)
blueprint.register_error_handler(OperationError, refused)
for methods, path, name, view in ROUTES:
    blueprint.add_url_rule(path, name, view, methods=methods.split())
