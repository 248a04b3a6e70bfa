"""Deliveries: the ledger on a page, its filters, its export, and resending."""

import csv
import re
from io import StringIO

import pytest

from idp.models import Delivery
from tests.conftest import Clock, SiteClient
from tests.idp.conftest import DISPATCH, MANAGER, Provider
from tests.idp.console.conftest import HOSTILE, after, operator
from tests.reading import words


@pytest.fixture
def logged_out(provider: Provider, cameron: SiteClient) -> SiteClient:
    """Cameron has logged out of Dispatch while Manager was down. An operator opens the ledger."""
    provider.apps[MANAGER].status = 401
    provider.apps[MANAGER].body = '{"error": "invalid_request", "error_description": "' + "wrong <b>key</b>" + '"}'
    provider.end_session(cameron, id_token_hint=provider.tokens(cameron)["id_token"])
    return operator(provider)


def rows_of(browser: SiteClient, query: str = "") -> list[str]:
    """The apps listed in the ledger."""
    page = browser.get(f"/console/deliveries?part=table&{query}")
    assert page.status_code == 200
    assert "<html" not in page.text, "only the part that changes"
    return [name for name in ("Pickup Dispatch", "Pickup Manager") if f">{name}</a>" in page.text]


def test_ledger_shows_each_app_and_each_attempt(logged_out: SiteClient) -> None:
    page = logged_out.get("/console/deliveries")
    text = words(page)
    assert "cameron “You logged out of Pickup Dispatch.” 2027-01-15 08:00:00 UTC 1 delivered 1 refused" in text, (
        "what ended"
    )
    assert re.search(r"Pickup Dispatch Delivered 1 try: delivered \(200\) in \d+ milliseconds? ", text)
    assert "Pickup Manager Refused 1 try: refused (401)" in text
    assert "refused (401): “invalid_request: wrong <b>key</b>”" in text
    assert "<b>key" not in page.text
    assert 'src="/static/ledger.js"' in page.text
    assert '<a class="button quiet slim" id="refresh" href="/console/deliveries">Refresh</a>' in page.text


def test_ledger_groups_by_ending_with_the_newest_open(logged_out: SiteClient, provider: Provider, clock: Clock) -> None:
    clock.turn(60)
    provider.end_session(cameron := provider.sign_in(), id_token_hint=provider.tokens(cameron)["id_token"])
    page = logged_out.get("/console/deliveries")
    assert re.findall(r'<details class="card ending" id="ending-\w+"( open)?>', page.text) == [" open", ""]
    text = words(page)
    assert text.index("08:01:00 UTC 1 delivered") < text.index("08:00:00 UTC 1 delivered 1 refused")


def test_ending_continued_on_the_next_page_says_so(logged_out: SiteClient, provider: Provider) -> None:
    row = provider.delivery(DISPATCH)
    values = {column.key: getattr(row, column.key) for column in Delivery.__table__.columns if column.key != "id"}
    with provider.database() as db:
        db.add_all(Delivery(id=f"{number:032}", **values) for number in range(60))
    for page, shown in ((1, 50), (2, 12)):
        text = words(logged_out.get(f"/console/deliveries?page={page}"))
        assert "61 delivered 1 refused" in text
        assert f"{shown} of 62 apps are on this page" in text


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["Pickup Dispatch", "Pickup Manager"]),
        (f"client_id={DISPATCH}", ["Pickup Dispatch"]),
        ("state=refused", ["Pickup Manager"]),
        ("state=given_up", []),
        ("person=Cameron", ["Pickup Dispatch", "Pickup Manager"]),
        ("person=alex", []),
        ("person=nobody", []),
        ("sid=nothing", []),
        ("client_id=none", []),
        ("state=%00", []),
        ("person=cameron&state=delivered", ["Pickup Dispatch"]),
        ("page=2", []),
    ],
)
def test_ledger_can_be_filtered(query: str, found: list[str], logged_out: SiteClient) -> None:
    assert rows_of(logged_out, query) == found


def test_ledger_can_be_filtered_by_session(logged_out: SiteClient, provider: Provider) -> None:
    sid = provider.rows(Delivery)[0].sid
    assert rows_of(logged_out, f"sid={sid}") == ["Pickup Dispatch", "Pickup Manager"]


