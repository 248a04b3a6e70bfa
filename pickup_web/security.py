"""What browsers must not do: the headers of every page, the names of cookies, whose forms count."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from flask import Flask, Response, g, request
from flask.sessions import SecureCookieSessionInterface
from flask_wtf.csrf import CSRFError, CSRFProtect
from itsdangerous import URLSafeTimedSerializer


def init_app(app: Flask, form_action: Sequence[str]) -> None:
    """Add the headers to each response that does not bring its own."""
    policy = content_security_policy(form_action)
    app.session_interface = CookieSessions(app)

    @app.after_request
    def add_headers(response: Response) -> Response:
        headers = response.headers
        headers.setdefault("Content-Security-Policy", policy)
        headers.setdefault("X-Content-Type-Options", "nosniff")
        headers.setdefault("X-Frame-Options", "DENY")  # RFC 9700 §4.16: no page of ours is framed
        headers.setdefault("Referrer-Policy", "no-referrer")  # RFC 9700 §4.2.4: URLs may carry codes and hints
        if "Cache-Control" not in headers and response.mimetype == "text/html":
            headers["Cache-Control"] = "no-store"  # a page of an ended session must not come back from a cache
        return response


class FormProtection(CSRFProtect):  # type: ignore[misc] # Flask-WTF has no types
    """Flask-WTF's tokens; and no form that a page of another origin sent, whatever token it has."""

    def protect(self, apply_exemptions: bool = False) -> None:
        """Before each request; :class:`CSRFError`."""
        super().protect(apply_exemptions)
        if g.get("csrf_valid"):  # a form, and not of an exempt view
            refuse_other_sites()


def refuse_other_sites() -> None:
    """Refuses a form that another site sent, a neighbour below the same domain included; :class:`CSRFError`.

    A token does not tell them apart: a neighbour can plant its own cookie, with the token that belongs to it
    (RFC 6265 §8.6). Browsers before 2023 do not send this header, nor do programs.
    """
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):  # Fetch Metadata §2.3
        raise CSRFError("A page of another site sent the form.")


def cookie_name(name: str, base_url: str) -> str:
    """RFC 6265bis §4.1.3.2: no neighbour can plant a ``__Host-`` cookie. It must be Secure, for /, without Domain."""
    return f"__Host-{name}" if base_url.startswith("https://") else name


def uncached(response: Response) -> Response:
    """RFC 6749 §5.1: an answer that holds tokens or claims is not stored on the way."""
    response.headers.update({"Cache-Control": "no-store", "Pragma": "no-cache"})
    return response


class CookieSessions(SecureCookieSessionInterface):
    """Flask's own, which makes a signer for each request; this one keeps it."""

    def __init__(self, app: Flask) -> None:
        self._signer = super().get_signing_serializer(app)

    def get_signing_serializer(self, app: Flask) -> URLSafeTimedSerializer | None:  # noqa: ARG002 # Flask passes it
        """For the cookie of ``app``."""
        return self._signer


def content_security_policy(form_action: Sequence[str], images: Sequence[str] = ()) -> str:
    """Only our own scripts and styles. A form's *redirects* count too, so their origins are listed."""
    targets = " ".join(["'self'", *sorted({origin_of(url) for url in form_action})])
    pictures = " ".join(["'self'", "data:", *(origin_of(url) for url in images)])
    return (
        f"default-src 'self'; img-src {pictures}; object-src 'none'; base-uri 'none'; "
        f"frame-ancestors 'none'; form-action {targets}"
    )


def origin_of(url: str) -> str:
    """Scheme, host and port of ``url``, as a policy writes them (RFC 6454 §6.2)."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
