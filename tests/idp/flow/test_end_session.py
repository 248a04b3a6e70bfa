"""RP-Initiated Logout 1.0: the decision table of requirements 2.4, one case per row, and related behaviour."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pytest
from werkzeug.test import TestResponse

from idp.logged_out import SHOWN_SECONDS
from idp.models import IDLE_SECONDS, SigningKey, SsoSession
from idp.sign_in.sso_session import ABSOLUTE_SECONDS, COOKIE
from tests.conftest import START, Clock, SiteClient, settle
from tests.idp.conftest import DISPATCH, MANAGER, Provider, hidden
from tests.network import query_of
from tests.reading import words
from tests.tokens import b64, jws, read, rsa_key, unb64

OUT = "You are logged out"
Hint = Callable[[Provider, SiteClient, Clock], str | None]


def is_alive(provider: Provider, browser: SiteClient) -> bool:
    """RPL-32: whether an app still gets a code without a page."""
    return "code" in query_of(provider.authorize(browser, prompt="none").location)


# --- kinds of hints ---


def own(provider: Provider, browser: SiteClient, _clock: Clock) -> str:
    """An ID token of this session."""
    return str(provider.tokens(browser)["id_token"])


def expired(provider: Provider, browser: SiteClient, clock: Clock) -> str:
    """The same, two hours ago: RPL-13."""
    token = own(provider, browser, clock)
    for _ in range(2):
        clock.turn(3600)
        browser.get("/")
    return token


def of_another_user(provider: Provider, _browser: SiteClient, _clock: Clock) -> str:
    """RPL-16."""
    return str(provider.tokens(provider.sign_in(username="alex"))["id_token"])


def of_an_old_session(provider: Provider, _browser: SiteClient, _clock: Clock) -> str:
    """RPL-15: of the same user's previous session, which has ended."""
    browser = provider.sign_in()
    token = provider.tokens(browser)["id_token"]
    provider.end_session(browser, id_token_hint=token)
    return str(token)


def forged(change: Callable[[dict[str, Any], dict[str, Any], Provider], str]) -> Hint:
    """An ID token of this session, altered."""

    def build(provider: Provider, browser: SiteClient, clock: Clock) -> str:
        header, claims = read(own(provider, browser, clock))
        return change(header, claims, provider)

    return build


def signed_by_us(header: dict[str, Any], claims: dict[str, Any], provider: Provider) -> str:
    """Any content, with the IdP's own signature."""
    return provider.state.keys.sign(claims, alg="RS256", typ=header["typ"])


def none(*_: object) -> None:
    """No hint."""


FORGED: dict[str, Hint] = {
    "RPL-12-alg-none": forged(lambda header, claims, _: jws({**header, "alg": "none"}, claims, None)),
    "RPL-12-no-signature": forged(lambda header, claims, _: jws(header, claims, None)),
    "RPL-12-HS256": forged(lambda header, claims, _: jws({**header, "alg": "HS256"}, claims, b"secret")),
    "RPL-12-client-secret": forged(
        lambda header, claims, p: jws({**header, "alg": "HS256"}, claims, p.secret(DISPATCH).encode())
    ),
    "RPL-12-another-key": forged(lambda header, claims, _: jws(header, claims, rsa_key("first"))),
    "RPL-11-other-issuer": forged(lambda h, claims, p: signed_by_us(h, {**claims, "iss": "https://other.example"}, p)),
    "RPL-17-a-logout-token": forged(lambda h, claims, p: signed_by_us({**h, "typ": "logout+jwt"}, claims, p)),
    "RPL-17-an-access-token": forged(lambda h, claims, p: signed_by_us({**h, "typ": "at+jwt"}, claims, p)),
    "RPL-17-events-in-it": forged(lambda h, claims, p: signed_by_us(h, {**claims, "events": {}}, p)),
    "RPL-11-changed": forged(lambda _, __, ___: "a.b.c"),
    "RPL-11-no-jwt": lambda *_: "garbage",
    "RPL-11-encrypted": lambda *_: "a.b.c.d.e",
}


# --- the table ---


@dataclass(frozen=True)
class Row:
    """A row of the decision table. ``result``: out-and-redirect, out, error, ask-and-redirect, ask, redirect, page."""

    id: str
    hint: Hint
    client_id: str | None
    uri: str | None
    session: bool
    result: str


