"""People: list, add, disable, remove; roles and passwords."""

import secrets
from collections.abc import Callable

from flask import g, render_template, request, url_for
from flask.typing import ResponseReturnValue

from idp.console.parts import ROWS, Page, ask, done
from idp.console.sessions import is_own, name_of, told
from idp.models import User
from idp.operations import InvalidError, people, sessions
from idp.operations.sessions import SessionView
from idp.outbox.reasons import Reason
from pickup_web.database import db
from pickup_web.forms import Field, Form, is_ticked
from pickup_web.words import many

ROLES = [("user", "user: uses the apps"), ("operator", "operator: uses the apps and this console")]
FIELDS = [
    Field("username", "Username", str, "What they sign in with. It cannot be changed later. For example: robin"),
    Field("name", "Name", str, "As the apps show it. For example: Robin Okoye"),
    Field("email", "Email", str, "For example: robin@pickup.example", kind="email", optional=True),
    Field(
        "email_verified",
        "The email address is verified",
        is_ticked,
        "Tick it if you know that the address is theirs. Some apps refuse people whose address is not verified.",
        kind="checkbox",
    ),
    Field("role", "Role", str, kind="select", choices=ROLES),
]


def show_all() -> str:
    """``GET /console/people?search=``."""
    search, page = request.args.get("search", "").strip(), Page()
    rows, page.total = people.list_people(db.session, search, page.offset, ROWS)
    counts = people.count_sessions(db.session, [person.sub for person in rows])
    return render_template("console/people.html", rows=rows, page=page, search=search, sessions=counts, name_of=name_of)


def add() -> ResponseReturnValue:
    """``GET /console/people/add`` → the form; ``POST`` → the person and a first password, shown only once."""
    form = Form.read(FIELDS, request.form) if request.method == "POST" else Form(FIELDS)
    if request.method != "POST":
        return render_template("console/person_form.html", form=form)
    values, password = form.values, first_password()
    try:
        person = people.add_person(
            db.session,
            values["username"],
            values["name"],
            values["email"],
            password,
            values["role"],
            g.person.username,
            email_verified=values["email_verified"],
        )
    except InvalidError as error:
        form.errors.update(error.fields)
        return render_template("console/person_form.html", form=form), 422
    return render_template("console/new_password.html", person=person, password=password, is_new=True), 201


def show(sub: str) -> str:
    """``GET /console/people/SUB``: the person and their sessions."""
    person, page = people.get_person(db.session, sub), Page()
    rows, page.total = sessions.list_sessions(db.session, sub=sub, offset=page.offset, limit=ROWS)
    return render_template(
        "console/person.html", person=person, name=name_of(person), rows=rows, page=page, is_self=sub == g.person.sub
    )


def sign_out(sub: str) -> ResponseReturnValue:
    """``GET /console/people/SUB/sign-out`` → asks; ``POST`` → ends all their sessions."""
    person = people.get_person(db.session, sub)
    views, total = sessions.list_sessions(db.session, sub=sub, limit=ROWS)
    if request.method != "POST":
        return render_template(
            "console/end_sessions.html",
            title=f"Log {name_of(person)} out everywhere?",
            views=views,
            total=total,
            button=f"End {many(total, 'session')}",
            keep=url_for("console.person", sub=sub),
            own=any(is_own(view.session.sid) for view in views),
        )
    name = name_of(person)
    sessions.end_all_of(db.session, sub, Reason.OPERATOR, g.person.username)
    sentence = f"Logged {name} out:{ended_in_words(views, total)}" if views else f"{name} had no active session."
    return done(sentence, "console.person", sub=sub)


def reset_password(sub: str) -> ResponseReturnValue:
    """``GET /console/people/SUB/password`` → asks; ``POST`` → a new password, shown only once."""
    person = people.get_person(db.session, sub)
    if request.method == "POST":
        alive = sessions.list_sessions(db.session, sub=sub, limit=ROWS)
        password = people.reset_password(db.session, sub, g.person.username)
        return render_template(
            "console/new_password.html", person=person, password=password, what_ended=ended_in_words(*alive)
        )
    text = f"The old password stops working, and {sessions_in_words(sub)}. The new one is shown to you once."
    return ask_about(person, "Reset the password of {}?", text, "Make a new password")


