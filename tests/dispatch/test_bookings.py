"""Make, list, complete and cancel bookings."""

import pytest
from flask import Flask
from sqlalchemy import event, select

from pickup_dispatch.models import Booking
from pickup_web.database import db
from tests.conftest import SignIn, SiteClient, client_of
from tests.network import Network
from tests.reading import words

GOOD = {"driver": "D0072", "passenger": "Ada Lovelace", "contact": "+1 202 555 0150"}


def bookings(app: Flask) -> list[Booking]:
    with app.app_context():
        return list(db.session.scalars(select(Booking).order_by(Booking.id)))


def test_landing_page_shows_no_data(dispatch_client: SiteClient, network: Network, drivers_api: str) -> None:
    page = dispatch_client.get("/")
    assert page.status_code == 200
    assert "Sign in" in words(page)
    assert "James Easton" not in page.text
    assert not network.to(drivers_api), "without a user, Manager is not asked"
    assert "Set-Cookie" not in page.headers, "a visit sets no cookie"


@pytest.mark.parametrize("path", ["/bookings", "/bookings/1/driver", "/profile"])
def test_protected_page_redirects_to_login_and_back(dispatch_client: SiteClient, path: str) -> None:
    answer = dispatch_client.get(path, headers={"Accept": "text/html"})
    assert answer.status_code == 303
    assert answer.location.startswith("/pickup-dispatch/login?next=")
    assert path.replace("/", "%2F") in answer.location or path in answer.location


@pytest.mark.parametrize("path", ["/bookings", "/bookings/1/driver", "/bookings/1/cancel"])
def test_anonymous_post_changes_nothing(
    dispatch: Flask, dispatch_client: SiteClient, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    # The login check must reject the request, even with a valid CSRF token.
    monkeypatch.setitem(dispatch.config, "WTF_CSRF_ENABLED", False)
    before = len(bookings(dispatch))
    assert dispatch_client.post(path, data=GOOD).status_code == 401
    assert len(bookings(dispatch)) == before
    assert not any(booking.cancelled_at for booking in bookings(dispatch))


def test_booking_is_stored_with_its_creator(dispatch: Flask, dispatcher: SiteClient) -> None:
    answer = dispatcher.submit("/bookings", **GOOD)
    assert answer.status_code == 303, "POST is followed by GET, so a reload books no second cab"
    made = bookings(dispatch)[-1]
    assert (made.driver_id, made.driver_name) == ("D0072", "Tiger Nixon")
    assert (made.passenger, made.contact) == ("Ada Lovelace", "+1 202 555 0150")
    assert (made.created_by, made.created_by_name) == ("248289761002", "Cameron Reyes")
    assert "Booked a cab for Ada Lovelace" in words(dispatcher.get("/bookings"))


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("driver", "", "Choose a driver, or select “Assign a driver later”."),
        ("driver", "D9999", "Choose a driver, or select “Assign a driver later”."),
        ("passenger", "", "Enter the passenger's name."),
        ("passenger", "   ", "Enter the passenger's name."),
        ("passenger", "x" * 81, "Use 80 characters at most"),
        ("passenger", "Ada\u202eLovelace", "Leave out invisible characters."),
        ("contact", "", "Enter a contact number."),
        ("contact", "12345", "country code"),
        ("contact", "202 555 0143", "country code"),
        ("contact", "+1 202", "country code"),
        ("contact", "+1234567890123456", "country code"),
        ("contact", "+1 202 CALL NOW", "country code"),
    ],
)
def test_invalid_field_shows_an_error_and_keeps_other_values(
    dispatch: Flask, dispatcher: SiteClient, field: str, value: str, sentence: str
) -> None:
    before = len(bookings(dispatch))
    page = dispatcher.submit("/bookings", **{**GOOD, field: value})
    assert page.status_code == 422
    assert sentence in words(page)
    assert f'id="{field}-error"' in page.text
    assert f"{field}-error" in page.text.split(f'id="{field}"')[1].split(">")[0], "tied by aria-describedby"
    kept = next(name for name in ("passenger", "contact") if name != field)
    assert GOOD[kept] in page.text
    assert len(bookings(dispatch)) == before


