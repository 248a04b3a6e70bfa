"""The pages of Practice: its start page, what an open tab asks, and the settings of the signed-in person."""

import json
from typing import Any

from flask import Response, abort, current_app, flash, jsonify, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from pickup_learn.practice import sessions
from pickup_learn.practice.provider import CLIENT_ID
from pickup_learn.practice.settings import ALL, CONDITIONS, Behaviour, behaviour_of, change
from pickup_web import clock, messages, trace
from pickup_web.database import db
from pickup_web.message_row import Note


def home() -> str:
    """``GET /practice/``: who is signed in."""
    found, person = sessions.current(), sessions.person()
    behaviour = running(found.sub if found else None)
    if person:
        return render_template("practice/home.html", person=person, watches=behaviour["tab"] == "watches")
    return render_template("practice/home.html", person=None, ended=found.reason if found else None)


def running(sub: str | None) -> Behaviour:
    """The person's settings; 503 while they have stopped the service."""
    behaviour = behaviour_of(db.session, sub)
    if behaviour["service"] == "stopped":
        abort(503, "Practice is stopped. You can start it under Settings.")
    return behaviour


def status() -> Response:
    """``GET /practice/session/status``: what an open tab asks every second."""
    found = sessions.current()
    if found:
        running(found.sub)
    if found and found.ended_at is not None and found.told_at is None:
        found.told_at = clock.now()
        record_push(found.sid, found.sub, str(found.reason))
        db.session.commit()
    answer = jsonify(signed_in=sessions.person() is not None, reason=found.reason if found else None)
    answer.headers["Cache-Control"] = "no-store"
    return answer


def record_push(sid: str, sub: str, reason: str) -> None:
    """Record that an open tab learned of the end of its session."""
    url = str(current_app.config["LEARN_URL"]) + "/practice/session/status"
    note = Note("push", "out", "practice", "browser", "GET", url, trace.new_span(), status=200)
    note.response_body = json.dumps({"event": "signed-out", "reason": reason}).encode()
    note.known = {"sid": sid, "sub": sub, "client_id": CLIENT_ID}
    recorder: messages.Recorder = current_app.extensions["messages"]
    recorder.add(note)


def settings() -> ResponseReturnValue:
    """``GET`` and ``POST /practice/settings``: how Practice behaves for the signed-in person."""
    person = sessions.person()
    if person is None:
        return render_template("practice/sign_in_first.html")
    behaviour = behaviour_of(db.session, person.sub)
    if request.method == "POST":
        change(db.session, person.sub, chosen(request.form), behaviour.conditions)
        db.session.commit()
        flash("Saved. Changes apply immediately.")
        return redirect(url_for("practice.settings"), 303)
    conditions = [CONDITIONS[name] for name in behaviour.conditions]
    return render_template(
        "practice/settings.html", person=person, settings=ALL, behaviour=behaviour, conditions=conditions
    )


def chosen(form: Any) -> dict[str, str]:
    """The settings in the form that are not right."""
    return {one.name: form[one.name] for one in ALL if form.get(one.name, one.right) != one.right}