EXACT, OTHER_URI = "{url}/logged-out", "https://evil.example/"
TABLE = [
    Row("own-hint_no-client_exact-uri", own, None, EXACT, True, "out-and-redirect"),
    Row("own-hint_equal-client_exact-uri", own, DISPATCH, EXACT, True, "out-and-redirect"),
    Row("own-hint_other-client_exact-uri", own, MANAGER, EXACT, True, "error"),
    Row("own-hint_unknown-client_exact-uri", own, "unknown", EXACT, True, "error"),
    Row("own-hint_other-client_no-session", own, MANAGER, EXACT, False, "error"),
    Row("own-hint_uri-not-registered", own, None, OTHER_URI, True, "error"),
    Row("own-hint_uri-with-query-added", own, None, EXACT + "?a=b", True, "error"),
    Row("own-hint_uri-with-slash-added", own, None, EXACT + "/", True, "error"),
    Row("own-hint_no-uri", own, None, None, True, "out"),
    Row("own-hint_equal-client_no-uri", own, DISPATCH, None, True, "out"),
    Row("expired-hint_exact-uri", expired, None, EXACT, True, "out-and-redirect"),
    Row("expired-hint_no-uri", expired, None, None, True, "out"),
    Row("other-users-hint_exact-uri", of_another_user, None, EXACT, True, "ask-and-redirect"),
    Row("other-users-hint_no-uri", of_another_user, None, None, True, "ask"),
    Row("old-sid-hint_exact-uri", of_an_old_session, None, EXACT, True, "ask-and-redirect"),
    Row("own-hint_exact-uri_no-session", own, None, EXACT, False, "redirect"),
    Row("own-hint_no-uri_no-cookie", own, None, None, False, "nothing-ended"),
    Row("ended-hint_no-uri_no-session", of_an_old_session, None, None, False, "page"),
    *(Row(f"forged-hint_{name}", hint, None, EXACT, True, "error") for name, hint in FORGED.items()),
    Row("forged-hint_no-session", FORGED["RPL-12-alg-none"], None, EXACT, False, "error"),
    Row("forged-hint_known-client", FORGED["RPL-12-alg-none"], DISPATCH, EXACT, True, "error"),
    Row("no-hint_known-client_exact-uri", none, DISPATCH, EXACT, True, "ask-and-redirect"),
    Row("no-hint_known-client_uri-not-registered", none, DISPATCH, OTHER_URI, True, "error"),
    Row("no-hint_known-client_no-uri", none, DISPATCH, None, True, "ask"),
    Row("no-hint_known-client_exact-uri_no-session", none, DISPATCH, EXACT, False, "page"),
    Row("no-hint_unknown-client", none, "unknown", EXACT, True, "error"),
    Row("no-hint_no-client_any-uri", none, None, OTHER_URI, True, "ask"),
    Row("no-hint_no-client_exact-uri", none, None, EXACT, True, "ask"),
    Row("no-hint_no-client_any-uri_no-session", none, None, OTHER_URI, False, "page"),
    Row("no-parameters", none, None, None, True, "ask"),
    Row("no-parameters_no-session", none, None, None, False, "page"),
]