@pytest.mark.parametrize("contact", ["+12025550143", "+44 20 7946 0121", "+1 (202) 555-0143", "+49.30.12345678"])
def test_contact_number_accepts_common_formats(dispatcher: SiteClient, contact: str) -> None:
    assert dispatcher.submit("/bookings", **{**GOOD, "contact": contact}).status_code == 303


def test_names_are_escaped(dispatcher: SiteClient) -> None:
    dispatcher.submit("/bookings", **{**GOOD, "passenger": "<script>alert(1)</script>"})
    page = dispatcher.get("/bookings")
    assert "<script>alert" not in page.text
    assert "&lt;script&gt;alert" in page.text


def test_form_without_csrf_token_is_rejected(dispatch: Flask, dispatcher: SiteClient) -> None:
    before = len(bookings(dispatch))
    assert dispatcher.post("/bookings", data=GOOD).status_code == 400
    assert dispatcher.post("/bookings/1/cancel").status_code == 400
    assert len(bookings(dispatch)) == before
    assert not bookings(dispatch)[0].cancelled_at


def test_cancelled_booking_stays_listed_as_cancelled(dispatch: Flask, dispatcher: SiteClient) -> None:
    assert dispatcher.submit("/bookings/1/cancel").status_code == 303
    first = bookings(dispatch)[0]
    assert first.cancelled_at
    assert "Cancelled" in words(dispatcher.get("/bookings"))
    dispatcher.submit("/bookings/1/cancel")
    assert bookings(dispatch)[0].cancelled_at == first.cancelled_at, "the second request changes nothing"


def test_get_request_changes_nothing(dispatcher: SiteClient) -> None:
    assert dispatcher.get("/bookings/1/cancel").status_code == 405


@pytest.mark.parametrize("number", ["99", "0", "x", "-1", "99999999999999999999"])
def test_unknown_booking_returns_404(dispatcher: SiteClient, number: str) -> None:
    assert dispatcher.get(f"/bookings/{number}/driver").status_code == 404
    assert dispatcher.submit(f"/bookings/{number}/cancel").status_code == 404


def test_booking_gets_its_driver_later(dispatch: Flask, dispatcher: SiteClient) -> None:
    dispatcher.submit("/bookings", **{**GOOD, "driver": "later"})
    made = bookings(dispatch)[-1]
    assert made.driver_id is None
    assert "Assign a driver" in words(dispatcher.get("/bookings"))
    assert dispatcher.submit(f"/bookings/{made.id}/driver", driver="nobody").status_code == 422
    assert dispatcher.submit(f"/bookings/{made.id}/driver", driver="D0009").status_code == 303
    assert bookings(dispatch)[-1].driver_name == "Brielle Williamson"


def test_cancelled_booking_gets_no_driver(dispatcher: SiteClient) -> None:
    dispatcher.submit("/bookings/2/cancel")
    assert dispatcher.get("/bookings/2/driver").status_code == 404
    assert dispatcher.submit("/bookings/2/driver", driver="D0009").status_code == 404


def test_page_shows_only_the_signed_in_users_name(dispatch: Flask, dispatcher: SiteClient, sign_in: SignIn) -> None:
    other = client_of(dispatch)
    sign_in(other, sub="u-alex", name="Alex Moreau", preferred_username="alex", email="alex@pickup.example")
    page = other.get("/profile")
    assert "Alex Moreau" in page.text
    assert "ameron" not in page.text
    assert "Alex" not in dispatcher.get("/profile").text


def test_page_needs_at_most_three_queries(dispatch: Flask, dispatcher: SiteClient) -> None:
    statements: list[str] = []
    with dispatch.app_context():
        engine = db.engine

    def count(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        statements.append(statement)

    event.listen(engine, "before_cursor_execute", count)
    dispatcher.get("/bookings")
    event.remove(engine, "before_cursor_execute", count)
    assert 0 < len(statements) <= 3, statements
