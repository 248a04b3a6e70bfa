"""[1] A password, once, makes the session that all apps share."""

import functools
import secrets
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from flask import Response, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from itsdangerous import BadSignature, URLSafeTimedSerializer
from sqlalchemy import select
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response as BaseResponse

from idp import session_ending
from idp.errors import error_page
from idp.models import Client, SsoSession, User, hash_of
from idp.session_ending import IDLE_SECONDS, Reason
from idp.state import current_state
from pickup_web import events
from pickup_web.clock import now
from pickup_web.database import db
from pickup_web.security import content_security_policy, origin_of

COOKIE = "pickup_idp_session"
ABSOLUTE_SECONDS = 10 * 3600  # a session ends after a working day, used or not
REQUEST_SECONDS = 3600  # how long the login page may stay open
TOUCH_SECONDS = 60  # how exactly we know when a session was last used; saves a write a request
MAX_PASSWORD = 1024  # characters; hashing more is work for an attacker's amusement

hasher = PasswordHasher()  # Argon2id with the parameters of RFC 9106's second recommendation


def current_sso_session() -> SsoSession | None:
    """The session of this browser's cookie, while it lives."""
    cookie = request.cookies.get(COOKIE)
    if not cookie:
        return None
    session = db.session.scalar(
        select(SsoSession)
        .join(User)
        .where(
            SsoSession.cookie_hash == hash_of(cookie),
            SsoSession.ended_at.is_(None),
            User.disabled_at.is_(None),
        )
    )
    if session is None or session.expires_at <= now() or session.last_seen_at + IDLE_SECONDS <= now():
        return None
    if session.last_seen_at < now() - TOUCH_SECONDS:
        session.last_seen_at = now()
        db.session.commit()
    return session


def ask_for_password(parameters: MultiDict[str, str], asked_at: int, client: Client) -> Response:
    """The login page; its form carries the authorization request along, signed."""
    pending = _signer().dumps(
        {"at": asked_at, "client_id": client.client_id, "parameters": list(parameters.items(multi=True))}
    )
    return login_page(pending, client, username=parameters.get("login_hint", ""))


def pending_request(signed: str) -> dict[str, Any] | None:
    """The authorization request that waits for a login; None if it is not ours or too old."""
    try:
        pending: dict[str, Any] = _signer().loads(signed, max_age=REQUEST_SECONDS)
    except BadSignature:
        return None
    return pending


def sign_in() -> ResponseReturnValue:
    """``POST /login``: check the password, then back to where the authorization request waits."""
    signed = request.form.get("request", "")
    pending = pending_request(signed)
    client = db.session.get(Client, pending["client_id"]) if pending else None
    if client is None:
        return error_page(
            title="This page was open for too long",
            text="Please go back to the app you came from and sign in from there.",
        )
    username = request.form.get("username", "")
    user = authenticate(username, request.form.get("password", ""))
    if user is None:
        events.record(db.session, "op.login.failed", client_id=client.client_id)
        db.session.commit()
        wrong = "That username and password do not belong together."
        return login_page(signed, client, username=username, error=wrong)
    response = redirect(url_for("authorize", resume=signed), 303)
    set_cookie(response, start_session(user))
    return response


def login_page(signed: str, client: Client, *, username: str, error: str | None = None) -> Response:
    """The page itself. It says no more than that the two do not belong together."""
    body = render_template(
        "idp/login.html", client_name=client.name, username=username, error=error, request_token=signed
    )
    response = make_response(body, 401 if error else 200)
    # The browser applies form-action to the redirects after the form, too, and they lead to the client.
    origins = sorted({origin_of(uri) for uri in client.redirect_uris})
    response.headers["Content-Security-Policy"] = content_security_policy(origins)
    return response


def authenticate(username: str, password: str) -> User | None:
    """The person, if the password is theirs. Takes as long for a name that nobody has."""
    user = db.session.scalar(select(User).where(User.username == username.strip().lower()))
    try:
        hasher.verify(user.password_hash if user else _nobodys_hash(), password[:MAX_PASSWORD])
    except (Argon2Error, InvalidHashError):
        return None
    return user if user and user.disabled_at is None else None


def start_session(user: User) -> str:
    """The browser's session after a password; returns its new cookie.

    The same person keeps the session and its ``sid``; for another person the old one ends first (BCL-06).
    """
    cookie = secrets.token_urlsafe(32)
    session = current_sso_session()
    if session and session.sub != user.sub:
        policy = current_state().settings.delete_tokens_on_logout
        current_state().outbox.send(session_ending.end_session(db.session, session.sid, Reason.REPLACED, policy))
        session = None
    if session:
        session.cookie_hash, session.auth_time, session.last_seen_at = hash_of(cookie), now(), now()
        events.record(db.session, "op.session.reauthenticated", sid=session.sid)
    else:
        sid = secrets.token_urlsafe(24)  # randomness of its own: it goes into tokens, the cookie never does
        db.session.add(
            SsoSession(
                sid=sid,
                cookie_hash=hash_of(cookie),
                sub=user.sub,
                auth_time=now(),
                amr=["pwd"],  # RFC 8176 §2
                created_at=now(),
                last_seen_at=now(),
                expires_at=now() + ABSOLUTE_SECONDS,
                user_agent=request.user_agent.string[:255],
            )
        )
        events.record(db.session, "op.session.created", sid=sid)
    db.session.commit()
    return cookie


def set_cookie(response: BaseResponse, cookie: str) -> None:
    """SameSite=Lax: an app's redirect to us brings it, another site's form does not."""
    secure = current_state().issuer.startswith("https://")
    response.set_cookie(COOKIE, cookie, httponly=True, secure=secure, samesite="Lax")


def _signer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(current_state().settings.secret_key.get_secret_value(), salt="authorization-request")


@functools.cache
def _nobodys_hash() -> str:
    return hasher.hash(secrets.token_hex())