@pytest.mark.parametrize("row", [pytest.param(row, id=row.id) for row in TABLE])
def test_decision_table(row: Row, provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """RPL-05, RPL-11 … RPL-28: each row of the table, by its result."""
    hint = row.hint(provider, cameron, clock)
    browser = cameron if row.session else provider.browser()
    sent = {
        "id_token_hint": hint,
        "client_id": row.client_id,
        "post_logout_redirect_uri": row.uri and row.uri.format(url=provider.url(DISPATCH)),
        "state": "a state",
    }
    told_before = len(provider.logout_tokens(MANAGER))
    response = provider.end_session(browser, **{name: value for name, value in sent.items() if value is not None})
    RESULTS[row.result](provider, browser, response)
    assert is_alive(provider, cameron) is (row.result not in OVER or not row.session)
    if row.session:
        assert (len(provider.logout_tokens(MANAGER)) > told_before) is (row.result in OVER)


OVER = ("out-and-redirect", "out", "ask-and-redirect", "ask")


def out_and_redirect(provider: Provider, _browser: SiteClient, response: TestResponse) -> None:
    """RPL-22, RPL-30, RPL-31: 303 to the registered address with the state and nothing else."""
    assert response.status_code == 303
    assert response.location == f"{provider.url(DISPATCH)}/logged-out?state=a+state"
    assert response.headers["Cache-Control"] == "no-store"


def out(_provider: Provider, _browser: SiteClient, response: TestResponse) -> None:
    """The IdP's own page."""
    assert (response.status_code, OUT in response.text) == (200, True)
    assert response.headers["Cache-Control"] == "no-store"


def nothing_ended(_provider: Provider, _browser: SiteClient, response: TestResponse) -> None:
    """RPL-27 is about a session that is over; this one is active, so the page must not say that it has ended."""
    assert (response.status_code, OUT in response.text) == (200, False)
    assert "Nothing was ended" in response.text
    assert response.headers["Cache-Control"] == "no-store"


def error(_provider: Provider, browser: SiteClient, response: TestResponse) -> None:
    """RPL-25, RPL-26: a page, never a redirect; a signed-in user can still log out."""
    assert response.status_code == 400
    assert "Location" not in response.headers
    assert "evil" not in response.text or "https://evil.example/" in words(response)
    assert ("Log out here" in response.text) is (browser.get_cookie(COOKIE, "idp.localhost") is not None)


def ask(provider: Provider, browser: SiteClient, response: TestResponse, *, redirects: bool = False) -> None:
    """RPL-18, RPL-20, RPL-21: asked; "no" changes nothing and does not redirect; "yes" logs out."""
    assert response.status_code == 200
    assert 'id="logout-yes"' in response.text
    assert is_alive(provider, browser), "asking has no effect yet"
    question = hidden(response, "request")
    refused = browser.submit("/oidc/logout/confirm", request=question, answer="no")
    assert (refused.status_code, refused.location) == (303, "/")
    assert is_alive(provider, browser)
    agreed = browser.submit("/oidc/logout/confirm", request=question, answer="yes")
    (out_and_redirect if redirects else out)(provider, browser, agreed)


def ask_and_redirect(provider: Provider, browser: SiteClient, response: TestResponse) -> None:
    """The same, and then a redirect to the registered address."""
    ask(provider, browser, response, redirects=True)


RESULTS: dict[str, Callable[[Provider, SiteClient, TestResponse], None]] = {
    "out-and-redirect": out_and_redirect,
    "redirect": out_and_redirect,
    "out": out,
    "page": out,
    "nothing-ended": nothing_ended,
    "error": error,
    "ask": ask,
    "ask-and-redirect": ask_and_redirect,
}


# --- the request ---


def test_request_can_be_a_post(provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """RPL-02: a form of our own site, with the cookie."""
    data = {
        "id_token_hint": own(provider, cameron, clock),
        "post_logout_redirect_uri": provider.url(DISPATCH) + "/logged-out",
    }
    response = cameron.post("/oidc/logout", data=data)
    assert (response.status_code, response.location) == (303, provider.url(DISPATCH) + "/logged-out")
    assert not is_alive(provider, cameron)


def test_post_from_another_site_is_repeated_with_the_cookie(
    provider: Provider, cameron: SiteClient, clock: Clock
) -> None:
    """RPL-02: such a post has no SameSite=Lax cookie; our redirect to ourselves has it."""
    hint = own(provider, cameron, clock)
    first = provider.app.test_client(use_cookies=False).post("/oidc/logout", data={"id_token_hint": hint, "state": "s"})
    assert first.status_code == 303
    assert query_of(first.location) == {"id_token_hint": hint, "state": "s"}
    assert OUT in cameron.get(first.location).text
    assert not is_alive(provider, cameron)


@pytest.mark.parametrize("name", ["id_token_hint", "client_id", "post_logout_redirect_uri", "state", "unheard_of"])
def test_repeated_parameter_is_an_error(name: str, provider: Provider, cameron: SiteClient) -> None:
    """RPL-09."""
    response = cameron.get("/oidc/logout?" + urlencode([(name, "x"), (name, "x")]))
    error(provider, cameron, response)
    assert "more than once" in response.text
    assert is_alive(provider, cameron)


@pytest.mark.parametrize(
    "extra", [{"logout_hint": "<b>cameron"}, {"ui_locales": "se xx"}, {"unheard_of": "1"}], ids=str
)
def test_unknown_parameters_are_ignored(
    extra: dict[str, str], provider: Provider, cameron: SiteClient, clock: Clock
) -> None:
    """RPL-04, RPL-08, RPL-09."""
    response = provider.end_session(cameron, id_token_hint=own(provider, cameron, clock), **extra)
    assert OUT in response.text
    assert "<b>" not in response.text


@pytest.mark.parametrize("state", ["abcdefghij0123456789-._~" * 5 + "12345678", "a b&c=%20+/?#", "ü✓", ""])
def test_state_comes_back_unchanged_or_not_at_all(
    state: str, provider: Provider, cameron: SiteClient, clock: Clock
) -> None:
    """RPL-07, RPL-33: any characters; not added if none was sent."""
    uri = provider.url(DISPATCH) + "/logged-out"
    sent = {"id_token_hint": own(provider, cameron, clock), "post_logout_redirect_uri": uri}
    response = provider.end_session(cameron, **sent, **({"state": state} if state else {}))
    assert query_of(response.location) == ({"state": state} if state else {})


def test_registered_query_is_kept(provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """RPL-24: the state is appended with an ampersand."""
    uri = "https://app.example/bye?b=%2F~&a=1+2"
    provider.change_client(DISPATCH, post_logout_redirect_uris=[uri])
    hint = own(provider, cameron, clock)
    response = provider.end_session(cameron, id_token_hint=hint, post_logout_redirect_uri=uri, state="s")
    assert response.location == uri + "&state=s"


def test_hint_signed_with_a_retired_key_is_accepted(provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """RPL-11, JWK-05: as long as the old key is published."""
    hint = own(provider, cameron, clock)
    with provider.database() as db:
        old = db.query(SigningKey).filter_by(alg="RS256").one()
        private = {**old.private_jwk, "kid": "new"}
        db.add(SigningKey(kid="new", alg="RS256", private_jwk=private, created_at=START, signs_from=START + 1))
        old.published_until = START + 3600
    clock.turn(60)
    assert read(own(provider, cameron, clock))[0]["kid"] == "new"
    assert OUT in provider.end_session(cameron, id_token_hint=hint).text


def test_request_parameters_are_escaped(provider: Provider, cameron: SiteClient) -> None:
    """RPL-21: neither on the error page nor on the confirmation page."""
    for sent in ({"client_id": "<script>x"}, {"post_logout_redirect_uri": "<script>x", "client_id": DISPATCH}):
        response = provider.end_session(cameron, **sent)
        assert "<script>x" not in response.text


def test_hint_is_never_shown(provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """RPL-31: it is a token, so no page repeats it, and no referrer leaks it."""
    hint = own(provider, cameron, clock)
    response = provider.end_session(cameron, id_token_hint=hint, post_logout_redirect_uri=OTHER_URI)
    assert hint not in response.text
    assert response.headers["Referrer-Policy"] == "no-referrer"


# --- a hint without the cookie ---


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_hint_without_cookie_ends_nothing_and_says_so(
    method: str, provider: Provider, cameron: SiteClient, clock: Clock
) -> None:
    """Some proxies send it from server to server. Hints leak, so a hint alone ends nothing, and the page says so."""
    hint = own(provider, cameron, clock)
    server = provider.app.test_client(use_cookies=False)
    sent: dict[str, Any] = {"query_string" if method == "GET" else "data": {"id_token_hint": hint}}
    page = server.open("/oidc/logout", method=method, follow_redirects=True, **sent)
    nothing_ended(provider, cameron, page)
    assert is_alive(provider, cameron)
    text = words(page)
    assert "open My account" in text
    assert "DELETE /admin/api/v1/identityStores/people/accounts/{accountId}/sessions/{sessionId}" in text
    assert hint not in page.text
    for path in ("/account", "/admin/api/v1/openapi.json"):
        assert f'href="{path}"' in page.text
        assert server.get(path).status_code in (200, 302, 303)


@pytest.mark.parametrize("seconds", [IDLE_SECONDS, ABSOLUTE_SECONDS])
def test_hint_for_an_expired_session_is_not_active(
    seconds: int, provider: Provider, cameron: SiteClient, clock: Clock
) -> None:
    """RPL-27: also before the background loop has ended it."""
    hint = own(provider, cameron, clock)
    clock.turn(seconds)
    out(provider, cameron, provider.end_session(provider.browser(), id_token_hint=hint))


# --- the confirmation page ---


@pytest.mark.parametrize("token", ["", "made up"])
def test_other_site_cannot_confirm_the_logout(token: str, provider: Provider, cameron: SiteClient) -> None:
    """RPL-21: the form needs its own token."""
    question = hidden(provider.end_session(cameron), "request")
    data = {"request": question, "answer": "yes", "csrf_token": token}
    assert cameron.post("/oidc/logout/confirm", data=data).status_code == 400
    assert is_alive(provider, cameron)


def test_confirmation_page_cannot_be_framed_and_can_redirect_to_the_app(
    provider: Provider, cameron: SiteClient
) -> None:
    """RPL-21, BCP-08."""
    sent = {"client_id": DISPATCH, "post_logout_redirect_uri": provider.url(DISPATCH) + "/logged-out"}
    headers = provider.end_session(cameron, **sent).headers
    assert headers["X-Frame-Options"] == "DENY"
    assert "form-action 'self' http://dispatch.localhost:8080" in headers["Content-Security-Policy"]


@pytest.mark.parametrize("spoil", ["", "{}x", "x{}", "a.b.c"])
def test_tampered_confirmation_does_not_redirect(spoil: str, provider: Provider, cameron: SiteClient) -> None:
    """RPL-22: the redirect was decided when the page was shown; the user is asked again, without a redirect."""
    sent = {"client_id": DISPATCH, "post_logout_redirect_uri": provider.url(DISPATCH) + "/logged-out"}
    question = hidden(provider.end_session(cameron, **sent), "request")
    response = cameron.submit("/oidc/logout/confirm", request=spoil.format(question), answer="yes")
    ask(provider, cameron, response)


def test_old_confirmation_does_not_end_another_users_session(
    provider: Provider, cameron: SiteClient, clock: Clock
) -> None:
    """RPL-16: the page was about Cameron; its button must not log Alex out."""
    question = hidden(provider.end_session(cameron), "request")
    clock.turn(60)
    provider.sign_in(cameron, username="alex", prompt="login")
    response = cameron.submit("/oidc/logout/confirm", request=question, answer="yes")
    assert is_alive(provider, cameron)
    assert "Alex Okafor" in response.text, "Alex is asked, and may say yes"


def test_confirmation_after_the_session_ended_is_not_an_error(provider: Provider, cameron: SiteClient) -> None:
    """RPL-27: two tabs show the question; the second answer finds no session."""
    question = hidden(provider.end_session(cameron), "request")
    for _ in range(2):
        response = cameron.submit("/oidc/logout/confirm", request=question, answer="yes")
        assert OUT in response.text


# --- the effect ---


def test_all_apps_including_the_initiator_are_notified_before_the_redirect(
    provider: Provider, cameron: SiteClient, clock: Clock
) -> None:
    """BCL-25, BCL-29, RPL-29: every app has answered before the browser is redirected."""
    provider.end_session(cameron, id_token_hint=own(provider, cameron, clock))
    for client_id in (DISPATCH, MANAGER):
        assert len(provider.logout_tokens(client_id)) == 1
        assert provider.delivery(client_id).state == "delivered"


def test_initiator_that_is_set_not_to_be_notified_of_its_own_logouts_gets_no_request(
    provider: Provider, cameron: SiteClient, clock: Clock
) -> None:
    """The ledger says why; the other apps are notified, and so is this one of any other logout."""
    provider.change_client(DISPATCH, notify_initiator=False)
    provider.end_session(cameron, id_token_hint=own(provider, cameron, clock))
    assert provider.logout_tokens(DISPATCH) == []
    assert provider.delivery(DISPATCH).state == "not_sent"
    assert "not notified of its own logouts" in provider.delivery(DISPATCH).note
    assert provider.delivery(MANAGER).state == "delivered"


def test_app_that_is_not_notified_of_its_own_logouts_is_notified_of_others(
    provider: Provider, cameron: SiteClient
) -> None:
    provider.change_client(DISPATCH, notify_initiator=False)
    provider.end_session(cameron, id_token_hint=provider.tokens(cameron, MANAGER)["id_token"])
    assert len(provider.logout_tokens(DISPATCH)) == 1


def test_logout_deletes_the_cookie_and_ends_the_session_immediately(
    provider: Provider, cameron: SiteClient, clock: Clock
) -> None:
    """BCL-36, RPL-32: prompt=none gives login_required; the next sign-in has a new sid (BCL-05)."""
    (before,) = provider.rows(SsoSession)
    provider.end_session(cameron, id_token_hint=own(provider, cameron, clock))
    assert cameron.get_cookie(COOKIE, "idp.localhost") is None
    assert query_of(provider.authorize(cameron, prompt="none").location)["error"] == "login_required"
    provider.sign_in(cameron)
    assert before.sid not in {session.sid for session in provider.rows(SsoSession) if session.ended_at is None}


def test_page_names_apps_that_could_not_be_notified(provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """BCL-34: the IdP retries; until then, the user may still be signed in there."""
    provider.network.refuse(provider.url(MANAGER))
    page = words(provider.end_session(cameron, id_token_hint=own(provider, cameron, clock)))
    assert "Not notified yet: Pickup Manager. We keep trying." in page
    assert "not confirmed" not in page
    assert "in every app" not in page


def test_page_promises_no_retry_after_a_rejection(provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """BCL-34: 401 is final."""
    provider.apps[MANAGER].status = 401
    page = words(provider.end_session(cameron, id_token_hint=own(provider, cameron, clock)))
    assert "Logout not confirmed: Pickup Manager. The session may still be open there." in page
    assert "keep trying" not in page


def test_page_names_app_without_logout_uri(provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """The user is told before finding out."""
    provider.change_client(MANAGER, backchannel_logout_uri=None)
    page = words(provider.end_session(cameron, id_token_hint=own(provider, cameron, clock)))
    assert "Logout not confirmed: Pickup Manager." in page


# --- after the redirect: the delivery results ---


def log_out_at_dispatch(provider: Provider, browser: SiteClient, clock: Clock) -> None:
    """The usual logout, which redirects to the app."""
    uri = provider.url(DISPATCH) + "/logged-out"
    response = provider.end_session(browser, id_token_hint=own(provider, browser, clock), post_logout_redirect_uri=uri)
    assert response.location == uri


def test_logged_out_page_after_a_redirect_follows_the_retries(
    provider: Provider, cameron: SiteClient, clock: Clock
) -> None:
    """BCL-34: the app may link to it."""
    provider.network.refuse(provider.url(MANAGER))
    log_out_at_dispatch(provider, cameron, clock)
    page = cameron.get("/oidc/logged-out")
    assert (page.status_code, page.headers["Cache-Control"]) == (200, "no-store")
    assert "You are logged out" in words(page)
    assert "Not notified yet: Pickup Manager." in words(page)
    assert "Confirmed by: Pickup Dispatch." in words(page)
    provider.network.heal(provider.url(MANAGER))
    clock.turn(60)
    provider.state.background.poll()
    settle(provider.state.outbox)
    assert provider.delivery(MANAGER).state == "delivered"
    page = cameron.get("/oidc/logged-out")
    assert "Confirmed by: Pickup Dispatch, Pickup Manager." in words(page)
    assert "Not notified" not in words(page)
    assert "Your session has ended here and in every app that was notified." in words(page)


def test_logged_out_page_is_shown_only_to_the_same_browser(
    provider: Provider, cameron: SiteClient, clock: Clock
) -> None:
    """Other browsers, and those that have signed in again, are redirected to the start page."""
    log_out_at_dispatch(provider, cameron, clock)
    other = provider.browser()
    for value in (None, "made up", provider.rows(SsoSession)[0].sid):
        if value:
            other.set_cookie("pickup_idp_ended", value, domain="idp.localhost", path="/oidc/logged-out")
        assert other.get("/oidc/logged-out").location == "/"
    provider.sign_in(cameron)
    assert cameron.get("/oidc/logged-out").location == "/"


def test_logged_out_page_is_available_for_an_hour(provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """The signature expires, even if the browser keeps the cookie."""
    log_out_at_dispatch(provider, cameron, clock)
    clock.turn(SHOWN_SECONDS + 1)
    assert cameron.get("/oidc/logged-out").location == "/"


def test_logged_out_cookie_is_sent_only_to_its_page(provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """No script can read it."""
    log_out_at_dispatch(provider, cameron, clock)
    cookie = cameron.get_cookie("pickup_idp_ended", "idp.localhost", "/oidc/logged-out")
    assert cookie
    assert cookie.http_only
    assert (cookie.path, cookie.same_site) == ("/oidc/logged-out", "Lax")


def test_hint_with_one_changed_character_is_rejected(provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """RPL-11: its payload names another session; its signature is the first one's."""
    head, payload, signature = own(provider, cameron, clock).split(".")
    changed = b64(unb64(payload).replace(b'"sid": "', b'"sid": "X').replace(b'"sid":"', b'"sid":"X'))
    assert changed != payload
    error(provider, cameron, provider.end_session(cameron, id_token_hint=f"{head}.{changed}.{signature}"))
