"""Dispatch fetches its drivers from Manager, and works without it."""

from collections.abc import Callable

import pytest
from flask import Flask

from relying_party import TokenUnavailable
from tests.conftest import SiteClient
from tests.network import Network
from tests.reading import words

GOOD = {"driver": "later", "passenger": "Ada Lovelace", "contact": "+1 202 555 0150"}


def test_drivers_are_fetched_with_the_users_access_token(
    dispatcher: SiteClient, network: Network, drivers_api: str
) -> None:
    page = dispatcher.get("/")
    assert "D0072 · Tiger Nixon" in words(page)
    assert "D0009 · Brielle Williamson" in words(page)
    (exchange,) = network.to(drivers_api)
    assert exchange.request.headers["Authorization"] == "Bearer the access token"


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (401, "Pickup Manager refused the access token"),
        (403, "does not allow reading the fleet"),
        (302, "answered with an error (302)"),
        (500, "answered with an error (500)"),
        (502, "does not answer"),
        (503, "cannot check access tokens"),
        (504, "does not answer"),
    ],
)
def test_each_error_of_manager_has_its_own_message(
    dispatcher: SiteClient, network: Network, drivers_api: str, status: int, sentence: str
) -> None:
    network.answer(drivers_api, status, headers={"Location": "http://elsewhere.test/"})
    page = dispatcher.get("/")
    assert page.status_code == 200, "Dispatch still shows its form"
    assert sentence in words(page)
    assert len(network.exchanges) == 1, "a redirect is not followed, because it would send the token to another address"


@pytest.mark.parametrize("fault", [Network.refuse, Network.time_out])
def test_form_explains_that_manager_is_down(
    dispatcher: SiteClient, network: Network, drivers_api: str, fault: Callable[[Network, str], None]
) -> None:
    fault(network, drivers_api)
    assert "Pickup Manager does not answer, so the list of drivers is missing." in words(dispatcher.get("/"))
    assert dispatcher.submit("/bookings", **GOOD).status_code == 303
    assert "Ada Lovelace" in words(dispatcher.get("/bookings"))


def test_list_of_bookings_does_not_call_manager(dispatcher: SiteClient, network: Network, drivers_api: str) -> None:
    network.refuse(drivers_api)
    assert dispatcher.get("/bookings").status_code == 200
    assert not network.to(drivers_api)


def test_unverified_driver_is_not_booked(dispatcher: SiteClient, network: Network, drivers_api: str) -> None:
    network.refuse(drivers_api)
    page = dispatcher.submit("/bookings", **{**GOOD, "driver": "D0072"})
    assert page.status_code == 422
    assert "This driver cannot be checked now" in words(page)


@pytest.mark.parametrize("body", ["<html>", "[]", '{"drivers": null}', '{"drivers": [{"id": "D1"}]}', "{}"])
def test_unreadable_list_of_drivers_shows_a_message(
    dispatcher: SiteClient, network: Network, drivers_api: str, body: str
) -> None:
    network.answer(drivers_api, 200, body)
    assert "could not be read" in words(dispatcher.get("/"))


def test_manager_is_not_called_without_an_access_token(
    dispatch: Flask, dispatcher: SiteClient, monkeypatch: pytest.MonkeyPatch, network: Network, drivers_api: str
) -> None:
    def unavailable() -> str:
        raise TokenUnavailable("The access token has expired.")

    monkeypatch.setitem(dispatch.extensions, "drivers_access_token", unavailable)
    assert "The access token has expired." in words(dispatcher.get("/"))
    assert not network.to(drivers_api)


def test_without_a_scope_manager_is_not_asked_and_the_page_says_why(
    dispatcher: SiteClient, network: Network, drivers_api: str
) -> None:
    dispatcher.application.config["DRIVERS_SCOPE"] = ""
    assert "there is no scope for the list of drivers" in dispatcher.get("/").text
    assert not network.to(drivers_api)
