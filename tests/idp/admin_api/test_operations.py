"""A service client has the same view and operations as an operator in the console."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import idp as idp_service
from idp.models import Client, Delivery, SigningKey, SsoSession, Token, User
from tests.conftest import Clock, SiteClient, close, eventually, make_settings
from tests.idp.admin_api.conftest import ACCOUNT, ALEX, CAMERON, PREFIX, SECRET, SESSIONS, Program, problem
from tests.idp.conftest import DISPATCH, MANAGER, Provider

ACCOUNTS = "/identityStores/people/accounts"


def a_session(program: Program) -> dict[str, Any]:
    """Cameron's only session."""
    (session,) = program.get(SESSIONS).get_json()
    return dict(session)


# --- accounts ---


def test_accounts_can_be_listed_and_searched(program: Program) -> None:
    """By username."""
    assert [one["username"] for one in program.get(ACCOUNTS).get_json()] == ["admin", "alex", "cameron"]
    (found,) = program.get(f"{ACCOUNTS}?search=reyes").get_json()
    assert found == program.get(ACCOUNT).get_json()
    assert found == {
        "id": CAMERON,
        "username": "cameron",
        "name": "Cameron Reyes",
        "email": "cameron@pickup.example",
        "emailVerified": True,
        "role": "user",
        "disabledAt": None,
    }
    assert program.get(f"{ACCOUNTS}?search=%00").get_json() == []
    (unverified,) = program.get(f"{ACCOUNTS}?search=okafor").get_json()
    assert unverified["emailVerified"] is False


# --- sessions ---


def test_session_lists_its_apps(program: Program) -> None:
    """Device, times, and what the logout would do to each app's tokens."""
    row = program.provider.session()
    session = a_session(program)
    assert session == program.get(f"{SESSIONS}/{row.sid}").get_json()
    assert (session["id"], session["accountId"], session["createdAt"]) == (row.sid, CAMERON, row.created_at)
    apps = {app["clientId"]: app for app in session["apps"]}
    assert set(apps) == {DISPATCH, MANAGER}
    assert apps[MANAGER].items() >= {"told": True, "whyNot": "", "policy": "session", "accessTokens": 1}.items()


def test_app_that_is_not_notified_has_the_reason(program: Program) -> None:
    """The same sentence as in the console."""
    program.provider.change_client(MANAGER, backchannel_logout_uri=None)
    apps = {app["clientId"]: app for app in a_session(program)["apps"]}
    assert apps[MANAGER]["told"] is False
    assert apps[MANAGER]["whyNot"].endswith(".")
    assert apps[DISPATCH]["told"] is True


def test_ended_session_ends_in_all_apps(program: Program, cameron: SiteClient) -> None:
    """204 and empty; tokens are revoked, both apps are notified, the reason is an operator's."""
    provider = program.provider
    sid = a_session(program)["id"]
    answer = program.delete(f"{SESSIONS}/{sid}")
    assert (answer.status_code, answer.data) == (204, b"")
    assert provider.session().end_reason == "operator"
    assert all(token.revoked_at for token in provider.rows(Token) if token.sid == sid)
    eventually(lambda: len(provider.events("op.logout.delivered")) == 2)
    for client_id in (DISPATCH, MANAGER):
        (claims,) = provider.logout_tokens(client_id)
        assert claims["sid"] == sid
    assert {row.reason for row in provider.rows(Delivery)} == {"An operator ended your session."}
    assert provider.authorize(cameron).status_code == 200, "the browser is asked for the password"


def test_record_names_the_service_client(program: Program) -> None:
    """The client id is in the place of an operator's name."""
    program.delete(f"{SESSIONS}/{a_session(program)['id']}")
    by = [event.detail["by"] for event in program.provider.events() if "by" in event.detail]
    assert by == ["scripts"]


def test_session_can_be_ended_once(program: Program) -> None:
    """404 if it has ended before, for any reason; it can no longer be read either."""
    path = f"{SESSIONS}/{a_session(program)['id']}"
    assert program.delete(path).status_code == 204
    assert problem(program.delete(path), 404, "notFound")["entityName"] == "session"
    problem(program.get(path), 404, "notFound")
    assert len(program.provider.events("op.session.ended")) == 1


def test_session_is_found_only_under_its_account(program: Program) -> None:
    """Another account's path neither finds nor ends it."""
    sid = a_session(program)["id"]
    path = f"{ACCOUNTS}/{ALEX}/sessions/{sid}"
    problem(program.get(path), 404, "notFound")
    problem(program.delete(path), 404, "notFound")
    assert program.provider.session().ended_at is None


