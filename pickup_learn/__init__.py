"""Pickup Learn: shows each message of a sign-in and of a logout. It collects what the three services recorded.

Its pages need no sign-in, so they are readable after every user has logged out. Only Practice, the app of the labs, has
one (practice/).
"""

from collections.abc import Callable
from pathlib import Path

from flask import Flask
from flask.typing import ResponseReturnValue

from pickup_learn import api, class_commands, lessons, pages, practice, slides, stream, workbench
from pickup_learn.collector import Collector, sources_of
from pickup_learn.record import Base, Record
from pickup_learn.seats import Seats
from pickup_web import Settings, create_service, sqlite
from pickup_web.database import engine_of
from pickup_web.schema import Schema, prepare
from pickup_web.seed import add_reset_command
from pickup_web.settings import load_settings

# fmt: off
ROUTES: list[tuple[str, str, Callable[..., ResponseReturnValue]]] = [
    ("/",                     "flow",         pages.flow),
    ("/inspector",            "inspector",    pages.inspector),
    ("/sessions",             "session_map",  pages.session_map),
    ("/workbench",            "workbench",    workbench.page),
    ("/tutorial",             "tutorial",     lessons.overview),
    ("/tutorial/<name>",      "chapter",      lessons.chapter),
    ("/tutorial/source/<path:path>", "source", lessons.source),
    ("/tutorial/images/<name>", "picture",     lessons.picture),
    ("/labs",                 "labs",         lessons.labs),
    ("/labs/<name>",          "lab",          lessons.lab),
    ("/slides",               "slides",       slides.show),
    ("/board",                "board",        pages.board),
    ("/api/board",            "board_rows",   api.board),
    ("/api/steps",            "steps",        lessons.verdicts),
    ("/api/messages",         "messages",     api.messages),
    ("/api/stream",           "stream",       stream.follow),
    ("/api/sessions",         "sessions",     api.sessions),
    ("/api/explanations",     "explanations", api.explanations),
    ("/api/tokens",           "tokens",       api.tokens),
    ("/api/checks/<path:key>", "checks",      api.checks),
]
LAB_ACTS: list[tuple[str, str, Callable[..., ResponseReturnValue]]] = [
    ("/labs/<name>/start",    "start_lab",    lessons.start),
    ("/labs/<name>/reset",    "reset_lab",    lessons.reset),
]
# fmt: on

SCHEMA = Schema("learn", Base.metadata, Path(__file__).with_name("migrations"))


def create_app(settings: Settings | None = None) -> Flask:
    """The application: its record, its collector, its routes."""
    settings = settings or load_settings("learn")
    app = create_service(
        __name__,
        settings,
        name="learn",
        title="Pickup Learn",
        base_url=settings.learn_url,
        database_url=settings.learn_database_url,
        form_action=[settings.idp_url],  # the logout form of Practice redirects to the IdP
    )
    engine = engine_of(app)
    sqlite.keep_little(engine)
    prepare(engine, SCHEMA)
    add_reset_command(app, engine, lambda connection: None)  # noqa: ARG005 # it starts with nothing
    app.jinja_env.globals["is_recording"] = settings.demo_events
    if settings.demo_events:
        show_record(app, settings)
    else:
        app.add_url_rule("/", "flow", pages.off)
    if settings.metrics_listen:
        from pickup_learn import metrics  # imports prometheus_client

        metrics.init_app(app)
    return app


def show_record(app: Flask, settings: Settings) -> None:
    """Everything that the demo switch turns on."""
    engine = engine_of(app)
    app.config["ISSUER"] = settings.idp_url
    app.extensions["settings"] = settings
    record = app.extensions["record"] = Record(engine)
    app.extensions["seats"] = Seats(engine, record)
    class_commands.add_commands(app)
    collector = app.extensions["collector"] = Collector(record, sources_of(settings))
    app.extensions["after_fork"].append(collector.start)
    for path, name, view in ROUTES:
        app.add_url_rule(path, name, view)
    for path, name, view in LAB_ACTS:
        app.add_url_rule(path, name, view, methods=["POST"])
    practice.init_app(app, settings)
    app.add_url_rule("/api/workbench", "send_token", workbench.send, methods=["POST"])
