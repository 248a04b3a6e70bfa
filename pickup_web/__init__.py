"""The shared parts of the three Pickup services as web applications. Contains no protocol code.

Read :func:`create_service` first: it lists everything a service gets.
"""

import os
from collections.abc import Callable, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Flask, Request, render_template
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import HTTPException, ServiceUnavailable
from werkzeug.middleware.proxy_fix import ProxyFix

from pickup_web import database, events, localhost, logs, outage, security
from pickup_web.body import with_checked_body
from pickup_web.health import health_check
from pickup_web.mount import mount
from pickup_web.pages import register_pages
from pickup_web.schema import Schema, prepare
from pickup_web.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

__all__ = ["Settings", "create_service", "csrf"]

SCHEMA = Schema("web", database.Base.metadata, Path(__file__).with_name("migrations"))
csrf = security.FormProtection()


def create_service(
    import_name: str,
    settings: Settings,
    *,
    name: str,
    title: str,
    base_url: str,
    database_url: str,
    form_action: Sequence[str] = (),
) -> Flask:
    """A Flask application with the parts that all services share.

    ``name`` is also the theme; ``base_url`` is the public address without a trailing slash;
    the application is served below its path; ``form_action`` lists the other origins to which a form may
    lead. Browsers apply that rule to redirects after a form too.
    """
    app = Flask(import_name)
    app.request_class = HeadIsGet
    app.config.update(
        SECRET_KEY=settings.secret_key.get_secret_value(),
        WTF_CSRF_TIME_LIMIT=None,  # the token is valid as long as its session
        WTF_CSRF_SSL_STRICT=False,  # it requires a Referer, which our pages do not send
        MAX_CONTENT_LENGTH=256 * 1024,  # far more than any of our forms
        TRUSTED_HOSTS=None,  # addresses are built from settings, never from the Host header
        SESSION_COOKIE_NAME=security.cookie_name(f"pickup_{name}", base_url),
        SESSION_COOKIE_PATH="/" if base_url.startswith("https://") else None,  # __Host- requires "/"; else our path
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=base_url.startswith("https://"),
    )
    after_fork: list[Callable[[], None]] = []
    before_exit: list[Callable[[], None]] = []
    app.extensions.update(after_fork=after_fork, before_exit=before_exit)

    localhost.install(ask_resolver=settings.compose_network)
    logs.init(name)
    database.init_app(app, database_url)
    prepare(database.engine_of(app), SCHEMA)
    events.init_app(app, show=settings.demo_events)
    security.init_app(app, form_action)
    csrf.init_app(app)
    register_pages(app, name, title, settings)
    if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):  # OpenTelemetry's own variable
        from pickup_web import open_telemetry  # imports its SDK

        open_telemetry.init_app(app, name)
    app.register_error_handler(HTTPException, error_page)
    outage.init_app(app)
    # A proxy's headers determine only the client's address; scheme, host and path are settings.
    mounted = with_checked_body(mount(app, base_url, health_check(app)))
    behind_proxies = ProxyFix(mounted, x_for=settings.trusted_proxies, x_proto=0)
    # Flask's documented way to add middleware; a type checker rejects assigning to a method.
    app.wsgi_app = behind_proxies  # type: ignore[method-assign]
    return app


class HeadIsGet(Request):
    """Treats HEAD as GET. Flask answers HEAD wherever it answers GET, and HEAD must not do more (RFC 9110 §9.3.2).

    So no view gets a method it does not expect and mistakes it for POST. The body is still omitted,
    because Werkzeug reads the method from the environment.
    """

    def __init__(self, environ: "WSGIEnvironment", *args: Any, **kwargs: Any) -> None:
        super().__init__(environ, *args, **kwargs)
        if self.method == "HEAD":
            self.method = "GET"


def error_page(error: HTTPException) -> ResponseReturnValue:
    """Every error is shown on one of our own pages, with a message."""
    error = outage.seen(error)
    code = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
    if error.response is not None:
        return error.response
    text = error.description
    if isinstance(error, CSRFError):
        text = "The form was open for too long or came from another site. Open the page and send the form again."
    page = render_template("pickup/error.html", code=code, title=error.name, text=text)
    return page, code, {"Retry-After": str(error.retry_after)} if isinstance(error, ServiceUnavailable) else {}
