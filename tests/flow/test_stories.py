"""The main stories with all three services in one process: single sign-on, single logout, outages, attacks."""

import json
import re
from typing import Any

import pytest

import idp as idp_service
from idp.models import IDLE_SECONDS
from idp.outbox.ledger import LEASE_SECONDS
from tests.conftest import START, Clock, close, eventually, prepared
from tests.flow.conftest import BACK_CHANNEL_URI, Person, Pickup, is_login, replayed
from tests.network import Network, query_of
from tests.tokens import LOGOUT_EVENT, jws, read, rsa_key

APPS = ("dispatch", "manager")
TITLES = {"dispatch": "Pickup Dispatch", "manager": "Pickup Manager"}
both_ways = pytest.mark.parametrize(("here", "there"), [APPS, APPS[::-1]], ids=["dispatch-first", "manager-first"])


@pytest.fixture
def signed_in(cameron: Person) -> Person:
    """Cameron, signed in at Dispatch, with Manager open."""
    cameron.signs_in("dispatch")
    assert cameron.opens("manager").url.endswith("/profile")
    return cameron


# --- single sign-on ---


@both_ways
def test_second_app_needs_no_password_and_has_the_same_sid(
    here: str, there: str, pickup: Pickup, cameron: Person
) -> None:
    """RP-27, BCL-05: one session at the IdP, identified by one sid in both ID tokens."""
    cameron.signs_in(here)
    page = cameron.opens(there)
    assert not is_login(page)
    assert "Cameron Reyes" in page.text
    (session,) = pickup.sessions()
    assert cameron.sid_at(here) == cameron.sid_at(there) == session.sid
    sids = {read(pickup.login_of(name)["id_token"])[1]["sid"] for name in APPS}
    assert sids == {session.sid}


def test_login_redirects_to_the_page_of_the_app(pickup: Pickup, cameron: Person) -> None:
    """RP-28: with its query."""
    cameron.opens("manager", "/drivers?sort=name")
    page = cameron.browser.submit("/login", username="cameron", password="correct horse")
    assert page.url == pickup.url("manager") + "/drivers?sort=name"


def test_wrong_password_does_not_sign_in(cameron: Person) -> None:
    """The next attempt on the same page succeeds."""
    cameron.opens("dispatch")
    page = cameron.browser.submit("/login", username="cameron", password="wrong")
    assert "Wrong username or password" in page.text
    assert not cameron.is_signed_in_at("dispatch")
    cameron.browser.submit("/login", username="cameron", password="correct horse")
    assert cameron.is_signed_in_at("dispatch")


# --- single logout ---


@both_ways
def test_logout_at_one_app_ends_the_other(here: str, there: str, pickup: Pickup, signed_in: Person) -> None:
    """BCL §2.7: the user did nothing there; the open tab gets the reason; the old cookie is anonymous."""
    sid, cookie = signed_in.sid_at(there), signed_in.cookie_of(there)
    page = signed_in.logs_out_of(here)
    assert page.url.startswith(pickup.url(here) + "/logged-out")
    assert "was asked to end the shared session and to notify the other apps." in page.text
    told = {"signed_in": False, "reason": f"You logged out of {TITLES[here]}.", "at": START, "by_logout_token": True}
    assert signed_in.status_at(there) == told
    assert replayed(pickup, there, cookie) == told
    (event,) = pickup.events(there, "rp.logout_token.accepted")
    assert (event["sid"], event["outcome"]) == (sid, "1 ended")
    assert event["detail"]["cookie_sent"] is False, "the IdP sent it, not the browser"
    assert "Pickup-IdP" in event["detail"]["user_agent"]
    assert pickup.sessions() == []


@both_ways
def test_control_other_app_stays_signed_in_without_the_back_channel(
    here: str, there: str, pickup: Pickup, signed_in: Person
) -> None:
    """The same steps without the back channel, which shows that it ends the session."""
    pickup.cli(f"pickup-{there}", "backchannel_logout_uri", "")
    signed_in.logs_out_of(here)
    assert signed_in.is_signed_in_at(there)
    assert pickup.deliveries()[f"pickup-{there}"] == "not_sent"
    uri = f"{pickup.url(there).rpartition('/')[0]}/{BACK_CHANNEL_URI[there]}"
    pickup.cli(f"pickup-{there}", "backchannel_logout_uri", uri)
    signed_in.signs_in(here)
    signed_in.opens(there, "/login")
    signed_in.logs_out_of(here)
    assert not signed_in.is_signed_in_at(there)


