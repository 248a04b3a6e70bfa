"""``/account``: the user's own sessions and password. Ending a session asks first, on a separate page."""

from flask import Blueprint, Response, abort, flash, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import select

from idp.frontchannel import frames_of
from idp.logged_out import Unconfirmed, unconfirmed
from idp.logged_out import page as logged_out_page
from idp.models import Delivery, SsoSession
from idp.operations import InvalidError, NotFoundError, people, sessions
from idp.operations.sessions import SessionView
from idp.outbox.reasons import Reason
from idp.own_pages import guard, require_person
from idp.sign_in import passwords
from idp.sign_in import throttle as failed_logins
from idp.sign_in.sso_session import delete_cookie
from pickup_web.clock import now
from pickup_web.database import db

PAGE = 50  # sessions on a page
NAMED = 10  # apps in a message; it is stored in a cookie, which browsers limit to 4 kB
MAX_SKIP = 10_000

blueprint = Blueprint("account", __name__, url_prefix="/account")
guard(blueprint, require_person)


@blueprint.get("")
def show() -> str:
    """The user's sessions: this browser's first, then the others, last used first."""
    skip = min(max(0, request.args.get("skip", 0, type=int)), MAX_SKIP)
    found, total = sessions.list_sessions(db.session, sub=g.person.sub, offset=skip, limit=PAGE)
    found.sort(key=lambda view: view.session.sid != g.sso_session.sid)
    return render_template("account/show.html", views=found, total=total, skip=skip, page=PAGE)


@blueprint.route("/sessions/<sid>/end", methods=["GET", "POST"])
def end_one(sid: str) -> ResponseReturnValue:
    """End one of the user's sessions, perhaps this browser's."""
    try:
        view = sessions.get_session(db.session, sid)
    except NotFoundError:
        abort(404)
    if view.session.sub != g.person.sub:  # do not reveal that another user's session exists
        abort(404)
    here, device, started = sid == g.sso_session.sid, view.device, now()
    if request.method != "POST" and view.session.ended_at is None:
        return ask([view], here=here, device=device)
    try:  # it may have ended since the page was shown
        sessions.end_one(db.session, sid, Reason.LOGOUT if here else Reason.ELSEWHERE, g.person.username)
    except NotFoundError:
        flash("That session has already ended.", "warn")
        return redirect(url_for(".show"), 303)
    return logged_out(started) if here else say(f"The session of {device} has ended.", started)


@blueprint.route("/end-others", methods=["GET", "POST"])
def end_others() -> ResponseReturnValue:
    """End all sessions except this browser's."""
    keep, started = g.sso_session.sid, now()
    if request.method != "POST":
        return ask(sessions.dry_run_all_of(db.session, g.person.sub, keep_sid=keep))
    ended = sessions.end_all_of(db.session, g.person.sub, Reason.ELSEWHERE, g.person.username, keep_sid=keep)
    return say(f"{in_words(ended)} ended. Only this browser is signed in.", started)


@blueprint.route("/log-out-everywhere", methods=["GET", "POST"])
def end_all() -> ResponseReturnValue:
    """End all sessions, this browser's too."""
    started = now()
    if request.method != "POST":
        return ask(sessions.dry_run_all_of(db.session, g.person.sub), here=True)
    ended = sessions.end_all_of(db.session, g.person.sub, Reason.EVERYWHERE, g.person.username)
    return logged_out(started, ended)


@blueprint.route("/password", methods=["GET", "POST"])
def password() -> ResponseReturnValue:
    """Change the password and end the other sessions."""
    errors: dict[str, str] = {}
    if request.method == "POST":
        started = now()
        try:
            return say(f"Your password is changed. {in_words(change_password())} ended.", started)
        except InvalidError as error:
            errors = error.fields
    least, most = people.MIN_PASSWORD, passwords.MAX_PASSWORD
    page = render_template("account/password.html", errors=errors, least=least, most=most)
    return page, 422 if errors else 200


def change_password() -> int:
    """Returns how many other sessions ended. Throttled, to prevent guessing the old password."""
    key = failed_logins.key_of_account(g.person.username)
    old, new, again = (request.form.get(name, "") for name in ("old", "new", "again"))
    if new != again:
        raise InvalidError({"again": "This is not the same as the new password above."})
    with passwords.pool.place():  # one place for both hashes, taken before the attempt is counted
        if seconds := failed_logins.reserve_attempt(db.session, key):
            raise InvalidError({"old": failed_logins.sentence(seconds)})
        try:
            ended = people.change_own_password(db.session, g.person, old, new, g.sso_session.sid)
        except InvalidError as error:
            if "old" not in error.fields:  # the old password was correct
                failed_logins.forget(db.session, key)
                db.session.commit()
            raise
    failed_logins.forget(db.session, key)
    db.session.commit()
    return ended


def ask(views: list[SessionView], *, here: bool = False, device: str = "") -> str:
    """The page that asks first. ``here``: this browser's session ends too; ``device``: only this one ends."""
    apps = {app.client.name: app.why_not for view in views for app in view.apps}
    told = sorted(name for name, why_not in apps.items() if not why_not)
    not_told = sorted((name, why_not) for name, why_not in apps.items() if why_not)
    return render_template("account/end.html", count=len(views), here=here, device=device, told=told, not_told=not_told)


def say(sentence: str, since: int) -> ResponseReturnValue:
    """Redirect to the account page, which says what happened."""
    flash(sentence)
    for warning in unconfirmed_since(since).sentences(most=NAMED):
        flash(warning, "warn")
    return redirect(url_for(".show"), 303)


def logged_out(since: int, ended: int = 1) -> Response:
    """The "logged out" page, because this browser's session ended."""
    frames = frames_of(g.sso_session.sid)  # a browser can load frames only for its own session
    response = logged_out_page(unconfirmed_since(since), ended, sid=g.sso_session.sid, frames=frames)
    delete_cookie(response)
    return response


def unconfirmed_since(since: int) -> Unconfirmed:
    """The apps that have not confirmed the sessions that this user has just ended."""
    mine = select(SsoSession.sid).where(SsoSession.sub == g.person.sub, SsoSession.ended_at >= since)
    return unconfirmed(Delivery.sid.in_(mine))


def in_words(sessions_ended: int) -> str:
    """How many sessions, in words."""
    numbers = {0: "No other session has", 1: "One other session has"}
    return numbers.get(sessions_ended, f"{sessions_ended} other sessions have")