def test_ending_all_sessions_affects_only_that_account(program: Program) -> None:
    """204 also if no session is left. 404 only for an unknown account."""
    provider = program.provider
    provider.sign_in()
    provider.sign_in(username="alex")
    assert len(program.get(SESSIONS).get_json()) == 2
    answer = program.delete(SESSIONS)
    assert (answer.status_code, answer.data) == (204, b"")
    assert program.get(SESSIONS).get_json() == []
    assert [row.sub for row in provider.rows(SsoSession) if row.ended_at is None] == [ALEX]
    assert program.delete(SESSIONS).status_code == 204
    problem(program.delete(f"{ACCOUNTS}/nobody/sessions"), 404, "notFound")


def test_hanging_app_does_not_delay_the_response(program: Program) -> None:
    """The response comes after at most the configured wait; the delivery stays in the ledger."""
    provider = program.provider
    provider.apps[MANAGER].status = 503
    assert program.delete(SESSIONS).status_code == 204
    eventually(lambda: len(program.get("/deliveries?state=pending").get_json()) == 1)


# --- clients ---


def test_clients_are_listed_without_their_secrets(program: Program) -> None:
    """The whole registration, without credentials."""
    clients = {client["clientId"]: client for client in program.get("/clients").get_json()}
    assert set(clients) == {DISPATCH, MANAGER, "pickup-practice", "scripts"}
    assert clients[MANAGER] == program.get(f"/clients/{MANAGER}").get_json()
    assert clients[MANAGER]["backchannelLogoutUri"] == f"{program.provider.url(MANAGER)}/bclogout"
    assert [one["clientId"] for one in program.get("/clients?search=dispatch").get_json()] == [DISPATCH]


def test_no_response_contains_a_secret_or_its_hash(program: Program) -> None:
    """Every readable path, compared with every secret column of the tables."""
    provider = program.provider
    delivered = program.delete(f"{SESSIONS}/{a_session(program)['id']}")
    assert delivered.status_code == 204
    provider.sign_in()
    kept = {SECRET, str(program.token), provider.secret(DISPATCH), provider.secret(MANAGER)}
    kept |= {client.secret_hash for client in provider.rows(Client) if client.secret_hash}
    kept |= {user.password_hash for user in provider.rows(User)}
    kept |= {session.cookie_hash for session in provider.rows(SsoSession)}
    kept |= {value for token in provider.rows(Token) for value in (token.access_hash, token.refresh_hash) if value}
    kept |= {str(key.private_jwk["encrypted"]) for key in provider.rows(SigningKey)}
    kept |= {str(loaded.key.as_dict(private=True)["d"]) for loaded in provider.state.keys._keys()}
    delivery = program.get("/deliveries").get_json()[0]["id"]
    paths = [ACCOUNTS, ACCOUNT, SESSIONS, f"{SESSIONS}/{a_session(program)['id']}", "/clients", f"/clients/{MANAGER}"]
    for path in [*paths, "/deliveries", f"/deliveries/{delivery}", "/openapi.json"]:
        answer = program.get(path)
        assert answer.status_code == 200, path
        assert [value for value in kept if value in answer.text] == [], path
        if path != "/openapi.json":  # it describes requests, too
            assert not re.search(r'"\w*(hash|password|secret)"', answer.text, re.I), path


# --- deliveries ---


def test_deliveries_can_be_filtered(program: Program, clock: Clock) -> None:
    """Each filter alone, and combined."""
    sid = a_session(program)["id"]
    program.provider.apps[MANAGER].status = 401
    program.delete(f"{SESSIONS}/{sid}")
    eventually(lambda: len(program.get("/deliveries?state=pending").get_json()) == 0)

    def found(query: str) -> list[str]:
        return sorted(one["clientId"] for one in program.get(f"/deliveries?{query}").get_json())

    both = [DISPATCH, MANAGER]
    at = int(clock())
    assert found("") == found(f"sessionId={sid}") == found(f"accountId={CAMERON}") == found(f"since={at}") == both
    assert found("state=refused") == found(f"clientId={MANAGER}") == found("outcome=refused") == [MANAGER]
    assert found("state=delivered") == [DISPATCH]
    assert found(f"until={at}") == found(f"since={at + 1}") == found(f"accountId={ALEX}") == found("sessionId=x") == []
    assert found(f"state=refused&clientId={DISPATCH}") == found("clientId=%00") == []


def test_delivery_lists_every_attempt(program: Program) -> None:
    """With the app's own text; the list omits the attempts."""
    refusal = '{"error": "invalid_request", "error_description": "no such session"}'
    program.provider.apps[MANAGER].status, program.provider.apps[MANAGER].body = 401, refusal
    program.delete(SESSIONS)
    eventually(lambda: len(program.get("/deliveries?state=refused").get_json()) == 1)
    (listed,) = program.get("/deliveries?state=refused").get_json()
    one = program.get(f"/deliveries/{listed['id']}").get_json()
    (attempt,) = one.pop("attempts")
    assert one == listed
    assert (one["clientName"], one["username"], one["state"]) == ("Pickup Manager", "cameron", "refused")
    assert (attempt["outcome"], attempt["status"]) == ("refused", 401)
    assert attempt["answer"] == "invalid_request: no such session"