@both_ways
def test_logged_out_page_links_to_the_idps_list_of_apps(
    here: str, there: str, network: Network, pickup: Pickup, signed_in: Person
) -> None:
    """BCL-34: only the IdP knows."""
    network.answer(f"{pickup.url(there)}/bclogout", 503)
    page = signed_in.logs_out_of(here)
    link = re.search(r'href="([^"]+)">See which apps confirmed the logout<', page.html)
    assert link
    told = signed_in.browser.open(link[1])
    assert f"Not notified yet: {TITLES[there]}." in told.text


def test_logout_at_the_idp_ends_both(pickup: Pickup, signed_in: Person) -> None:
    """RPL-18, RPL-28: without an app's hint the user is asked; "no" changes nothing, "yes" ends both."""
    signed_in.browser.open(pickup.url("idp") + "/oidc/logout")
    signed_in.browser.submit("/confirm", answer="no")
    assert signed_in.is_signed_in_at("dispatch")
    signed_in.browser.open(pickup.url("idp") + "/oidc/logout")
    signed_in.browser.submit("/confirm", answer="yes")
    for name in APPS:
        assert signed_in.status_at(name)["reason"] == "You logged out at the identity provider (IdP)."


def test_both_apps_ask_for_the_password_after_the_logout(signed_in: Person) -> None:
    """BCL-36: the next session has another sid."""
    before = signed_in.sid_at("dispatch")
    signed_in.logs_out_of("dispatch")
    for name in APPS:
        assert is_login(signed_in.opens(name))
    signed_in.signs_in("manager")
    assert signed_in.sid_at("manager") != before


def test_next_user_sees_no_data_of_the_previous_one(signed_in: Person) -> None:
    """In both apps, whichever of them the first user had opened."""
    signed_in.logs_out_of("dispatch")
    signed_in.signs_in("dispatch", "alex")
    for name in APPS:
        page = signed_in.opens(name)
        assert "Alex Okafor" in page.text
        assert "Cameron" not in page.html


def test_other_user_signing_in_ends_the_first_users_sessions(pickup: Pickup, signed_in: Person, clock: Clock) -> None:
    """BCL-06: in the same browser, without a logout: Manager's tab must not continue as Cameron's."""
    clock.turn(60)
    url = signed_in.browser.client.get(pickup.url("dispatch") + "/login").location
    signed_in.browser.open(url + "&prompt=login")
    signed_in.browser.submit("/login", username="alex", password="correct horse")
    assert "Alex Okafor" in signed_in.opens("dispatch").text
    assert signed_in.status_at("manager")["reason"] == "A different user signed in with this browser."
    assert "Alex Okafor" in signed_in.opens("manager").text


# --- other sessions ---


def test_two_browsers_of_one_user_have_two_sessions(pickup: Pickup, signed_in: Person) -> None:
    """BCL-54: only the session with that sid ends."""
    at_home = Person(pickup).signs_in("dispatch")
    at_home.opens("manager")
    signed_in.logs_out_of("dispatch")
    assert not signed_in.is_signed_in_at("manager")
    assert at_home.is_signed_in_at("dispatch")
    assert at_home.is_signed_in_at("manager")


def test_other_users_stay_signed_in(pickup: Pickup, signed_in: Person) -> None:
    """BCL-54."""
    alex = Person(pickup).signs_in("manager", "alex")
    signed_in.logs_out_of("manager")
    assert alex.is_signed_in_at("manager")
    assert "Alex Okafor" in alex.opens("manager").text


# --- outages ---


@pytest.mark.parametrize("fault", ["refuse", "time_out"])
def test_unreachable_manager_is_notified_later_without_delaying_the_user(
    fault: str, pickup: Pickup, signed_in: Person, clock: Clock
) -> None:
    """The user is logged out and back at Dispatch; when Manager is up again, the logout arrives."""
    cookie = signed_in.cookie_of("manager")
    getattr(pickup.network, fault)(pickup.url("manager") + "/bclogout")
    page = signed_in.logs_out_of("dispatch")
    assert "/logged-out" in page.url
    assert replayed(pickup, "manager", cookie)["signed_in"], "it has not been notified yet"
    pickup.network.heal(pickup.url("manager") + "/bclogout")
    clock.turn(2)
    pickup.idp.background.poll()
    eventually(lambda: not replayed(pickup, "manager", cookie)["signed_in"])


