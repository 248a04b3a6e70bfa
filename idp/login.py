"""[1] A password, once, makes the session that all apps share."""

import functools
import secrets

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from flask import Response, make_response, redirect, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy import select

from idp.errors import too_late
from idp.models import Client, User
from idp.pending import Pending
from idp.sso_session import set_cookie, start_session
from pickup_web import events
from pickup_web.database import db
from pickup_web.security import content_security_policy

MAX_PASSWORD = 1024  # characters; hashing more is work for an attacker's amusement

hasher = PasswordHasher()  # Argon2id with the parameters of RFC 9106's second recommendation


def ask_for_password(pending: Pending, client: Client, hinted_name: str = "") -> Response:
    """The login page; its form carries the authorization request along, signed."""
    return login_page(pending.signed(), client, username=hinted_name)


def sign_in() -> ResponseReturnValue:
    """``POST /login``: check the password, then back to where the authorization request waits."""
    signed = request.form.get("request", "")
    pending = Pending.read(signed)
    client = db.session.get(Client, pending.parameters.get("client_id", "")) if pending else None
    if pending is None or client is None:
        return too_late()
    username = request.form.get("username", "")
    user = authenticate(username, request.form.get("password", ""))
    if user is None:
        events.record(db.session, "op.login.failed", client_id=client.client_id)
        db.session.commit()
        wrong = "That username and password do not belong together."
        return login_page(signed, client, username=username, error=wrong)
    response = redirect(pending.resume_url(), 303)
    set_cookie(response, start_session(user))
    return response


def login_page(signed: str, client: Client, *, username: str, error: str | None = None) -> Response:
    """The page itself. It says no more than that the two do not belong together."""
    body = render_template("idp/login.html", client=client, username=username, error=error, request_token=signed)
    response = make_response(body, 401 if error else 200)
    # The browser applies form-action to the redirects after the form, too, and they lead to the client.
    logo = client.registered.get("logo_uri")
    policy = content_security_policy(client.redirect_uris, [logo] if logo else [])
    response.headers["Content-Security-Policy"] = policy
    return response


def authenticate(username: str, password: str) -> User | None:
    """The person, if the password is theirs. Takes as long for a name that nobody has."""
    name = username.strip().lower()
    # What cannot be printed is nobody's name, and not every database can be asked for it.
    user = db.session.scalar(select(User).where(User.username == name)) if name.isprintable() else None
    try:
        hasher.verify(user.password_hash if user else _nobodys_hash(), password[:MAX_PASSWORD])
    except (Argon2Error, InvalidHashError):
        return None
    return user if user and user.disabled_at is None else None


@functools.cache
def _nobodys_hash() -> str:
    return hasher.hash(secrets.token_hex())
