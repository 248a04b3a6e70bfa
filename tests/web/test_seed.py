"""The seed is loaded once into a new database, and again by a reset."""

import threading
from pathlib import Path
from unittest.mock import ANY

import pytest
from flask import Flask
from sqlalchemy import Connection, create_engine, delete, func, select

import pickup_dispatch
import pickup_manager
from pickup_dispatch import SCHEMA
from pickup_dispatch.models import Base, Booking
from pickup_manager.models import Driver
from pickup_web.database import db, engine_of
from pickup_web.events import Event
from pickup_web.schema import prepare
from pickup_web.seed import from_toml
from relying_party.models import StoredSession
from tests.conftest import SignIn, SiteClient, make_settings

SEED = Path(pickup_dispatch.__file__).with_name("seed.toml")


def test_new_database_has_the_seed(tmp_path: Path) -> None:
    app = pickup_manager.create_app(make_settings(tmp_path))
    with app.app_context():
        drivers = db.session.scalars(select(Driver.id).order_by(Driver.id.desc())).all()
    engine_of(app).dispose()
    assert drivers == ["D0072", "D0053", "D0046", "D0035", "D0021", "D0009"]


def test_emptied_table_stays_empty_after_restart(tmp_path: Path) -> None:
    app = pickup_dispatch.create_app(make_settings(tmp_path))
    with engine_of(app).begin() as connection:
        connection.execute(delete(Booking))
    engine_of(app).dispose()
    again = pickup_dispatch.create_app(make_settings(tmp_path))
    with again.app_context():
        assert db.session.scalar(select(func.count()).select_from(Booking)) == 0
    engine_of(again).dispose()


@pytest.mark.parametrize("times", [1, 2])
def test_reset_leaves_only_the_seed(dispatch: Flask, dispatch_client: SiteClient, sign_in: SignIn, times: int) -> None:
    sign_in(dispatch_client)
    dispatch_client.submit("/bookings/1/cancel")
    for _ in range(times):
        run_reset(dispatch)
    assert dispatch_client.get("/session/status").json == {
        "signed_in": False,
        "reason": ANY,
        "at": ANY,
        "by_logout_token": ANY,
    }
    with dispatch.app_context():
        assert not db.session.scalar(select(func.count()).select_from(StoredSession))
        assert not db.session.scalar(select(func.count()).select_from(Event))
        rows = db.session.scalars(select(Booking).order_by(Booking.id)).all()
    assert [(row.passenger, row.cancelled_at) for row in rows] == [("James Easton", None), ("Ilse Bergmann", None)]


def run_reset(app: Flask) -> None:
    result = app.test_cli_runner().invoke(args=["reset"])
    assert result.exit_code == 0, result.output


def test_crash_while_seeding_leaves_an_empty_database(tmp_path: Path) -> None:
    def crash(_connection: Connection) -> None:
        raise KeyboardInterrupt

    engine = create_engine(f"sqlite:///{tmp_path}/new.db")
    with pytest.raises(KeyboardInterrupt):
        prepare(engine, SCHEMA, crash)
    prepare(engine, SCHEMA, from_toml(Base.metadata, SEED))
    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(Booking)) == 2
    engine.dispose()


def test_processes_that_start_together_load_the_seed_once(tmp_path: Path) -> None:
    problems: list[Exception] = []
    together = threading.Barrier(6)

    def start() -> None:
        engine = create_engine(f"sqlite:///{tmp_path}/new.db")
        together.wait()
        try:
            prepare(engine, SCHEMA, from_toml(Base.metadata, SEED))
        except Exception as error:  # the main thread reports it
            problems.append(error)
        finally:
            engine.dispose()

    starts = [threading.Thread(target=start) for _ in range(6)]
    for thread in starts:
        thread.start()
    for thread in starts:
        thread.join()
    assert not problems
    engine = create_engine(f"sqlite:///{tmp_path}/new.db")
    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(Booking)) == 2
    engine.dispose()
