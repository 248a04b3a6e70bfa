"""The page after a logout: what has ended, and which apps have not confirmed it (BCL §2.8).

An app that the user returns to does not know which apps the IdP could not notify, so it may link to this
page. A signed cookie names the session that this browser ended last.
"""

from collections.abc import Sequence
from typing import NamedTuple

from flask import Response, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from itsdangerous import BadSignature, URLSafeTimedSerializer
from sqlalchemy import ColumnElement, select

from idp.frontchannel import Frame, allow
from idp.models import Client, Delivery
from idp.provider import current_provider
from idp.sign_in.sso_session import current_sso_session
from pickup_web.database import db

COOKIE = "pickup_idp_ended"
SHOWN_SECONDS = 3600  # how long after a logout this browser can open the page


class Unconfirmed(NamedTuple):
    """Names of the apps in which an ended session may still be open."""

    waiting: list[str]  # the IdP tries again
    failed: list[str]  # it does not: the app refused, was never reached, or has no back-channel logout URI

    def sentences(self, most: int | None = None) -> list[str]:
        """For the user: one sentence for each kind. ``most``: how many names to list at most."""
        found = []
        if self.waiting:
            names = _listed(self.waiting, most)
            found.append(f"Not notified yet: {names}. We keep trying. Until then, the session may still be open there.")
        if self.failed:
            names = _listed(self.failed, most)
            found.append(f"Logout not confirmed: {names}. The session may still be open there. Log out there, too.")
        return found


def unconfirmed(which: ColumnElement[bool]) -> Unconfirmed:
    """The apps of these deliveries that have not confirmed the logout."""
    query = select(Client.name, Delivery.state).join(Delivery, Delivery.client_id == Client.client_id)
    rows = db.session.execute(query.where(which, Delivery.state != "delivered").distinct().order_by(Client.name)).all()
    waiting = [name for name, state in rows if state == "pending"]
    return Unconfirmed(waiting, [name for name, state in rows if state != "pending" and name not in waiting])


def confirmed(sid: str | None) -> list[str]:
    """Names of the apps that confirmed the end of this session."""
    query = select(Client.name).join(Delivery, Delivery.client_id == Client.client_id).distinct().order_by(Client.name)
    return list(db.session.scalars(query.where(Delivery.sid == sid, Delivery.state == "delivered")))


def page(missing: Unconfirmed, ended: int = 1, *, sid: str | None = None, frames: Sequence[Frame] = ()) -> Response:
    """The page. ``ended``: how many sessions were ended; ``sid``: the one whose messages it links to."""
    response = make_response(
        render_template(
            "idp/logged_out.html",
            apps=all_apps(),
            confirmed=confirmed(sid),
            unconfirmed=missing.sentences(),
            ended=ended,
            sid=sid,
            frames=frames,
        )
    )
    response.headers["Cache-Control"] = "no-store"
    return allow(response, frames)


def nothing_ended() -> Response:
    """The hint's session is active, but the request has no cookie: some proxies send a hint from server to server.

    ID tokens get into logs and browser histories, so a hint alone ends no session. The page must not say "logged out".
    """
    response = make_response(render_template("idp/nothing_ended.html"))
    response.headers["Cache-Control"] = "no-store"
    return response


def show() -> ResponseReturnValue:
    """``GET /oidc/logged-out``: the current result of this browser's last logout."""
    try:
        sid = _signer().loads(request.cookies.get(COOKIE, ""), max_age=SHOWN_SECONDS)
    except BadSignature:
        sid = None
    if sid is None or current_sso_session() is not None:  # the user has signed in again since
        return redirect(url_for("home"), 303)
    return page(unconfirmed(Delivery.sid == sid), sid=sid)


def all_apps() -> list[dict[str, str]]:
    """The apps a person can go to."""
    has_home = select(Client).where(Client.home_url.is_not(None), Client.removed_at.is_(None))
    clients = db.session.scalars(has_home.order_by(Client.name))
    return [{"name": client.name, "url": client.home_url or ""} for client in clients]


def remember(response: Response, sid: str) -> None:
    """Let this browser open the page again. The cookie gives no access, because the session has ended."""
    secure = current_provider().issuer.startswith("https://")
    response.set_cookie(
        COOKIE,
        _signer().dumps(sid),
        max_age=SHOWN_SECONDS,
        path=url_for("logged_out"),
        httponly=True,
        secure=secure,
        samesite="Lax",
    )


def _listed(names: list[str], most: int | None) -> str:
    more = f" and {len(names) - most} more" if most and len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def _signer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(current_provider().settings.secret_key.get_secret_value(), salt="ended-session")
