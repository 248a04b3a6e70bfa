"""The pages of the tutorial and of the labs, and what their checks ask the record."""

from collections.abc import Mapping
from typing import Any

from flask import (
    Response,
    abort,
    current_app,
    flash,
    g,
    jsonify,
    redirect,
    render_template,
    request,
    send_from_directory,
    url_for,
)
from flask.typing import ResponseReturnValue
from markupsafe import Markup

from pickup_learn import practice, sources, tutorial
from pickup_learn.acts import OUTSIDE, in_order
from pickup_learn.collector import now_ms
from pickup_learn.current import current_record, current_seats
from pickup_learn.labs import CHECKS, FAULTS
from pickup_learn.seats import NOBODY, Seat, counted
from pickup_learn.steps import Verdict
from pickup_learn.verdicts import verdicts_on

MAX_SINCE = 2**53  # milliseconds; a larger number fits in no database
MESSAGES = 2_000  # the newest ones that a step looks at


def overview() -> str:
    """``GET /tutorial``: the chapters, with the learner's ticks."""
    return render_template("tutorial.html", chapters=tutorial.chapters(), now=now_ms())


def chapter(name: str) -> str:
    """``GET /tutorial/NAME``: a chapter, or a page without steps."""
    chapters = tutorial.chapters()
    for number, found in enumerate(chapters):
        if found.name == name:
            following = chapters[number + 1] if number + 1 < len(chapters) else None
            return render_template("chapter.html", chapter=found, following=following, html=html, now=now_ms())
    text = tutorial.pages().get(name)
    if text is None:
        abort(404)
    title = text.partition("\n")[0].removeprefix("# ")
    return render_template("page.html", title=title, text=html(text))


def labs() -> str:
    """``GET /labs``: the labs by kind, with the learner's ticks."""
    found = [tutorial.labs()[name] for name in CHECKS]
    kinds = {words: [lab for lab in found if lab.kind == kind] for kind, words in tutorial.KINDS.items()}
    return render_template("labs.html", kinds=kinds, now=now_ms())


def lab(name: str) -> str:
    """``GET /labs/NAME``: one lab."""
    if name not in CHECKS:
        abort(404)
    names = list(CHECKS)
    following = tutorial.labs().get(next(iter(names[names.index(name) + 1 :]), ""))
    return render_template(
        "lab.html",
        lab=tutorial.labs()[name],
        kinds=tutorial.KINDS,
        has_fault=name in FAULTS,
        person=practice.person(),
        following=following,
        html=html,
        now=now_ms(),
    )


def start(name: str) -> ResponseReturnValue:
    """``POST /labs/NAME/start``: set the fault of this lab at the Practice of the signed-in person, and no other."""
    if name not in FAULTS:
        abort(404)
    if practice.begin_lab(name, FAULTS[name]):
        flash("The lab has started. Something is now wrong with your Practice.")
    return redirect(url_for("lab", name=name), 303)


def reset(name: str) -> ResponseReturnValue:
    """``POST /labs/NAME/reset``: the right settings again."""
    if name not in FAULTS:
        abort(404)
    if practice.restore():
        flash("All settings of your Practice are right again.")
    return redirect(url_for("lab", name=name), 303)


def verdicts() -> Response:
    """``GET /api/steps?since=MS&person=NAME`` → for each step and lab whether it was seen, the answer, the messages."""
    since, person = request.args.get("since", 0, type=int), request.args.get("person", "")
    if seat := current_seats().of(person):
        return verdicts_of_seat(seat, since)
    messages = current_record().newest(MESSAGES, max(0, min(since, MAX_SINCE)))
    people = sorted({one["act"]["person"] for one in messages if one["act"]["person"]})
    mine = [
        one
        for one in sorted(messages, key=lambda message: int(message["at"]))
        if one["at"] >= since and (not person or one["act"]["person"] in (person, None))
    ]
    return jsonify(steps=in_json(verdicts_on(mine, practice.runs())), people=people, since=0)


def verdicts_of_seat(seat: Seat, since: int) -> Response:
    """The same for a seat of a class: only its own messages, and those from outside, whose sender has no name."""
    record = current_record()
    outside = [one for one in record.messages_of(NOBODY) if one["from"] == OUTSIDE]
    messages = in_order([*record.messages_of(seat.name), *outside])
    steps = in_json(verdicts_on(counted(messages, max(since, seat.since), seat.old_sids), practice.runs()))
    return jsonify(steps=steps, people=[seat.name], since=seat.since)


def in_json(verdicts: Mapping[str, Verdict]) -> dict[str, dict[str, Any]]:
    return {name: verdict._asdict() for name, verdict in verdicts.items()}


def source(path: str) -> str:
    """``GET /tutorial/source/PATH``: a file of this repository, with line numbers."""
    try:
        text = sources.read(path)
    except (OSError, ValueError):  # no such file, a folder, or a name that no file can have
        abort(404)
    names = {lines.first: name for name, lines in sources.names_in(path).items()}
    return render_template("source.html", path=path, lines=text.splitlines(), names=names)


def picture(name: str) -> Response:
    """``GET /tutorial/images/NAME``: a picture that the e2e suite took."""
    return send_from_directory(tutorial.FOLDER / "images", name)


def html(text: str, *, links: bool = True) -> Markup:
    """Markdown with this stack's addresses, and with links to the glossary that the page does not have yet."""
    linked = g.setdefault("linked_terms", set()) if links else None
    addresses: dict[str, Any] = current_app.jinja_env.globals["addresses"]  # type: ignore[assignment] # Jinja: Any
    defaults = {
        "http://dispatch.localhost:8080/pickup-dispatch": addresses["dispatch"],
        "http://manager.localhost:8081/pickup-manager": addresses["manager"],
        "http://idp.localhost:9000": addresses["idp"],
        "http://learn.localhost:8082": addresses["learn"],
    }
    return tutorial.html(text, defaults, url_for("source", path="PATH").removesuffix("PATH"), linked)