def test_restarted_idp_sends_logouts_of_the_killed_process(
    pickup: Pickup, signed_in: Person, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the ending and the delivery; the next process sends what was recorded."""
    cookie = signed_in.cookie_of("manager")
    monkeypatch.setattr(pickup.idp.outbox, "send", lambda _ids: None)  # … it was killed before sending
    signed_in.logs_out_of("dispatch")
    assert replayed(pickup, "manager", cookie)["signed_in"]
    started_again = prepared(idp_service.create_app(pickup.settings), pickup.settings.idp_url)
    pickup.network.add(pickup.settings.idp_url, started_again)
    clock.turn(LEASE_SECONDS)
    started_again.extensions["idp"].background.poll()
    eventually(lambda: not replayed(pickup, "manager", cookie)["signed_in"])
    close(started_again)


def test_expired_session_of_the_idp_ends_in_the_apps(pickup: Pickup, signed_in: Person, clock: Clock) -> None:
    """Without any click; using the apps alone does not extend the session at the IdP."""
    for _ in range(IDLE_SECONDS // 1200):
        clock.turn(1200)
        assert not signed_in.opens("manager").came_by, "the app is used without asking the IdP"
    pickup.idp.background.poll()
    eventually(lambda: not signed_in.is_signed_in_at("manager"))
    assert signed_in.status_at("manager")["reason"] == "Your session expired because it was not used for a while."


# --- forged tokens ---


def manager_token(pickup: Pickup, header: dict[str, Any] | None = None, **claims: Any) -> str:
    """A logout token for Manager, with the IdP's real signature unless ``header`` differs."""
    session = pickup.sessions()[0]
    whole = {
        "iss": pickup.settings.idp_url,
        "aud": "pickup-manager",
        "iat": START,
        "exp": START + 120,
        "jti": "a jti",
        "events": {LOGOUT_EVENT: {}},
        "sub": session.sub,
        "sid": session.sid,
        **claims,
    }
    whole = {name: value for name, value in whole.items() if value is not ...}
    if header:
        return jws(header, whole, rsa_key("first") if header["alg"] == "RS256" else None)
    return pickup.idp.keys.sign(whole, alg="RS256", typ="logout+jwt")


FORGED: dict[str, dict[str, Any]] = {
    "V14-alg-none": {"header": {"alg": "none"}},
    "V17-wrong-signature": {"header": {"alg": "RS256"}},
    "V21-wrong-audience": {"aud": "pickup-dispatch"},
    "V07-event-for-events": {"events": ..., "event": {LOGOUT_EVENT: {}}},
    "V13-with-a-nonce": {"nonce": "n"},
    "V24-expired": {"iat": START - 500, "exp": START - 100},
}


@pytest.mark.parametrize("forgery", FORGED)
def test_forged_token_is_rejected_and_manager_stays_signed_in(forgery: str, pickup: Pickup, signed_in: Person) -> None:
    """400, and nothing changes; with the one error corrected, the session ends."""
    client, url = signed_in.browser.client, pickup.url("manager") + "/bclogout"
    response = client.post(url, data={"logout_token": manager_token(pickup, **FORGED[forgery])})
    assert response.status_code == 400
    assert signed_in.is_signed_in_at("manager")
    assert client.post(url, data={"logout_token": manager_token(pickup)}).status_code == 200  # control
    assert not signed_in.is_signed_in_at("manager")


def test_used_token_is_rejected(pickup: Pickup, signed_in: Person) -> None:
    """V25: an attacker who recorded the IdP's token cannot use it for the next session."""
    signed_in.logs_out_of("dispatch")
    url = pickup.url("manager") + "/bclogout"
    (recorded,) = pickup.network.logout_tokens(url)
    signed_in.signs_in("manager")
    response = signed_in.browser.client.post(url, data={"logout_token": recorded})
    assert (response.status_code, response.get_json()["error"]) == (400, "invalid_request")
    assert signed_in.is_signed_in_at("manager")


# --- tokens ---


def test_logout_revokes_the_access_token_at_managers_api(pickup: Pickup, signed_in: Person) -> None:
    """Policy session: Dispatch's access token is invalid immediately."""
    token = pickup.login_of("dispatch")["access_token"]
    assert pickup.ask_fleet(token).status_code == 200
    signed_in.logs_out_of("dispatch")
    response = pickup.ask_fleet(token)
    assert response.status_code == 401
    assert "invalid_token" in response.headers["WWW-Authenticate"]


def test_policy_none_keeps_the_token_and_sends_no_logout_request(pickup: Pickup, signed_in: Person) -> None:
    """This one setting switches off both, for that client only."""
    for name in APPS:
        pickup.cli(f"pickup-{name}", "delete_tokens_on_logout", "none")
    token = pickup.login_of("dispatch")["access_token"]
    signed_in.logs_out_of("dispatch")
    assert pickup.ask_fleet(token).status_code == 200
    assert not pickup.network.to(pickup.url("manager") + "/bclogout")
    assert signed_in.is_signed_in_at("manager")


def test_dispatch_reads_drivers_with_the_users_token(pickup: Pickup, signed_in: Person) -> None:
    """Manager introspects it at the IdP; without the scope it rejects the request."""
    page = signed_in.opens("dispatch", "/")
    assert "Tiger Nixon" in page.html
    (asked,) = pickup.network.to(pickup.url("manager") + "/api/drivers")
    assert asked.request.headers["Authorization"] == f"Bearer {pickup.login_of('dispatch')['access_token']}"
    assert len(pickup.network.to(pickup.url("idp") + "/oauth2/introspect")) == 1
    assert pickup.ask_fleet(pickup.login_of("manager")["access_token"]).status_code == 403


# --- secrets ---


def test_logs_and_events_contain_no_secret(
    pickup: Pickup, cameron: Person, capfd: pytest.CaptureFixture[str], clock: Clock
) -> None:
    """BCL-70, TRAP-05: sign in, single sign-on, a refresh, a rejected token, a logout with a retry: no token, no code,
    no cookie, no password and no client secret in any log line or event, and neither a state nor a verifier.
    """
    cameron.signs_in("dispatch")
    cameron.opens("manager")
    cookies = [cameron.cookie_of(name) for name in APPS] + [
        str(cameron.browser.cookie("pickup_idp_session", pickup.url("idp") + "/"))
    ]
    clock.turn(590)
    cameron.opens("dispatch", "/")
    tokens = [pickup.login_of(name)[kind] for name in APPS for kind in ("access_token", "refresh_token", "id_token")]
    spoilt = manager_token(pickup, aud="nobody")
    cameron.browser.client.post(pickup.url("manager") + "/bclogout", data={"logout_token": spoilt})
    pickup.network.refuse(pickup.url("manager") + "/bclogout")
    page = cameron.logs_out_of("dispatch")
    pickup.network.heal(pickup.url("manager") + "/bclogout")
    clock.turn(5)
    pickup.idp.background.poll()
    eventually(lambda: pickup.deliveries()["pickup-manager"] == "delivered")

    logged = "".join(capfd.readouterr())
    told = json.dumps([event.as_dict() for event in pickup.all_events()])
    assert "op.logout.retrying" in logged, "the log is not empty"
    assert "rp.logout_token.rejected" in told, "events were recorded"

    values = [*tokens, *cookies, spoilt, query_of(page.url)["state"]]
    for exchange in pickup.network.exchanges:
        form = exchange.request.form
        for name in ("code", "code_verifier", "refresh_token", "token", "logout_token"):
            values += form.get(name, [])
        values.append(exchange.request.headers.get("Authorization", "none").partition(" ")[2] or "unused value")
    for kind in ("dispatch", "manager"):
        values.append(getattr(pickup.settings, f"{kind}_client_secret").get_secret_value())
    values += [pickup.settings.secret_key.get_secret_value(), "correct horse"]
    secrets = {part for value in values for part in (value, value.rpartition(".")[2])}
    assert len(secrets) > 25
    assert not [secret for secret in secrets if secret in logged], "in the log"
    assert not [secret for secret in secrets if secret in told], "in the events"


def test_databases_contain_no_usable_credential(pickup: Pickup, cameron: Person) -> None:
    """After single sign-on, no service's disk has a token, cookie, private key or signature of one."""
    cameron.signs_in("dispatch")
    cameron.opens("manager")
    values = [pickup.login_of(name)[kind] for name in APPS for kind in ("access_token", "refresh_token", "id_token")]
    values += [cameron.cookie_of(name) for name in APPS]
    values.append(str(cameron.browser.cookie("pickup_idp_session", pickup.url("idp") + "/")))
    values += [str(key["d"]) for key in private_keys(pickup)]
    files = [path.read_bytes() for path in pickup.settings.data_dir.glob("*.db*")]
    secrets = {part for value in values for part in (value, value.rpartition(".")[2])}
    assert len(secrets) > 12
    assert not [secret for secret in secrets if any(secret.encode() in content for content in files)]


def private_keys(pickup: Pickup) -> list[dict[str, Any]]:
    """The IdP's keys, as JWKs."""
    return [loaded.key.as_dict(private=True) for loaded in pickup.idp.keys._keys()]
