"""An authorization request that waits while a person signs in or consents.

It travels through the page, signed, together with the time it came in: so two tabs never mix up their
requests, nothing is stored for people who walk away, and nobody can change what was asked.

A redirect of ours carries it in the URL. What is too long for a URL is stored, and the URL has a key to it: servers
and proxies refuse long request lines (414) and long headers of a response (502).
"""

import secrets
from dataclasses import dataclass

from flask import request, url_for
from itsdangerous import BadSignature, URLSafeTimedSerializer
from sqlalchemy import delete, or_, select
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import RequestEntityTooLarge

from idp.models import LONG_REQUEST_SECONDS, LongRequest, hash_of
from idp.provider import current_provider
from pickup_web.clock import now
from pickup_web.database import add_row, db, relax

PENDING_SECONDS = 3600  # how long the login page may stay open
MAX_REQUEST = 32 * 1024  # bytes of an authorization or logout request
MAX_RETURNED = 8000  # characters of what we put into the app's own URL: state, and the nonce of an ID token
MAX_IN_URL = 2000  # characters of a request in a URL of ours
MAX_KEPT = 1000  # long requests; anyone can send them, so the oldest make room


@dataclass(frozen=True)
class Pending:
    """The request's parameters, and when it came in (seconds since the epoch)."""

    parameters: MultiDict[str, str]
    asked_at: int
    person: str | None = None  # whom the consent page asked
    denied: bool = False  # and whether they said no

    def signed(self) -> str:
        """As a hidden field of a form."""
        parameters = list(self.parameters.items(multi=True))
        answer = {"person": self.person, "denied": self.denied} if self.person else {}
        return _signer().dumps({"at": self.asked_at, "parameters": parameters, **answer})

    @classmethod
    def read(cls, given: str) -> "Pending | None":
        """What came back, signed or by its key; None if it is not ours or too old."""
        try:
            content = _signer().loads(from_url(given), max_age=PENDING_SECONDS)
        except BadSignature:
            return None
        parameters = MultiDict([(name, value) for name, value in content["parameters"]])
        return cls(parameters, content["at"], content.get("person"), content.get("denied", False))

    def resume_url(self) -> str:
        """Where the request goes on."""
        return url_for("authorize", resume=for_url(self.signed()))


def for_url(signed: str) -> str:
    """``signed`` itself, or where that is long, a key to it, which is good for ``LONG_REQUEST_SECONDS``. May commit."""
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
    """What :func:`for_url` was given; an empty text if it is not kept any more."""
    if "." in given:  # a signature is behind it
        return given
    kept = db.session.get(LongRequest, hash_of(given))
    return kept.content if kept and kept.kept_at >= now() - LONG_REQUEST_SECONDS else ""


def is_too_long() -> bool:
    """Whether this request's form is longer than ``MAX_REQUEST``. A URL as long does not come through a server."""
    try:
        return len(request.get_data()) > MAX_REQUEST
    except RequestEntityTooLarge:
        return True


def _signer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(
        current_provider().settings.secret_key.get_secret_value(), salt="authorization-request"
    )
