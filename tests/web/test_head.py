"""HEAD is answered as GET without a body (RFC 9110 §9.3.2). It changes nothing at any address."""

import re
from typing import Any

import pytest
from flask import Flask, request
from sqlalchemy import inspect, select, table, text

from pickup_web.database import engine_of
from tests.conftest import SignIn, SiteClient
from tests.manager.conftest import fleet_manager, introspection
from tests.web.test_service import client

__all__ = ["client", "fleet_manager", "introspection"]  # fixtures


def contents(app: Flask) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table except the apps' browser sessions, which hold form tokens and started logins."""
    with engine_of(app).connect() as connection:
        return {
            name: sorted(
                (tuple(row) for row in connection.execute(select(text("*")).select_from(table(name)))), key=repr
            )
            for name in inspect(connection).get_table_names()
            if name != "rp_session"
        }


def head_everywhere(browser: SiteClient, values: dict[str, str]) -> int:
    """Sends HEAD to each route, with existing objects in its path; returns the number of such paths."""
    app = browser.application
    before = contents(app)
    of_a_login = ("relying_party.login", "relying_party.callback")  # each writes an event, for a GET as well
    rules = [rule for rule in app.url_map.iter_rules() if "GET" in (rule.methods or ())]
    rules = [rule for rule in rules if rule.endpoint not in of_a_login]
    for rule in rules:
        path = re.sub(r"<(?:[^<>]+:)?(\w+)>", lambda found: values[found[1]], rule.rule)
        answer = browser.head(path)
        assert answer.status_code != 500, path
        assert answer.data == b"", path
        answer.close()
        assert contents(app) == before, f"HEAD {path} changed the database"
    return len(rules)


@pytest.mark.usefixtures("idp")
def test_head_changes_nothing_at_manager(fleet_manager: SiteClient) -> None:
    """Includes the pages that remove a driver."""
    values = {"kind": "drivers", "key": "D0072", "filename": "pickup.css"}
    head_everywhere(fleet_manager, values)
    assert fleet_manager.get("/drivers/D0072/edit").status_code == 200, "and the user is still signed in"


@pytest.mark.usefixtures("idp")
def test_head_changes_nothing_at_dispatch(dispatch_client: SiteClient, sign_in: SignIn) -> None:
    """Includes the pages that book a passenger."""
    sign_in(dispatch_client)
    head_everywhere(dispatch_client, {"filename": "pickup.css", "driver_id": "D0072", "booking_id": "1"})
    assert dispatch_client.get("/bookings").status_code == 200, "and the user is still signed in"


def test_view_handles_head_as_get(client: SiteClient) -> None:
    """The rule itself, so that it also covers future views."""
    with client.application.test_request_context("/", method="HEAD"):
        assert request.method == "GET"