def test_delivery_can_be_resent(program: Program) -> None:
    """202 with the current entry; a new token, so that it does not look like a replay."""
    provider = program.provider
    provider.apps[MANAGER].status = 401
    program.delete(SESSIONS)
    eventually(lambda: len(program.get("/deliveries?state=refused").get_json()) == 1)
    (refused,) = program.get("/deliveries?state=refused").get_json()
    provider.apps[MANAGER].status = 200
    answer = program.call("POST", f"/deliveries/{refused['id']}/redeliver")
    assert answer.status_code == 202
    assert [attempt["outcome"] for attempt in answer.get_json()["attempts"]] == ["refused", "delivered"]
    first, second = provider.logout_tokens(MANAGER)
    assert first["jti"] != second["jti"]
    assert first["sid"] == second["sid"]


def test_delivery_without_an_address_is_not_resent(program: Program) -> None:
    """409 with the reason; nothing changes."""
    program.delete(SESSIONS)
    eventually(lambda: len(program.get("/deliveries?state=delivered").get_json()) == 2)
    program.provider.change_client(MANAGER, backchannel_logout_uri=None)
    (told,) = program.get(f"/deliveries?clientId={MANAGER}").get_json()
    body = problem(program.call("POST", f"/deliveries/{told['id']}/redeliver"), 409, "conflict")
    assert body["entityName"] == "delivery"
    assert program.get(f"/deliveries?clientId={MANAGER}").get_json() == [told]


# --- page by page ---


def test_lists_are_paged(program: Program) -> None:
    """The items in the body, how many in X-Total-Count, the other pages in Link (RFC 8288)."""
    seen, path, relations = [], f"{ACCOUNTS}?size=1&search=a", []
    for _ in range(3):
        answer = program.get(path)
        assert answer.headers["X-Total-Count"] == "3"
        seen += [one["username"] for one in answer.get_json()]
        links = {relation: url for url, relation in re.findall(r'<([^>]+)>; rel="(\w+)"', answer.headers["Link"])}
        relations.append(sorted(links))
        assert all(url.startswith(f"{program.provider.issuer}{PREFIX}/") for url in links.values())
        parts = urlsplit(links.get("next", links["last"]))
        path = f"{parts.path.removeprefix(PREFIX)}?{parts.query}"
    assert seen == ["admin", "alex", "cameron"]
    assert relations == [["first", "last", "next"], ["first", "last", "next", "prev"], ["first", "last", "prev"]]


@pytest.mark.parametrize("path", [ACCOUNTS, SESSIONS, "/clients", "/deliveries"])
def test_page_after_the_last_is_empty(path: str, program: Program) -> None:
    """With the number of the last page."""
    answer = program.get(f"{path}?page=1000000&size=200")
    assert answer.get_json() == []
    assert 'page=0&size=200>; rel="last"' in answer.headers["Link"]


def test_head_request_returns_the_count(program: Program) -> None:
    """RFC 9110 §9.3.2."""
    answer = program.call("HEAD", "/clients")
    assert (answer.status_code, answer.headers["X-Total-Count"], answer.data) == (200, "4", b"")


def test_links_keep_the_query(program: Program) -> None:
    """Including values that must be escaped."""
    answer = program.get("/clients", query_string={"search": "p&ckup ü", "size": "1"})
    assert "search=p%26ckup+%C3%BC" in answer.headers["Link"]


def test_issuer_with_a_path_prefixes_every_url(tmp_path: Path) -> None:
    """Links, errors and the description, whatever the request's Host header."""
    issuer = "https://op.example/tenant/a"
    addresses = {"dispatch_url": "https://d.example/x", "manager_url": "https://m.example/x"}
    app = idp_service.create_app(make_settings(tmp_path, idp_url=issuer, demo_plain_http=False, **addresses))
    browser = app.test_client()

    def get(path: str) -> Any:
        return browser.get(f"/tenant/a{PREFIX}{path}", base_url="http://10.0.0.1:9000").get_json()

    assert get("/openapi.json")["servers"] == [{"url": f"{issuer}{PREFIX}"}]
    assert get("/nothing")["path"] == f"/tenant/a{PREFIX}/nothing"
    close(app)


def test_description_is_public(provider: Provider) -> None:
    """It says where to get a token; the apps' pages are unaffected."""
    document = provider.browser().get(f"{PREFIX}/openapi.json").get_json()
    flow = document["components"]["securitySchemes"]["clientCredentials"]["flows"]["clientCredentials"]
    assert flow["tokenUrl"] == f"{provider.issuer}/oauth2/token"
    assert document["servers"] == [{"url": f"{provider.issuer}{PREFIX}"}]
