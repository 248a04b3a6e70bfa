"""Every list, search and page of the console with PostgreSQL, which rejects more than SQLite does."""

from idp.models import Delivery, SsoSession
from tests.idp.conftest import DISPATCH, MANAGER, Provider
from tests.idp.console.conftest import after, operator

ODD = (
    "",
    "a",
    "%25_",
    "%00",
    "%F0%9F%9A%95",
    "'",
    "%5C",
)  # nothing, wild cards, no text, a cab, what SQL is written with


def test_searches_and_ending_work_with_postgresql(provider_on_postgres: Provider) -> None:
    browser = provider_on_postgres.sign_in()
    provider_on_postgres.tokens(browser)
    provider_on_postgres.tokens(browser, MANAGER)
    admin = operator(provider_on_postgres)
    lists = [f"{section}?search={odd}" for section in ("applications", "people", "sessions") for odd in ODD]
    filters = [f"deliveries?{name}={odd}" for name in ("client_id", "person", "sid", "state") for odd in ODD]
    provider_on_postgres.authorize(browser, code_challenge=None, code_challenge_method=None)
    assert "does not use PKCE" in admin.get(f"/console/applications/{DISPATCH}").text
    pages = ["sessions?search=a&all=1&page=2", "deliveries.csv", "", f"applications/{DISPATCH}", "keys", "settings"]
    for path in (*lists, *filters, *pages):
        assert admin.get(f"/console/{path}".rstrip("/")).status_code == 200, path
    for path in ("applications", "people", "sessions", "deliveries"):
        assert admin.get(f"/console/{path}/a%00b").status_code == 404
    sid = next(row.sid for row in provider_on_postgres.rows(SsoSession) if row.sub == "248289761002")
    admin.get(f"/console/sessions/{sid}/end")
    page = after(admin, admin.submit(f"/console/sessions/{sid}/end"))
    assert "2 apps were notified." in page
    row = provider_on_postgres.rows(Delivery)[0]
    assert "was notified" in after(admin, admin.submit(f"/console/deliveries/{row.id}/send-again"))
    page = after(admin, admin.submit(f"/console/applications/{MANAGER}/remove"))
    assert "Removed Pickup Manager. No logout request was sent." in page
