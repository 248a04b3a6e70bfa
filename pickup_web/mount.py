"""Serves the application below the path of its base URL, and the health check at the server's root."""

from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flask import Flask
from werkzeug.utils import redirect

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


def mount(app: Flask, base_url: str, healthz: "WSGIApplication") -> "WSGIApplication":
    """``app`` below the path of ``base_url``; ``/healthz`` and a redirect for everything else."""
    inner = app.wsgi_app
    parts = urlsplit(base_url)
    prefix = parts.path.rstrip("/")
    app.config["APPLICATION_ROOT"] = prefix or "/"  # the cookie's path

    # The scheme is a setting too: a TLS proxy sends us plain http, and no header changes the scheme.
    def outer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        environ["wsgi.url_scheme"] = parts.scheme
        path = environ.get("PATH_INFO", "")
        if path == "/healthz":
            return healthz(environ, start_response)
        if not (path == prefix or path.startswith(prefix + "/")):
            return redirect(prefix + "/")(environ, start_response)
        environ["SCRIPT_NAME"] = environ.get("SCRIPT_NAME", "") + prefix
        environ["PATH_INFO"] = path[len(prefix) :]
        return inner(environ, start_response)

    return outer