def test_filters_are_kept_in_form_and_export(logged_out: SiteClient) -> None:
    page = logged_out.get("/console/deliveries?state=refused&person=cameron")
    assert '<option value="refused" selected>' in page.text
    assert 'name="person" value="cameron"' in page.text
    assert 'href="/console/deliveries.csv?person=cameron&amp;state=refused"' in page.text


def test_export_matches_the_page(logged_out: SiteClient) -> None:
    answer = logged_out.get("/console/deliveries.csv?state=refused")
    assert answer.mimetype == "text/csv"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="deliveries.csv"'
    (line,) = csv.DictReader(StringIO(answer.text))
    assert (line["app"], line["outcome"], line["status"]) == (MANAGER, "refused", "401")


def test_empty_ledger_explains_itself(admin: SiteClient) -> None:
    assert "No deliveries When a session ends, each notified app is listed here." in words(
        admin.get("/console/deliveries")
    )


def test_hostile_name_and_filter_are_escaped(logged_out: SiteClient, provider: Provider) -> None:
    provider.change_client(MANAGER, name=HOSTILE)
    page = logged_out.get("/console/deliveries", query_string={"sid": f'">{HOSTILE}', "person": f'">{HOSTILE}'})
    assert "<script>alert" not in page.text
    assert "<script>alert" not in logged_out.get("/console/deliveries").text


def test_long_ledger_is_paged(logged_out: SiteClient, provider: Provider) -> None:
    row = provider.delivery(DISPATCH)
    values = {column.key: getattr(row, column.key) for column in Delivery.__table__.columns if column.key != "id"}
    with provider.database() as db:
        db.add_all(Delivery(id=f"{number:032}", **values) for number in range(120))
    text = words(logged_out.get("/console/deliveries?person=cameron&page=2"))
    assert "Page 2 of 3" in text
    assert 'person=cameron&amp;page=3"' in logged_out.get("/console/deliveries?person=cameron&page=2").text


# --- one of them ---


def test_delivery_page_lists_every_attempt(logged_out: SiteClient, provider: Provider) -> None:
    text = words(logged_out.get(f"/console/deliveries/{provider.delivery(MANAGER).id}"))
    (attempt,) = (one for one in provider.attempts() if one.outcome == "refused")
    assert "Delivery to Pickup Manager Refused" in text
    assert "Why “You logged out of Pickup Dispatch.”" in text
    assert f"invalid_request: wrong <b>key</b> {attempt.jti}" in text


def test_resending_notifies_the_app_again(logged_out: SiteClient, provider: Provider, clock: Clock) -> None:
    row = provider.delivery(MANAGER)
    provider.apps[MANAGER].status = 200
    clock.turn(5)
    logged_out.get("/console/deliveries")
    page = after(logged_out, logged_out.submit(f"/console/deliveries/{row.id}/send-again"))
    assert "Sent again: Pickup Manager was notified." in page
    assert "Delivery to Pickup Manager Delivered" in page
    first, second = provider.logout_tokens(MANAGER)
    assert first["jti"] != second["jti"]
    assert first["sid"] == second["sid"]


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("refuses", "Sent again, but Pickup Manager was not notified: refused: invalid_request: wrong"),
        ("is away", "Sent again, but Pickup Manager was not notified: connection refused. The next try is soon."),
    ],
)
def test_failed_resending_shows_the_reason(
    fault: str, sentence: str, logged_out: SiteClient, provider: Provider
) -> None:
    if fault == "is away":
        provider.network.refuse(provider.url(MANAGER))
    logged_out.get("/console/deliveries")
    answer = logged_out.submit(f"/console/deliveries/{provider.delivery(MANAGER).id}/send-again")
    assert sentence in after(logged_out, answer)


def test_delivery_without_a_uri_is_not_resent(logged_out: SiteClient, provider: Provider) -> None:
    provider.change_client(MANAGER, backchannel_logout_uri=None)
    row = provider.delivery(MANAGER)
    logged_out.get("/console/deliveries")
    answer = logged_out.submit(f"/console/deliveries/{row.id}/send-again")
    assert answer.status_code == 409
    assert "so there is nowhere to send it" in words(answer)
    assert provider.delivery(MANAGER).state == "refused"
