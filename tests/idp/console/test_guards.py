"""Access to the console, and rules for all its forms."""

import html
import re
from pathlib import Path

import pytest

import idp as idp_service
from idp.console import ROUTES
from idp.models import Base, Client, SigningKey, SsoSession, User
from pickup_web import Settings
from tests.conftest import SiteClient, close, make_settings, prepared
from tests.idp.conftest import DISPATCH, MANAGER, PaperApp, Provider
from tests.idp.console.conftest import operator
from tests.network import Network

PEOPLE = {"admin": "248289761001", "cameron": "248289761002", "alex": "248289761003"}


def address(path: str, provider: Provider) -> str:
    """A route's path, with an existing object."""
    values = {"<client_id>": DISPATCH, "<sub>": PEOPLE["cameron"], "<delivery_id>": "none"}
    values["<sid>"] = next(row.sid for row in provider.rows(SsoSession) if row.sub == PEOPLE["cameron"])
    for name, value in values.items():
        path = path.replace(name, value)
    return "/console" + path


def state(provider: Provider) -> dict[str, list[str]]:
    """The data that must not change."""
    kinds: list[type[Base]] = [Client, User, SigningKey, SsoSession]
    columns = {
        kind: [column.key for column in kind.__table__.columns if column.key != "last_seen_at"] for kind in kinds
    }
    return {
        kind.__name__: sorted(repr([getattr(row, name) for name in names]) for row in provider.rows(kind))
        for kind, names in columns.items()
    }


GETS = [path for methods, path, *_ in ROUTES if "GET" in methods]
POSTS = [path for methods, path, *_ in ROUTES if "POST" in methods]
each_page, each_form = pytest.mark.parametrize("path", GETS), pytest.mark.parametrize("path", POSTS)


@each_page
@pytest.mark.usefixtures("cameron")
def test_page_is_shown_to_an_operator(path: str, provider: Provider) -> None:
    answer = operator(provider).get(address(path, provider))
    assert answer.status_code == (404 if "delivery_id" in path else 200), answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    if answer.mimetype == "text/html":
        assert "style=" not in answer.text, "the content security policy allows no style in a page"
        assert "onclick" not in answer.text


@pytest.mark.parametrize("path", GETS)
@pytest.mark.usefixtures("cameron")
def test_navigation_marks_the_current_section(path: str, provider: Provider) -> None:
    page = operator(provider).get(address(path, provider))
    if page.mimetype == "text/html":
        section = path.split("/")[1].capitalize() if "/" in path else "Overview"
        nav = page.text.partition('aria-label="Console"')[2].partition("</nav>")[0]
        assert re.findall(r'aria-current="page">.*?</svg>(\w+)<', nav) == [section]


@each_page
def test_page_asks_an_anonymous_user_to_sign_in(path: str, provider: Provider, cameron: SiteClient) -> None:
    del cameron
    answer = provider.browser().get(address(path, provider))
    assert (answer.status_code, answer.location.partition("?")[0]) == (302, "/login")


@each_page
def test_page_is_not_shown_to_other_users(path: str, provider: Provider, cameron: SiteClient) -> None:
    answer = cameron.get(address(path, provider))
    assert answer.status_code == 403
    assert "Pickup Dispatch" not in answer.text


@each_form
@pytest.mark.parametrize("who", ["stranger", "cameron", "no CSRF token"])
def test_form_sent_without_permission_changes_nothing(
    path: str, who: str, provider: Provider, cameron: SiteClient
) -> None:
    browser = {"stranger": provider.browser(), "cameron": cameron}.get(who) or operator(provider)
    where, before = address(path, provider), state(provider)
    browser.get("/")  # has a form? then its token is taken
    browser.get("/oidc/logout")
    fields = {} if who == "no CSRF token" else {"csrf_token": browser.csrf_token or ""}
    answer = browser.post(where, data=fields)
    assert answer.status_code == {"stranger": 401, "cameron": 403, "no CSRF token": 400}[who]
    assert state(provider) == before
    assert not [event for event in provider.events() if event.detail.get("by")]


@pytest.mark.parametrize(
    "path",
    [
        "/applications/none", "/applications/none/edit", "/applications/none/remove", "/applications/none/secret",
        "/people/none", "/people/none/disable", "/people/none/remove", "/people/none/password", "/people/none/role",
        "/sessions/none", "/sessions/none/end", "/deliveries/none", "/applications/%00", "/people/%00", "/sessions/%00",
        "/deliveries/%00",
    ],
)  # fmt: skip
def test_unknown_object_returns_404(path: str, admin: SiteClient) -> None:
    answer = admin.get("/console" + path)
    assert answer.status_code == 404
    assert "There is nothing here" in answer.text


@pytest.mark.parametrize(
    "query", ["page=0", "page=-1", "page=x", "page=99999999999999999999", "page=2&_scheme=javascript"]
)
@pytest.mark.parametrize("path", ["applications", "people", "sessions", "deliveries"])
def test_any_page_number_is_accepted(path: str, query: str, admin: SiteClient) -> None:
    assert admin.get(f"/console/{path}?{query}").status_code == 200


@pytest.mark.thorough
@pytest.mark.parametrize("below", ["", "/op"], ids=["", "an issuer with a path"])
def test_every_console_link_works(below: str, own_settings: Settings, tmp_path: Path, network: Network) -> None:
    """Follows every link, page by page."""
    settings = make_settings(tmp_path, idp_url=own_settings.idp_url + below)
    app = prepared(idp_service.create_app(settings), settings.idp_url)
    network.add(settings.idp_url, app)
    apps = {DISPATCH: PaperApp(), MANAGER: PaperApp()}
    network.add(settings.dispatch_url, apps[DISPATCH])
    network.add(settings.manager_url, apps[MANAGER])
    provider = Provider(app, settings, network, apps)
    for username in ("cameron", "alex"):
        browser = provider.sign_in(username=username)
        provider.tokens(browser, MANAGER)
        provider.end_session(browser, id_token_hint=provider.tokens(browser)["id_token"])
        provider.tokens(provider.sign_in(username=username), MANAGER)
    admin = operator(provider, following=f"{below}/console")
    for gone in (f"{below}/console/applications/{MANAGER}/remove", f"{below}/console/people/{PEOPLE['alex']}/remove"):
        admin.get(gone)
        assert admin.submit(gone).status_code == 303
    to_visit, seen = [f"{below}/console"], set()
    while to_visit:
        path = to_visit.pop()
        page = admin.get(path)
        assert page.status_code == 200, path
        links = {html.unescape(link).partition("#")[0] for link in re.findall(r'(?:href|src)="(/[^"]*)"', page.text)}
        page.close()
        seen.add(path)
        to_visit += [link for link in links - seen - set(to_visit) if "/console" in link or "/static" in link]
    assert len(seen) > 40
    close(app)
