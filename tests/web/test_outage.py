"""A database that does not answer, in the middle of the service's life."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from pickup_web.database import engine_of
from tests.conftest import SiteClient, client_of

SENTENCE = "The database does not answer at the moment. Try again in a few seconds."


@contextmanager
def no_database(app: Flask) -> Iterator[None]:
    """Every transaction fails, as when PostgreSQL restarts."""

    def fail(*_args: Any) -> None:
        raise OperationalError("SELECT …", None, Exception("terminating connection due to administrator command"))

    engine = engine_of(app)
    event.listen(engine, "begin", fail)
    try:
        yield
    finally:
        event.remove(engine, "begin", fail)


def test_signed_in_user_gets_503_with_a_sentence_and_is_signed_in_afterwards(
    dispatch: Flask,
    dispatch_client: SiteClient,
    sign_in: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The session is loaded outside of the view."""
    dispatch.config["PROPAGATE_EXCEPTIONS"] = False  # as in production; the tests' setting raises it
    sign_in(dispatch_client, name="Cameron Reyes")
    with no_database(dispatch):
        page = dispatch_client.get("/bookings")
    assert page.status_code == 503
    assert page.headers["Retry-After"] == "2"
    assert SENTENCE in page.text
    assert "Traceback" not in caplog.text
    assert SENTENCE in caplog.text
    assert dispatch_client.get("/bookings").status_code == 200


def test_error_in_a_view_is_503_with_a_sentence(idp: Flask, caplog: pytest.LogCaptureFixture) -> None:
    """At the IdP, whose views use the database."""
    client = client_of(idp)
    with no_database(idp):
        page = client.get("/oauth2/authorize?client_id=any")
    assert (page.status_code, page.headers["Retry-After"]) == (503, "2")
    assert SENTENCE in page.text
    assert "Traceback" not in caplog.text


def test_program_gets_the_sentence_in_json(idp: Flask) -> None:
    """The admin API has its own format for errors."""
    with no_database(idp):
        answer = client_of(idp).get("/admin/api/v1/clients", headers={"Authorization": "Bearer any"})
    assert answer.status_code == 503
    assert answer.get_json()["detail"] == SENTENCE
