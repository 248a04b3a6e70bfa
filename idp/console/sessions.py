"""Sessions: list, show, end."""

from flask import g, render_template, request, url_for
from flask.typing import ResponseReturnValue

from idp.console.parts import ROWS, Page, done
from idp.models import User
from idp.operations import NotFoundError, sessions
from idp.operations.sessions import SessionView
from idp.outbox.reasons import Reason
from pickup_web.database import db
from pickup_web.words import many


def show_all() -> str:
    """``GET /console/sessions?search=&all=``: the active sessions, or all, last used first."""
    search, page, with_ended = request.args.get("search", "").strip(), Page(), "all" in request.args
    rows, page.total = sessions.list_sessions(
        db.session, search=search, alive_only=not with_ended, offset=page.offset, limit=ROWS
    )
    return render_template("console/sessions.html", rows=rows, page=page, search=search, with_ended=with_ended)


def show(sid: str) -> str:
    """``GET /console/sessions/SID``."""
    return render_template("console/session.html", view=sessions.get_session(db.session, sid), own=is_own(sid))


def end(sid: str) -> ResponseReturnValue:
    """``GET /console/sessions/SID/end`` → shows what it would do; ``POST`` → ends it."""
    if request.method != "POST":
        views = sessions.dry_run(db.session, [sid])
        if not views:
            raise NotFoundError("There is no such session, or it has ended already.")
        keep = url_for("console.session", sid=sid)
        return render_template(
            "console/end_sessions.html",
            title="End this session?",
            views=views,
            button="End the session",
            keep=keep,
            own=is_own(sid),
        )
    sessions.end_one(db.session, sid, Reason.OPERATOR, g.person.username)
    view = sessions.get_session(db.session, sid)
    return done(f"Ended the session of {name_of(view.user)}. {told([view])}", "console.session", sid=sid)


def is_own(sid: str) -> bool:
    """Whether it is the operator's current session."""
    return bool(g.sso_session.sid == sid)


def name_of(person: User) -> str:
    """The person's name, or else their username."""
    return str(person.claims.get("name") or person.username)


def told(views: list[SessionView]) -> str:
    """A sentence about which apps were notified."""
    states = [app.delivery.state for view in views for app in view.apps if app.delivery]
    heard, waiting = states.count("delivered"), states.count("pending")
    failed, silent = states.count("refused") + states.count("given_up"), states.count("not_sent")
    parts = [
        f"{many(heard, 'app')} {'was' if heard == 1 else 'were'} notified" if heard else "",
        f"{many(waiting, 'app')} did not answer yet and will be tried again" if waiting else "",
        f"{many(failed, 'app')} refused" if failed else "",
        f"{many(silent, 'app')} {'is' if silent == 1 else 'are'} not notified" if silent else "",
    ]
    return ("; ".join(filter(None, parts)) or "No app had to be notified") + "."
