"""Receiving a browser's request, and keeping it while the user signs in or consents.

A pending authorization request is a signed field of the login page, with the time it arrived. So two tabs never mix up
their requests, an abandoned login leaves nothing in the database, and the user cannot change the request.

Our own redirects carry it in the URL. A request too long for a URL is stored, and the URL has its key, because servers
and proxies reject long request lines (414) and long response headers (502).
"""

import secrets
from dataclasses import dataclass
from typing import NamedTuple

from flask import redirect, request, url_for
from flask.typing import ResponseReturnValue
from itsdangerous import BadSignature, URLSafeTimedSerializer
from sqlalchemy import delete, or_, select
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import RequestEntityTooLarge

from idp.addresses import with_parameters
from idp.error_pages import too_long
from idp.models import LONG_REQUEST_SECONDS, LongRequest, hash_of
from idp.provider import current_provider
from idp.sign_in.sso_session import cookie_of_browser
from pickup_web.clock import now
from pickup_web.database import add_row, db, relax

PENDING_SECONDS = 3600  # how long the login page may stay open
MAX_REQUEST = 32 * 1024  # bytes of an authorization or logout request
MAX_RETURNED = 8000  # characters that we add to the app's URL: state, and the nonce of an ID token
MAX_IN_URL = 2000  # characters of a request in one of our URLs
MAX_KEPT = 1000  # stored long requests; anyone can send them, so the oldest are deleted


class Received(NamedTuple):
    """The parameters of a new authorization or logout request."""

    parameters: MultiDict[str, str]
    lacks_cookie: bool  # store the request and redirect to it: the redirected request has the cookie


def receive(endpoint: str) -> Received | ResponseReturnValue:
    """Read a new request to ``endpoint``; or the response, if the request is too long or must be sent again.

    A form posted from another site comes without our SameSite=Lax cookie. A redirect to our own address brings it.
    """
    if is_too_long():
        return too_long(MAX_REQUEST)
    lacks_cookie = request.method == "POST" and cookie_of_browser() is None
    if lacks_cookie:
        target = with_parameters(url_for(endpoint), request.form.items(multi=True))
        if len(target) <= MAX_IN_URL:
            return redirect(target, 303)
    return Received(request.form if request.method == "POST" else request.args, lacks_cookie)


@dataclass(frozen=True)
class Pending:
    """The request's parameters, and when it arrived (seconds since the epoch)."""

    parameters: MultiDict[str, str]
    asked_at: int
    person: str | None = None  # the user whom the consent page asked
    denied: bool = False  # whether that user refused

    def signed(self) -> str:
        """The value of a hidden form field."""
        parameters = list(self.parameters.items(multi=True))
        answer = {"person": self.person, "denied": self.denied} if self.person else {}
        return _signer().dumps({"at": self.asked_at, "parameters": parameters, **answer})

    @classmethod
    def read(cls, given: str) -> "Pending | None":
        """The request, from its signed text or its key; None if the signature is wrong or it is too old."""
        try:
            content = _signer().loads(from_url(given), max_age=PENDING_SECONDS)
        except BadSignature:
            return None
        parameters = MultiDict([(name, value) for name, value in content["parameters"]])
        return cls(parameters, content["at"], content.get("person"), content.get("denied", False))

    def resume_url(self) -> str:
        """The URL that continues the request."""
        return url_for("authorize", resume=for_url(self.signed()))


def for_url(signed: str) -> str:
    """``signed``; if it is too long, a key to its stored copy, valid for ``LONG_REQUEST_SECONDS``. May commit."""
    if len(signed) <= MAX_IN_URL:
        return signed
    key = secrets.token_urlsafe(32)
    relax(db.session)
    newest = select(LongRequest.key_hash).order_by(LongRequest.kept_at.desc()).limit(MAX_KEPT - 1)
    is_over = or_(LongRequest.kept_at < now() - LONG_REQUEST_SECONDS, LongRequest.key_hash.not_in(newest))
    db.session.execute(delete(LongRequest).where(is_over).execution_options(synchronize_session=False))
    add_row(db.session, LongRequest, key_hash=hash_of(key), content=signed, kept_at=now())
    db.session.commit()
    return key


def from_url(given: str) -> str:
    """The text that :func:`for_url` was given; empty if it is no longer stored."""
    if "." in given:  # signed text; a key has no dot
        return given
    kept = db.session.get(LongRequest, hash_of(given))
    return kept.content if kept and kept.kept_at >= now() - LONG_REQUEST_SECONDS else ""


def is_too_long() -> bool:
    """Whether the form is longer than ``MAX_REQUEST``. The server itself rejects a URL that long."""
    try:
        return len(request.get_data()) > MAX_REQUEST
    except RequestEntityTooLarge:
        return True


def _signer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(
        current_provider().settings.secret_key.get_secret_value(), salt="authorization-request"
    )
