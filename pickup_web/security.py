"""Browser security: the headers of every page, cookie names, and protection of forms."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from flask import Flask, Response, g, request
from flask.sessions import SecureCookieSessionInterface
from flask_wtf.csrf import CSRFError, CSRFProtect
from itsdangerous import URLSafeTimedSerializer


def init_app(app: Flask, form_action: Sequence[str]) -> None:
    """Add the headers to each response that does not set its own."""
    policy = content_security_policy(form_action)
    app.session_interface = CookieSessions(app)

    @app.after_request
    def add_headers(response: Response) -> Response:
        headers = response.headers
        headers.setdefault("Content-Security-Policy", policy)
        headers.setdefault("X-Content-Type-Options", "nosniff")
        if "frame-ancestors http" not in headers["Content-Security-Policy"]:  # an app's front-channel logout has that
            headers.setdefault("X-Frame-Options", "DENY")  # RFC 9700 §4.16: our pages must not be framed
        headers.setdefault("Referrer-Policy", "no-referrer")  # RFC 9700 §4.2.4: URLs may carry codes and hints
        if "Cache-Control" not in headers and response.mimetype == "text/html":
            headers["Cache-Control"] = "no-store"  # a page of an ended session must not come back from a cache
        return response


class FormProtection(CSRFProtect):  # type: ignore[misc] # Flask-WTF has no types
    """Flask-WTF's tokens; also rejects any form that another site's page sent, even with a valid token."""

    def protect(self, apply_exemptions: bool = False) -> None:
        """Runs before each request; raises :class:`CSRFError`."""
        super().protect(apply_exemptions)
        if g.get("csrf_valid"):  # a form whose view is not exempt
            refuse_other_sites()


def refuse_other_sites() -> None:
    """Rejects a form sent by another site, also by a sibling domain; raises :class:`CSRFError`.

    A CSRF token does not detect a sibling domain, which can set its own cookie with the matching token
    (RFC 6265 §8.6). Browsers before 2023 and other programs do not send this header.
    """
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):  # Fetch Metadata §2.3
        raise CSRFError("A page of another site sent the form.")


def cookie_name(name: str, base_url: str) -> str:
    """RFC 6265bis §4.1.3.2: a sibling domain cannot set a ``__Host-`` cookie. It needs Secure, path / and no Domain."""
    return f"__Host-{name}" if base_url.startswith("https://") else name


def uncached(response: Response) -> Response:
    """RFC 6749 §5.1: a response with tokens or claims must not be cached."""
    response.headers.update({"Cache-Control": "no-store", "Pragma": "no-cache"})
    return response


class CookieSessions(SecureCookieSessionInterface):
    """Flask's session interface creates a signer for each request; this one reuses it."""

    def __init__(self, app: Flask) -> None:
        self._signer = super().get_signing_serializer(app)

    def get_signing_serializer(self, app: Flask) -> URLSafeTimedSerializer | None:  # noqa: ARG002 # Flask passes it
        """The signer for the cookie of ``app``."""
        return self._signer


def content_security_policy(form_action: Sequence[str], images: Sequence[str] = (), frames: Sequence[str] = ()) -> str:
    """Only our own scripts and styles. A form's *redirects* count too, so their origins are listed."""
    targets = " ".join(["'self'", *sorted({origin_of(url) for url in form_action})])
    pictures = " ".join(["'self'", "data:", *(origin_of(url) for url in images)])
    framed = f"frame-src {' '.join(sorted({origin_of(url) for url in frames}))}; " if frames else ""
    return (
        f"default-src 'self'; img-src {pictures}; {framed}object-src 'none'; base-uri 'none'; "
        f"frame-ancestors 'none'; form-action {targets}"
    )


def origin_of(url: str) -> str:
    """Scheme, host and port of ``url``, as a policy writes them (RFC 6454 §6.2)."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
