"""What a program sees and does: the same as an operator in the console."""

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
    """Cameron's one session."""
    (session,) = program.get(SESSIONS).get_json()
    return dict(session)


# --- accounts ---


def test_accounts_are_listed_and_searched(program: Program) -> None:
    """By user name."""
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


def test_a_session_tells_which_apps_share_it(program: Program) -> None:
    """Device, times, and what would become of each app's tokens."""
    row = program.provider.session()
    session = a_session(program)
    assert session == program.get(f"{SESSIONS}/{row.sid}").get_json()
    assert (session["id"], session["accountId"], session["createdAt"]) == (row.sid, CAMERON, row.created_at)
    apps = {app["clientId"]: app for app in session["apps"]}
    assert set(apps) == {DISPATCH, MANAGER}
    assert apps[MANAGER].items() >= {"told": True, "whyNot": "", "policy": "session", "accessTokens": 1}.items()


def test_an_app_that_is_not_told_says_why(program: Program) -> None:
    """The same sentence as in the console."""
    program.provider.change_client(MANAGER, backchannel_logout_uri=None)
    apps = {app["clientId"]: app for app in a_session(program)["apps"]}
    assert apps[MANAGER]["told"] is False
    assert apps[MANAGER]["whyNot"].endswith(".")
    assert apps[DISPATCH]["told"] is True


def test_ending_a_session_ends_it_everywhere(program: Program, cameron: SiteClient) -> None:
    """204 and empty; through the one door: tokens die, both apps are told, the reason is an operator's."""
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


def test_the_record_says_which_program_it_was(program: Program) -> None:
    """The client's id stands where an operator's name would."""
    program.delete(f"{SESSIONS}/{a_session(program)['id']}")
    by = [event.detail["by"] for event in program.provider.events() if "by" in event.detail]
    assert by == ["scripts"]


def test_a_session_ends_once(program: Program) -> None:
    """404 when it has ended already, however it did; it is not to be seen any more, either."""
    path = f"{SESSIONS}/{a_session(program)['id']}"
    assert program.delete(path).status_code == 204
    assert problem(program.delete(path), 404, "notFound")["entityName"] == "session"
    problem(program.get(path), 404, "notFound")
    assert len(program.provider.events("op.session.ended")) == 1


def test_a_session_is_its_accounts_only(program: Program) -> None:
    """Somebody else's path does not lead to it, and does not end it."""
    sid = a_session(program)["id"]
    path = f"{ACCOUNTS}/{ALEX}/sessions/{sid}"
    problem(program.get(path), 404, "notFound")
    problem(program.delete(path), 404, "notFound")
    assert program.provider.session().ended_at is None


def test_all_sessions_of_an_account_end_and_nobody_elses(program: Program) -> None:
    """204 also when there is none left: what was asked for is so. 404 only for nobody's account."""
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


def test_an_app_that_hangs_keeps_no_program_waiting(program: Program) -> None:
    """The answer comes after the set wait at most; the delivery stays in the ledger."""
    provider = program.provider
    provider.apps[MANAGER].status = 503
    assert program.delete(SESSIONS).status_code == 204
    eventually(lambda: len(program.get("/deliveries?state=pending").get_json()) == 1)


# --- clients ---


def test_clients_are_listed_without_their_secrets(program: Program) -> None:
    """All that is registered, and nothing that opens a door."""
    clients = {client["clientId"]: client for client in program.get("/clients").get_json()}
    assert set(clients) == {DISPATCH, MANAGER, "scripts"}
    assert clients[MANAGER] == program.get(f"/clients/{MANAGER}").get_json()
    assert clients[MANAGER]["backchannelLogoutUri"] == f"{program.provider.url(MANAGER)}/bclogout"
    assert [one["clientId"] for one in program.get("/clients?search=dispatch").get_json()] == [DISPATCH]


def test_no_answer_holds_a_secret_or_the_hash_of_one(program: Program) -> None:
    """Every path that can be read, against everything the tables keep to themselves."""
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
        assert not re.search(r'"\w*(hash|password|secret)"', answer.text, re.I), path


# --- deliveries ---


def test_deliveries_are_found_by_what_is_known_of_them(program: Program, clock: Clock) -> None:
    """Each filter by itself; together they narrow down."""
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


def test_one_delivery_tells_every_try(program: Program) -> None:
    """In the app's own words; the list leaves the tries out."""
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


def test_a_delivery_is_sent_again(program: Program) -> None:
    """202 with the entry as it is then; another token, so that it does not look like a replay."""
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


def test_a_delivery_that_has_nowhere_to_go_is_not_sent(program: Program) -> None:
    """409 with the reason; nothing changes."""
    program.delete(SESSIONS)
    eventually(lambda: len(program.get("/deliveries?state=delivered").get_json()) == 2)
    program.provider.change_client(MANAGER, backchannel_logout_uri=None)
    (told,) = program.get(f"/deliveries?clientId={MANAGER}").get_json()
    body = problem(program.call("POST", f"/deliveries/{told['id']}/redeliver"), 409, "conflict")
    assert body["entityName"] == "delivery"
    assert program.get(f"/deliveries?clientId={MANAGER}").get_json() == [told]


# --- page by page ---


def test_lists_come_page_by_page(program: Program) -> None:
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
def test_a_page_after_the_last_is_empty(path: str, program: Program) -> None:
    """And says where the last one is."""
    answer = program.get(f"{path}?page=1000000&size=200")
    assert answer.get_json() == []
    assert 'page=0&size=200>; rel="last"' in answer.headers["Link"]


def test_a_head_request_counts_without_fetching(program: Program) -> None:
    """RFC 9110 §9.3.2."""
    answer = program.call("HEAD", "/clients")
    assert (answer.status_code, answer.headers["X-Total-Count"], answer.data) == (200, "3", b"")


def test_the_links_keep_what_was_asked_for(program: Program) -> None:
    """Also what has to be escaped."""
    answer = program.get("/clients", query_string={"search": "p&ckup ü", "size": "1"})
    assert "search=p%26ckup+%C3%BC" in answer.headers["Link"]


def test_with_an_issuer_that_has_a_path_everything_is_below_it(tmp_path: Path) -> None:
    """Links, errors and the description, whatever the request's own Host says."""
    issuer = "https://op.example/tenant/a"
    addresses = {"dispatch_url": "https://d.example/x", "manager_url": "https://m.example/x"}
    app = idp_service.create_app(make_settings(tmp_path, idp_url=issuer, demo_plain_http=False, **addresses))
    browser = app.test_client()

    def get(path: str) -> Any:
        return browser.get(f"/tenant/a{PREFIX}{path}", base_url="http://10.0.0.1:9000").get_json()

    assert get("/openapi.json")["servers"] == [{"url": f"{issuer}{PREFIX}"}]
    assert get("/nothing")["path"] == f"/tenant/a{PREFIX}/nothing"
    close(app)


def test_the_description_is_for_everybody(provider: Provider) -> None:
    """It tells where a token is to be had; the apps' own pages do not change with it."""
    document = provider.browser().get(f"{PREFIX}/openapi.json").get_json()
    flow = document["components"]["securitySchemes"]["clientCredentials"]["flows"]["clientCredentials"]
    assert flow["tokenUrl"] == f"{provider.issuer}/oauth2/token"
    assert document["servers"] == [{"url": f"{provider.issuer}{PREFIX}"}]
