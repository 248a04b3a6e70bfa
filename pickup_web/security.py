"""Browser security: the headers of every page, cookie names, and protection of forms."""

from collections.abc import Callable, Sequence
from functools import partial
from urllib.parse import urlsplit

from flask import Flask, Request, Response, g, request
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface, SessionMixin
from flask_wtf.csrf import CSRFError, CSRFProtect
from itsdangerous import URLSafeTimedSerializer


def init_app(app: Flask, form_action: Sequence[str]) -> None:
    """Add the headers to each response that does not set its own."""
    policy = content_security_policy(form_action)
    app.session_interface = CookieSessions(app)

    @app.after_request
    def add_headers(response: Response) -> Response:
        headers = response.headers
        own = {name.lower(): value for name, value in headers}  # Headers would compare all names for each question
        if "content-security-policy" not in own:
            headers.add("Content-Security-Policy", policy)
        if "x-content-type-options" not in own:
            headers.add("X-Content-Type-Options", "nosniff")
        is_framed = "frame-ancestors http" in own.get("content-security-policy", "")  # an app's front-channel logout
        if not is_framed and "x-frame-options" not in own:
            headers.add("X-Frame-Options", "DENY")  # RFC 9700 §4.16: our pages must not be framed
        if "referrer-policy" not in own:
            headers.add("Referrer-Policy", "no-referrer")  # RFC 9700 §4.2.4: URLs may carry codes and hints
        if "cache-control" not in own and response.mimetype == "text/html":
            headers.add("Cache-Control", "no-store")  # a page of an ended session must not come back from a cache
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


class LateSession(SecureCookieSession):
    """Flask's session. Its cookie is verified at the first use, because most requests of the protocol have none."""

    def __init__(self, load: Callable[[], SecureCookieSession | None]) -> None:
        super().__init__()
        self._load: Callable[[], SecureCookieSession | None] | None = load

    @property
    def accessed(self) -> bool:
        """Whether the request used it. Flask sets this before each use."""
        return self._load is None

    @accessed.setter
    def accessed(self, _value: bool) -> None:
        if load := self._load:
            self._load = None
            dict.update(self, load() or {})


class CookieSessions(SecureCookieSessionInterface):
    """Flask's sessions, with one signer instead of one for each request, and cookies read at the first use."""

    def __init__(self, app: Flask) -> None:
        self._signer = super().get_signing_serializer(app)

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession:
        """The session, not read yet."""
        return LateSession(partial(super().open_session, app, request))

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """A session that was not used cannot have changed."""
        if session.accessed:
            super().save_session(app, session, response)

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
