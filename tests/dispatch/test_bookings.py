"""Making, listing, completing and cancelling bookings."""

import pytest
from flask import Flask
from sqlalchemy import select

from pickup_dispatch.models import Booking
from pickup_web.database import db
from tests.apps import Browser, Neighbour, words

GOOD = {"driver": "D0072", "passenger": "Ada Lovelace", "contact": "+1 202 555 0150"}


def bookings(app: Flask) -> list[Booking]:
    with app.app_context():
        return list(db.session.scalars(select(Booking).order_by(Booking.id)))


def test_a_stranger_sees_the_door_and_no_data(browser: Browser, manager: Neighbour) -> None:
    page = browser.get("/")
    assert page.status_code == 200
    assert "Sign in" in words(page)
    assert "James Easton" not in page.text
    assert not manager.asked, "Manager is not asked on behalf of nobody"
    assert "Set-Cookie" not in page.headers, "a visit leaves nothing behind"


@pytest.mark.parametrize("path", ["/bookings", "/bookings/1/driver", "/profile"])
def test_a_strangers_page_leads_to_the_login_and_back(browser: Browser, path: str) -> None:
    answer = browser.get(path)
    assert answer.status_code == 303
    assert answer.location.startswith("/pickup-dispatch/login?next=")
    assert path.replace("/", "%2F") in answer.location or path in answer.location


@pytest.mark.parametrize("path", ["/bookings", "/bookings/1/driver", "/bookings/1/cancel"])
def test_a_stranger_changes_nothing(app: Flask, browser: Browser, path: str) -> None:
    before = len(bookings(app))
    assert browser.post(path, GOOD, csrf="made up").status_code in (400, 401)
    assert len(bookings(app)) == before
    assert not any(booking.cancelled_at for booking in bookings(app))


def test_a_booking_is_stored_with_who_made_it(app: Flask, dispatcher: Browser) -> None:
    answer = dispatcher.post("/bookings", GOOD)
    assert answer.status_code == 303, "after the POST comes a GET: reloading books no second cab"
    made = bookings(app)[-1]
    assert (made.driver_id, made.driver_name) == ("D0072", "Tiger Nixon")
    assert (made.passenger, made.contact) == ("Ada Lovelace", "+1 202 555 0150")
    assert (made.created_by, made.created_by_name) == ("u-cameron", "Cameron Reyes")
    assert "Booked a cab for Ada Lovelace" in words(dispatcher.get("/bookings"))


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("driver", "", "Choose a driver"),
        ("driver", "D9999", "Choose a driver"),
        ("passenger", "", "Enter the passenger's name."),
        ("passenger", "   ", "Enter the passenger's name."),
        ("passenger", "x" * 81, "Use 80 characters at most"),
        ("passenger", "Ada\u202eLovelace", "Leave out characters that cannot be seen."),
        ("contact", "", "Enter a contact number."),
        ("contact", "12345", "country code"),
        ("contact", "202 555 0143", "country code"),
        ("contact", "+1 202", "country code"),
        ("contact", "+1234567890123456", "country code"),
        ("contact", "+1 202 CALL NOW", "country code"),
    ],
)
def test_what_is_wrong_is_said_at_the_field_and_the_rest_is_kept(
    app: Flask, dispatcher: Browser, field: str, value: str, sentence: str
) -> None:
    before = len(bookings(app))
    page = dispatcher.post("/bookings", {**GOOD, field: value})
    assert page.status_code == 422
    assert sentence in words(page)
    assert f'id="{field}-error"' in page.text
    assert f"{field}-error" in page.text.split(f'id="{field}"')[1].split(">")[0], "tied by aria-describedby"
    kept = next(name for name in ("passenger", "contact") if name != field)
    assert GOOD[kept] in page.text
    assert len(bookings(app)) == before


@pytest.mark.parametrize("contact", ["+12025550143", "+44 20 7946 0121", "+1 (202) 555-0143", "+49.30.12345678"])
def test_numbers_are_taken_as_people_write_them(dispatcher: Browser, contact: str) -> None:
    assert dispatcher.post("/bookings", {**GOOD, "contact": contact}).status_code == 303


def test_names_are_text_not_markup(dispatcher: Browser) -> None:
    dispatcher.post("/bookings", {**GOOD, "passenger": "<script>alert(1)</script>"})
    page = dispatcher.get("/bookings")
    assert "<script>alert" not in page.text
    assert "&lt;script&gt;alert" in page.text


def test_a_form_without_our_token_is_refused(app: Flask, dispatcher: Browser) -> None:
    before = len(bookings(app))
    assert dispatcher.post("/bookings", GOOD, csrf="").status_code == 400
    assert dispatcher.post("/bookings/1/cancel", csrf="").status_code == 400
    assert len(bookings(app)) == before
    assert not bookings(app)[0].cancelled_at


def test_cancelling_keeps_the_booking_and_says_so(app: Flask, dispatcher: Browser) -> None:
    assert dispatcher.post("/bookings/1/cancel").status_code == 303
    first = bookings(app)[0]
    assert first.cancelled_at
    assert "Cancelled" in words(dispatcher.get("/bookings"))
    dispatcher.post("/bookings/1/cancel")
    assert bookings(app)[0].cancelled_at == first.cancelled_at, "a second time changes nothing"


def test_nothing_changes_by_following_a_link(dispatcher: Browser) -> None:
    assert dispatcher.get("/bookings/1/cancel").status_code == 405


@pytest.mark.parametrize("number", ["99", "0", "x", "-1", "99999999999999999999"])
def test_an_unknown_booking_is_not_found(dispatcher: Browser, number: str) -> None:
    assert dispatcher.get(f"/bookings/{number}/driver").status_code == 404
    assert dispatcher.post(f"/bookings/{number}/cancel").status_code == 404


def test_a_driver_left_for_later_is_assigned_later(app: Flask, dispatcher: Browser) -> None:
    dispatcher.post("/bookings", {**GOOD, "driver": "later"})
    made = bookings(app)[-1]
    assert made.driver_id is None
    assert "Assign a driver" in words(dispatcher.get("/bookings"))
    assert dispatcher.post(f"/bookings/{made.id}/driver", {"driver": "nobody"}).status_code == 422
    assert dispatcher.post(f"/bookings/{made.id}/driver", {"driver": "D0009"}).status_code == 303
    assert bookings(app)[-1].driver_name == "Brielle Williamson"


def test_a_cancelled_booking_gets_no_driver(dispatcher: Browser) -> None:
    dispatcher.post("/bookings/2/cancel")
    assert dispatcher.get("/bookings/2/driver").status_code == 404
    assert dispatcher.post("/bookings/2/driver", {"driver": "D0009"}).status_code == 404


def test_each_person_sees_their_own_name_only(app: Flask, dispatcher: Browser) -> None:
    other = Browser(app)
    other.sign_in(sub="u-alex", name="Alex Moreau")
    page = other.get("/profile")
    assert "Alex Moreau" in page.text
    assert "Cameron" not in page.text
    assert "Alex" not in dispatcher.get("/profile").text


def test_a_page_needs_few_queries(app: Flask, dispatcher: Browser) -> None:
    from sqlalchemy import event

    statements: list[str] = []
    with app.app_context():
        engine = db.engine

    def count(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        statements.append(statement)

    event.listen(engine, "before_cursor_execute", count)
    dispatcher.get("/bookings")
    assert len(statements) <= 3, statements