def disable(sub: str) -> ResponseReturnValue:
    """``GET /console/people/SUB/disable`` → asks; ``POST`` → disables and logs out."""
    text = (
        f"This person cannot sign in until an operator enables it; {sessions_in_words(sub)}. All "
        "tokens are revoked, offline access too."
    )
    return change(sub, "Disable {}?", text, "Disable", people.disable_person, "Disabled {}.")


def enable(sub: str) -> ResponseReturnValue:
    """``GET /console/people/SUB/enable`` → asks; ``POST`` → enables."""
    text = "They may sign in again with their old password. Ended sessions stay ended."
    return change(sub, "Enable {}?", text, "Enable", people.enable_person, "Enabled {}.")


def remove(sub: str) -> ResponseReturnValue:
    """``GET /console/people/SUB/remove`` → asks; ``POST`` → deletes their data."""
    text = (
        f"Their data here is deleted, and {sessions_in_words(sub)}. Data in the apps is not deleted. "
        "This cannot be undone."
    )
    return change(sub, "Remove {}?", text, "Remove", people.remove_person, "Removed {}.", "console.people")


def change_role(sub: str) -> ResponseReturnValue:
    """``GET /console/people/SUB/role`` → asks; ``POST`` → switches between user and operator."""
    role = "user" if people.get_person(db.session, sub).role == "operator" else "operator"
    texts = {
        "operator": "They may then see and do everything that you can here, including logging everyone out.",
        "user": "They can then no longer open this console.",
    }

    def set_role(session: object, sub: str, by: str) -> None:  # noqa: ARG001 # same signature as the other operations
        people.set_role(db.session, sub, role, by)

    return change(
        sub,
        f"Make {{}} {article(role)}?",
        texts[role],
        f"Make {article(role)}",
        set_role,
        f"{{}} is now {article(role)}.",
    )


# --- helpers ---


def first_password() -> str:
    """80 bits, easy to read aloud."""
    return "-".join(secrets.token_hex(2) for _ in range(5))


def change(
    sub: str,
    question: str,
    text: str,
    button: str,
    operation: Callable[..., None],
    sentence: str,
    following: str = "console.person",
) -> ResponseReturnValue:
    """GET asks, POST does it. ``{}`` in the texts stands for the person's name."""
    person = people.get_person(db.session, sub)
    if request.method != "POST":
        return ask_about(person, question, text, button)
    name, alive = name_of(person), sessions.list_sessions(db.session, sub=sub, limit=ROWS)
    operation(db.session, sub, g.person.username)
    back = {"sub": sub} if following == "console.person" else {}
    return done(sentence.format(name) + ended_in_words(*alive), following, **back)


def ask_about(person: User, question: str, text: str, button: str) -> str:
    """The page that asks, with the person's name in the question."""
    return ask(question.format(name_of(person)), text, button, url_for("console.person", sub=person.sub))


def sessions_in_words(sub: str) -> str:
    """What will happen to their sessions, in words."""
    alive = people.count_sessions(db.session, [sub]).get(sub, 0)
    if not alive:
        return "no session ends"
    return f"{many(alive, 'session')} {'ends' if alive == 1 else 'end'} in all apps"


def ended_in_words(views: list[SessionView], total: int) -> str:
    """Which of these sessions have ended, in words; empty if none has."""
    ended = [view for view in views if view.session.ended_at is not None]
    if not ended:
        return ""
    if total > len(views):
        return f" {many(total, 'session')} ended; their apps are being notified."
    now_told = told([sessions.get_session(db.session, view.session.sid) for view in ended])
    return f" {many(total, 'session')} ended. {now_told}"


def article(role: str) -> str:
    """The role with its article."""
    return f"{'an' if role == 'operator' else 'a'} {role}"
