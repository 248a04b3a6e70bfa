"""Dispatch takes its drivers from Manager, and goes on without it."""

from typing import Any

import pytest
import requests
from flask import Flask

from pickup_dispatch import drivers
from relying_party import TokenUnavailable
from tests.apps import Browser, Neighbour, words

GOOD = {"driver": "later", "passenger": "Ada Lovelace", "contact": "+1 202 555 0150"}


def test_the_drivers_are_managers_asked_with_the_users_own_token(dispatcher: Browser, manager: Neighbour) -> None:
    page = dispatcher.get("/")
    assert "D0072 · Tiger Nixon" in words(page)
    assert "D0009 · Brielle Williamson" in words(page)
    assert manager.asked[0].url == "http://manager.test/pickup-manager/api/drivers"
    assert manager.asked[0].headers["Authorization"] == "Bearer the access token"


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (401, "Pickup Manager refused the access token"),
        (403, "does not allow reading the fleet"),
        (302, "answered with an error (302)"),
        (500, "answered with an error (500)"),
        (503, "cannot check access tokens"),
    ],
)
def test_each_refusal_has_its_own_sentence(dispatcher: Browser, manager: Neighbour, status: int, sentence: str) -> None:
    manager.status = status
    page = dispatcher.get("/")
    assert page.status_code == 200, "Dispatch goes on"
    assert sentence in words(page)
    assert len(manager.asked) == 1, "a redirect is not followed: it would carry the token somewhere else"


@pytest.mark.parametrize("failure", [requests.ConnectionError("down"), requests.ReadTimeout("slow")])
def test_when_manager_is_down_dispatch_says_so_and_goes_on(
    dispatcher: Browser, manager: Neighbour, failure: Exception
) -> None:
    manager.failure = failure
    assert "Pickup Manager does not answer, so the list of drivers is missing." in words(dispatcher.get("/"))
    assert dispatcher.post("/bookings", GOOD).status_code == 303
    assert "Ada Lovelace" in words(dispatcher.get("/bookings"))


def test_the_list_of_bookings_does_not_ask_manager_at_all(dispatcher: Browser, manager: Neighbour) -> None:
    manager.failure = requests.ConnectionError("down")
    assert dispatcher.get("/bookings").status_code == 200
    assert not manager.asked


def test_a_driver_nobody_can_check_is_not_booked(dispatcher: Browser, manager: Neighbour) -> None:
    manager.failure = requests.ConnectionError("down")
    page = dispatcher.post("/bookings", {**GOOD, "driver": "D0072"})
    assert page.status_code == 422
    assert "This driver cannot be checked now" in words(page)


@pytest.mark.parametrize("body", [b"<html>", [], {"drivers": None}, {"drivers": [{"id": "D1"}]}, {}])
def test_a_list_that_cannot_be_read_is_a_sentence_too(dispatcher: Browser, manager: Neighbour, body: Any) -> None:
    manager.body = body
    assert "could not be read" in words(dispatcher.get("/"))


def test_without_an_access_token_manager_is_not_asked(app: Flask, dispatcher: Browser, manager: Neighbour) -> None:
    def unavailable() -> str:
        raise TokenUnavailable("The access token has expired.")

    drivers.init_app(app, unavailable)
    assert "The access token has expired." in words(dispatcher.get("/"))
    assert not manager.asked
