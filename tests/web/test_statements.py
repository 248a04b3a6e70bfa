"""Statements that SQLite's driver executes, in the transaction of a SQLAlchemy session."""

from pathlib import Path

import pytest
from sqlalchemy import Engine, bindparam, create_engine, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from pickup_web import sqlite
from pickup_web.database import add_row, table_of
from pickup_web.statements import Statement


class Base(DeclarativeBase):
    """One table."""


class Cab(Base):
    """A row with a type that the driver does not know, and a default."""

    __tablename__ = "cab"

    id: Mapped[int] = mapped_column(primary_key=True)
    is_free: Mapped[bool] = mapped_column(default=True)


TABLE = table_of(Cab)
ALL_FREE = Statement(select(TABLE).where(TABLE.c.is_free == True, TABLE.c.id > bindparam("above")))  # noqa: E712
FREE = Statement(select(TABLE).where(TABLE.c.id == bindparam("wanted")))
TAKE = Statement(update(TABLE).where(TABLE.c.id == bindparam("wanted")).values(is_free=False).returning(*TABLE.columns))


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """A database file with the queue of writers."""
    engine = create_engine(f"sqlite:///{tmp_path / 'cabs.sqlite'}")
    sqlite.set_up(engine)
    Base.metadata.create_all(engine)
    return engine


def test_rows_have_names_and_python_types(engine: Engine) -> None:
    with Session(engine) as session:
        add_row(session, Cab, id=1, is_free=True)
        assert FREE.first(session, {"wanted": 1}).is_free is True
        assert TAKE.first(session, {"wanted": 1}).is_free is False
        assert FREE.first(session, {"wanted": 2}) is None


def test_statements_share_the_transaction_of_objects(engine: Engine) -> None:
    with Session(engine) as session:
        session.add(Cab(id=1))
        assert FREE.first(session, {"wanted": 1}).id == 1
        add_row(session, Cab, id=2, is_free=True)
        session.rollback()
        assert session.scalars(select(Cab)).all() == []
        add_row(session, Cab, id=3, is_free=True)
        session.commit()
    with Session(engine) as session:
        assert [cab.id for cab in session.scalars(select(Cab))] == [3]


def test_statement_in_a_nested_transaction_is_rolled_back_with_it(engine: Engine) -> None:
    with Session(engine) as session:
        add_row(session, Cab, id=1, is_free=True)
        nested = session.begin_nested()
        add_row(session, Cab, id=2, is_free=True)
        nested.rollback()
        add_row(session, Cab, id=3, is_free=True)
        session.commit()
        assert session.scalars(select(Cab.id)).all() == [1, 3]


def test_writer_waits_for_its_turn(engine: Engine) -> None:
    with Session(engine) as session, engine.connect() as other:
        add_row(session, Cab, id=1, is_free=True)
        turn = other.info["turn"]
        assert turn.locked()
        session.commit()
        assert not turn.locked()


def test_error_is_one_of_sqlalchemy(engine: Engine) -> None:
    with Session(engine) as session:
        add_row(session, Cab, id=1, is_free=True)
        with pytest.raises(IntegrityError):
            add_row(session, Cab, id=1, is_free=True)


def test_missing_parameter_is_an_error_and_not_null(engine: Engine) -> None:
    """As SQLAlchemy does on another database."""
    with Session(engine) as session:
        for statement in (FREE, TAKE, Statement(insert(TABLE), ["id", "is_free"])):
            with pytest.raises(KeyError, match=r"wanted|id"):
                statement.execute(session, {"is_free": True})


def test_control_value_in_the_statement_is_not_asked_for(engine: Engine) -> None:
    with Session(engine) as session:
        for number, is_free in enumerate([True, False, True]):
            add_row(session, Cab, id=number, is_free=is_free)
        assert [row.id for row in ALL_FREE.execute(session, {"above": 0})] == [2]


def test_column_with_a_default_must_be_given(engine: Engine) -> None:
    with Session(engine) as session, pytest.raises(ValueError, match="is_free"):
        Statement(insert(TABLE), ["id"]).execute(session, {"id": 1})
