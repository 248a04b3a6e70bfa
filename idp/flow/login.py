"""[4] The login page: the user enters the password once, which starts the session that all apps share.

BCL §2.1: ``sid`` identifies this session in ID tokens and logout tokens. sign_in/sso_session.py creates it.
"""

import functools
import secrets

import structlog
from flask import Response, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import select

from idp.authorization.pending import Pending
from idp.clients.registry import known_client
from idp.error_pages import too_late
from idp.flow import session_ending
from idp.models import Client, User
from idp.outbox.reasons import Reason
from idp.own_pages import is_own_page
from idp.provider import current_provider
from idp.sign_in import passwords
from idp.sign_in import throttle as failed_logins
from idp.sign_in.sso_session import current_sso_session, set_cookie, start_session
from pickup_web import events
from pickup_web.database import db
from pickup_web.security import content_security_policy

LOG = structlog.get_logger()


def ask_for_password(pending: Pending, client: Client, hinted_name: str = "") -> Response:
    """The login page for an app. Its form contains the signed authorization request."""
    return login_page({"request": pending.signed()}, client, username=hinted_name)


def ask_for_own_page() -> ResponseReturnValue:
    """``GET /login?next=``: the login page for the account pages and the console."""
    following = request.args.get("next", "")
    return login_page({"next": following}) if is_own_page(following) else redirect(url_for("home"))


def sign_in() -> ResponseReturnValue:
    """``POST /login``: check the password, then continue to our own page or with the pending request."""
    if is_own_page(request.form.get("next", "")):
        waiting, client, pending = {"next": request.form["next"]}, None, None
    else:
        waiting = {"request": request.form.get("request", "")}
        pending = Pending.read(waiting["request"])
        client = known_client(pending.parameters.get("client_id", "")) if pending else None
        if pending is None or client is None:
            return too_late()
    username = request.form.get("username", "")
    key = failed_logins.key_of(username)
    try:
        # Reserve a hashing place first: a sign-in refused for lack of one must not count as a wrong password.
        with passwords.pool.place():
            if seconds := failed_logins.reserve_attempt(db.session, key):
                return too_many(waiting, client, username, seconds)
            user = authenticate(username, request.form.get("password", ""))
    except passwords.TooManyAtOnce:
        return too_many_at_once(waiting, client, username)
    cookie = None
    if user:
        # Copy both values now. Ending another user's session commits, after which SQLAlchemy reloads the row, and the
        # password may have changed.
        sub, verified_hash = user.sub, user.password_hash
        end_session_of_another(sub)
        cookie = start_session(sub, verified_hash)  # None if the password has changed since it was checked
    if cookie is None:
        events.record(db.session, "op.login.failed", client_id=client and client.client_id)
        db.session.commit()
        wrong = "Wrong username or password."
        return login_page(waiting, client, username=username, error=wrong)
    failed_logins.forget(db.session, key)
    db.session.commit()
    # RFC 9700 §4.12: 303, because a browser that follows 307 would post the password again.
    response = redirect(pending.resume_url() if pending else waiting["next"], 303)
    set_cookie(response, cookie)
    failed_logins.remember(response, username)
    return response


def end_session_of_another(sub: str) -> None:
    """End this browser's session if it is a different user's; its apps are notified (BCL §2.3)."""
    session, provider = current_sso_session(), current_provider()
    if session and session.sub != sub:
        policy = provider.settings.delete_tokens_on_logout
        provider.outbox.send(session_ending.end_session(db.session, session.sid, Reason.REPLACED, policy))


def too_many(waiting: dict[str, str], client: Client | None, username: str, seconds: int) -> Response:
    """After many wrong passwords, the next one is not checked until the wait is over."""
    response = login_page(waiting, client, username=username, error=failed_logins.sentence(seconds))
    response.status_code, response.headers["Retry-After"] = 429, str(seconds)  # RFC 6585 §4
    LOG.info("op.login.throttled", client_id=client and client.client_id)
    return response


def too_many_at_once(waiting: dict[str, str], client: Client | None, username: str) -> Response:
    """The same form again, to be sent in a few seconds."""
    sentence = "Too many passwords are being checked at this moment. Try again in a few seconds."
    response = login_page(waiting, client, username=username, error=sentence)
    response.status_code, response.headers["Retry-After"] = 503, str(passwords.RETRY_AFTER)  # RFC 9110 §15.6.4
    return response


def login_page(
    waiting: dict[str, str], client: Client | None = None, *, username: str = "", error: str | None = None
) -> Response:
    """The login page. ``error`` never tells whether the name or the password is wrong. ``waiting``: hidden fields."""
    body = render_template("idp/login.html", client=client, username=username, error=error, waiting=waiting)
    response = make_response(body, 401 if error else 200)
    if client:
        # Browsers also apply form-action to the redirects that follow the form, and these lead to the client.
        logo = client.registered.get("logo_uri")
        policy = content_security_policy(client.redirect_uris, [logo] if logo else [])
        response.headers["Content-Security-Policy"] = policy
    return response


def authenticate(username: str, password: str) -> User | None:
    """The user, if the password is right; else None. Takes equally long for an unknown name.

    Raises :class:`passwords.TooManyAtOnce`.
    """
    name = username.strip().lower()
    # Usernames are printable; some databases reject queries with other characters.
    user = db.session.scalar(select(User).where(User.username == name)) if name.isprintable() else None
    is_right = passwords.is_password(user.password_hash if user else _hash_for_unknown_name(), password)
    return user if is_right and user and user.disabled_at is None else None


@functools.cache
def _hash_for_unknown_name() -> str:
    return passwords.hash_password(secrets.token_hex())
