"""``POST /bclogout`` of a running application: Back-Channel Logout 1.0 §2.5 to §2.8, all 32 vectors."""

import json
import threading
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Connection
from werkzeug.test import TestResponse

from relying_party import EndedSession, protocol_event, session_ended
from relying_party.backchannel import MAX_BODY
from relying_party.errors import ReplayedToken
from relying_party.logout_token import LogoutToken
from tests.conftest import START, Clock
from tests.network import Network
from tests.relying_party.conftest import (
    COOKIE,
    END_SESSION,
    ISSUER,
    Shop,
    each_database,
    json_response,
    make_shop,
    who,
)
from tests.relying_party.vectors import Bad, Good, each_bad, each_good
from tests.statements import at_statement
from tests.tokens import TokenMaker, b64, ec_key, rsa_key

pytestmark = each_database


@pytest.fixture
def ann(shop: Shop) -> FlaskClient:
    """The browser of a signed-in user: sub "a user", sid "a session"."""
    return shop.sign_in()


def assert_accepted(response: TestResponse) -> None:
    """BCL-62, BCL-65: exactly 200, empty, not cacheable, no cookie."""
    assert (response.status_code, response.text) == (200, "")
    assert response.headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in response.headers


def assert_refused(response: TestResponse, says: str = "") -> None:
    """BCL-63 … BCL-65: exactly 400, a JSON error with only the reason, not cacheable."""
    assert response.status_code == 400
    assert response.mimetype == "application/json"
    answer = json.loads(response.text)
    assert set(answer) == {"error", "error_description"}
    assert answer["error"] == "invalid_request"
    assert says in answer["error_description"]
    assert response.headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in response.headers


@each_good
def test_valid_token_ends_the_session(good: Good, shop: Shop, ann: FlaskClient, make: TokenMaker) -> None:
    """V01, V02, V12, V19, V21, V26, V28; BCL-57: only the end of the session stays recorded."""
    assert_accepted(shop.log_out(good.make(make)))
    assert who(ann) == "anonymous"
    (row,) = shop.rows()
    assert (row.login, row.data, row.ended_at) == (None, "", START)


@each_bad
def test_invalid_token_changes_nothing(bad: Bad, shop: Shop, ann: FlaskClient, make: TokenMaker) -> None:
    """V06 … V28; BCL-53: a token that fails one check ends nothing and leaves only the event."""
    shop.provider.keys.append(ec_key("elliptic").public_jwk())  # a genuine key, but not the registered algorithm: V15
    before = shop.everything()
    assert_refused(shop.log_out(bad.make(make)), bad.says)
    assert shop.everything() == before
    assert who(ann) == "a user"
    assert len(shop.outcomes("rp.logout_token.rejected")) == 1


# --- which sessions end: BCL §2.7 ---


def test_V03_sid_ends_only_that_session_of_the_user(shop: Shop, ann: FlaskClient, make: TokenMaker) -> None:
    """BCL-54: another session of the same user continues."""
    at_home = shop.sign_in(sid="another session")
    assert_accepted(shop.log_out(make.logout_token(without=["sub"])))
    assert (who(ann), who(at_home)) == ("anonymous", "a user")


def test_V03_sid_ends_every_session_with_that_sid(shop: Shop, ann: FlaskClient, make: TokenMaker) -> None:
    """BCL-54: one session at the provider may have created several here."""
    again = shop.sign_in()
    assert_accepted(shop.log_out(make.logout_token()))
    assert (who(ann), who(again)) == ("anonymous", "anonymous")


def test_V04_sub_alone_ends_all_sessions_of_only_that_user(shop: Shop, ann: FlaskClient, make: TokenMaker) -> None:
    """BCL-55, TRAP-02: a token without sid is valid and ends every session of that user."""
    at_home, bob = shop.sign_in(sid="another session"), shop.sign_in(sub="Bob", sid="Bob's session")
    assert_accepted(shop.log_out(make.logout_token(without=["sid"])))
    assert (who(ann), who(at_home), who(bob)) == ("anonymous", "anonymous", "Bob")


@pytest.mark.parametrize("times", ["unknown", "ended by the provider before", "ended here before"])
def test_V05_missing_session_is_a_success(times: str, shop: Shop, ann: FlaskClient, make: TokenMaker) -> None:
    """BCL-50, BCL-56: 200, because the session is over, however it ended."""
    if times == "unknown":
        token = make.logout_token(sid="never seen")
    elif times == "ended here before":
        csrf = ann.get("/form").text
        assert ann.post("/logout", data={"csrf_token": csrf}).status_code == 303
        token = make.logout_token()
    else:
        assert_accepted(shop.log_out(make.logout_token()))
        token = make.logout_token()
    assert_accepted(shop.log_out(token))
    assert shop.outcomes("rp.logout_token.accepted")[-1] == "0 ended"


@pytest.mark.parametrize("claims", [{"sub": "Bob"}, {"sid": "Bob's session"}], ids=["my-sid", "my-sub"])
def test_V32_sid_with_other_users_sub_ends_no_session(
    claims: dict[str, Any], shop: Shop, ann: FlaskClient, make: TokenMaker
) -> None:
    """BCL-54: sid and sub must both match, otherwise no session ends."""
    bob = shop.sign_in(sub="Bob", sid="Bob's session")
    shop.log_out(make.logout_token(**claims))
    assert (who(ann), who(bob)) == ("a user", "Bob")


def test_old_cookie_gets_no_data_of_the_ended_session(shop: Shop, ann: FlaskClient, make: TokenMaker) -> None:
    """BCL-57: replayed by a plain client, the cookie identifies no user, and the cart is empty."""
    cookie = ann.get_cookie(COOKIE, "shop.example")
    assert cookie
    ann.get("/cart")
    shop.log_out(make.logout_token())
    thief = shop.app.test_client()
    thief.set_cookie(COOKIE, cookie.value, domain="shop.example")
    assert who(thief) == "anonymous"
    assert thief.get("/orders").status_code == 401


def test_logout_applies_immediately_in_every_worker(shop: Shop, ann: FlaskClient, make: TokenMaker) -> None:
    """BCL-60: one process receives the logout; the other one reads the same table."""
    other_worker = make_shop(shop.engine.url)
    cookie = ann.get_cookie(COOKIE, "shop.example")
    assert cookie
    there = other_worker.browser()
    there.set_cookie(COOKIE, cookie.value, domain="shop.example")
    assert who(there) == "a user"
    shop.log_out(make.logout_token())
    assert who(there) == "anonymous"
    other_worker.engine.dispose()


# --- replays: BCL §2.6 (8) ---


def test_V25_token_is_accepted_once(shop: Shop, ann: FlaskClient, make: TokenMaker, clock: Clock) -> None:
    """BCL-49: the same token again gets 400 and leaves the new session alone; one with a new jti ends it."""
    token = make.logout_token(without=["sid"])
    assert_accepted(shop.log_out(token))
    clock.turn(10)
    shop.sign_in(ann)
    assert_refused(shop.log_out(token), "used before")
    assert who(ann) == "a user"
    assert_accepted(shop.log_out(make.logout_token(without=["sid"])))  # the control
    assert who(ann) == "anonymous"


def test_V25_jti_is_stored_until_the_token_expires(
    shop: Shop, ann: FlaskClient, make: TokenMaker, clock: Clock
) -> None:
    """BCL-49: clean-up deletes a jti only after its token has expired, leeway included."""
    token = make.logout_token(without=["sid"], exp=START + 7 * 3600)
    assert_accepted(shop.log_out(token))
    clock.turn(7 * 3600 + 59)
    shop.state.sessions.clean_up()
    shop.sign_in(ann)
    assert_refused(shop.log_out(token), "used before")


def test_rejected_token_does_not_use_up_its_jti(shop: Shop, ann: FlaskClient, make: TokenMaker) -> None:
    """BCL-49: otherwise an attacker could make the provider's real token fail."""
    assert_refused(shop.log_out(make.logout_token(jti="j", key=rsa_key("never published"))))
    assert_refused(shop.log_out(make.logout_token(jti="j", nonce="n")))
    assert_accepted(shop.log_out(make.logout_token(jti="j")))
    assert who(ann) == "anonymous"


def test_retry_succeeds_after_a_crash_between_jti_and_session_end(
    shop: Shop, ann: FlaskClient, make: TokenMaker
) -> None:
    """Both or neither is stored. The provider's retry of the same token works."""
    token = make.logout_token()
    before = shop.everything()

    def crash(_: Connection) -> None:
        raise OSError("the disk is gone")

    with at_statement(shop.engine, END_SESSION, crash), pytest.raises(OSError, match="the disk is gone"):
        shop.log_out(token)
    assert shop.everything() == before
    assert_accepted(shop.log_out(token))
    assert who(ann) == "anonymous"


def test_two_workers_apply_the_same_token_once(shop: Shop, ann: FlaskClient) -> None:  # noqa: ARG001 # the session
    """BCL-49: the jti is reserved in the database, not in a process."""
    token = LogoutToken(ISSUER, "a user", "a session", "j", START, START + 120, None)
    start, results = threading.Barrier(2), []

    def worker() -> None:
        store = shop.another_store()
        start.wait()
        try:
            results.append(str(len(store.apply_logout(token))))
        except ReplayedToken:
            results.append("replayed")

    threads = [threading.Thread(target=worker) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["1", "replayed"]


# --- a logout that arrives before its login completes ---


@pytest.mark.parametrize("without", ["", "sub", "sid"], ids=["sid-and-sub", "sid-only", "sub-only"])
def test_logout_during_the_callback_prevents_the_session(
    without: str, shop: Shop, make: TokenMaker, network: Network
) -> None:
    """BCL-61: the code is exchanged, then the logout token arrives before the session is stored: no session."""
    browser = shop.browser()
    request = shop.start_login(browser)
    shop.provider.nonce = request["nonce"]
    token = make.logout_token(without=[without])

    def meanwhile(_: object) -> Any:
        assert_accepted(shop.log_out(token))
        network.heal(f"{ISSUER}/userinfo")
        return json_response(shop.provider.userinfo)

    network.replace(f"{ISSUER}/userinfo", meanwhile)
    response = shop.answer(browser, code="c", state=request["state"], iss=ISSUER)
    assert response.status_code == 400
    assert "ended before the login was complete" in response.text
    assert who(browser) == "anonymous"
    assert shop.rows() == []


def test_ended_sid_cannot_sign_in_again(shop: Shop, make: TokenMaker, clock: Clock) -> None:
    """BCL-61: for as long as a login may be in progress."""
    assert_accepted(shop.log_out(make.logout_token()))
    clock.turn(600)
    browser = shop.browser()
    request = shop.start_login(browser)
    shop.provider.nonce = request["nonce"]
    assert shop.answer(browser, code="c", state=request["state"], iss=ISSUER).status_code == 400


@pytest.mark.parametrize("claims", [{"sid": "another session"}, {"sub": "Bob"}], ids=["another-sid", "another-sub"])
def test_control_logout_blocks_no_other_login(claims: dict[str, Any], shop: Shop, make: TokenMaker) -> None:
    """BCL-61 blocks exactly those sessions: other sessions and other users sign in as usual."""
    assert_accepted(shop.log_out(make.logout_token()))
    assert who(shop.sign_in(**claims)) == claims.get("sub", "a user")


def test_control_user_logged_out_everywhere_can_sign_in_again(shop: Shop, make: TokenMaker, clock: Clock) -> None:
    """BCL-61: a logout by sub blocks ID tokens issued no later than itself, and no others."""
    assert_accepted(shop.log_out(make.logout_token(without=["sid"])))
    clock.turn(1)
    assert who(shop.sign_in()) == "a user"


# --- keys: BCL §2.6 (2), Core §10.1.1 ---


def test_V18_new_key_is_fetched_immediately(shop: Shop, ann: FlaskClient, make: TokenMaker, network: Network) -> None:
    """BCL-40, RP-11: the provider rotated; the token signed with the new key passes after one fetch."""
    looks = len(network.to(f"{ISSUER}/jwks"))
    shop.provider.keys = [rsa_key("second").public_jwk()]
    assert_accepted(shop.log_out(make.logout_token(header={"kid": "second"}, key=rsa_key("second"))))
    assert len(network.to(f"{ISSUER}/jwks")) == looks + 1
    assert who(ann) == "anonymous"


def test_V18_kid_missing_from_the_new_key_set_is_rejected(
    shop: Shop, ann: FlaskClient, make: TokenMaker, network: Network
) -> None:
    """BCL-40: one fetch, then 400."""
    looks = len(network.to(f"{ISSUER}/jwks"))
    token = make.logout_token(header={"kid": "second"}, key=rsa_key("second"))
    assert_refused(shop.log_out(token), "does not publish the key that signed")
    assert len(network.to(f"{ISSUER}/jwks")) == looks + 1
    assert who(ann) == "a user"


def test_forged_key_ids_do_not_flood_the_provider(
    shop: Shop, ann: FlaskClient, make: TokenMaker, network: Network, clock: Clock
) -> None:
    """BCL-71: a hundred forged kids cause a few fetches; a real rotation a little later still passes."""
    looks = len(network.to(f"{ISSUER}/jwks"))
    token = make.logout_token()
    _, _, rest = token.partition(".")
    for number in range(100):
        head = b64(json.dumps({"alg": "RS256", "kid": f"forged {number}"}).encode())
        assert shop.log_out(f"{head}.{rest}").status_code == 400
    assert len(network.to(f"{ISSUER}/jwks")) - looks <= 5
    clock.turn(30)
    shop.provider.keys = [rsa_key("second").public_jwk()]
    assert_accepted(shop.log_out(make.logout_token(header={"kid": "second"}, key=rsa_key("second"))))
    assert who(ann) == "anonymous"


def test_valid_token_needs_no_key_request(shop: Shop, ann: FlaskClient, make: TokenMaker, network: Network) -> None:
    """BCL-71: the login's keys are still cached, so the logout works while the provider is down."""
    network.refuse(ISSUER)
    assert_accepted(shop.log_out(make.logout_token()))
    assert who(ann) == "anonymous"


FAULTS: dict[str, Callable[[Network, str], None]] = {
    "refuses": lambda network, url: network.refuse(url),
    "hangs": lambda network, url: network.time_out(url),
    "500": lambda network, url: network.answer(url, 500, "oops"),
    "404": lambda network, url: network.answer(url, 404, "{}"),
    "redirects": lambda network, url: network.answer(url, 302, "", {"Location": "https://evil.example/jwks"}),
    "html": lambda network, url: network.answer(url, 200, "<p>"),
    "a-list": lambda network, url: network.answer(url, 200, "[]"),
    "no-keys-member": lambda network, url: network.answer(url, 200, "{}"),
    "keys-is-text": lambda network, url: network.answer(url, 200, '{"keys": "x"}'),
    "empty-set": lambda network, url: network.answer(url, 200, '{"keys": []}'),
    "odd-keys": lambda network, url: network.answer(url, 200, '{"keys": [null, 1, {}, {"kty": "RSA"}]}'),
    "endless": lambda network, url: network.answer(url, 200, b" " * (1024 * 1024 + 1)),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("document", ["jwks", ".well-known/openid-configuration"])
def test_V31_unavailable_keys_return_400_and_never_500(
    fault: str, document: str, shop: Shop, make: TokenMaker, network: Network, clock: Clock
) -> None:
    """BCL-53: no state change and no 500; once the provider is back, the same token passes."""
    url = f"{ISSUER}/{document}"
    before = shop.everything()
    token = make.logout_token()
    FAULTS[fault](network, url)
    assert_refused(shop.log_out(token))
    assert shop.everything() == before
    assert not network.to("https://evil.example")
    network.heal(url)
    clock.turn(10)
    assert_accepted(shop.log_out(token))


# --- the request: BCL §2.5 ---


def body(**options: Any) -> Callable[[Shop, str], TestResponse]:
    """A POST to /bclogout; ``TOKEN`` stands for a good token."""

    def send(shop: Shop, token: str) -> TestResponse:
        filled = {
            name: json.loads(json.dumps(value).replace("TOKEN", token)) if name != "headers" else value
            for name, value in options.items()
        }
        return shop.app.test_client().post("/bclogout", **filled)

    return send


FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("send", "says"),
    [
        pytest.param(
            body(query_string="logout_token=TOKEN", data="", content_type=FORM), "not in the URL", id="V29-in-query"
        ),
        pytest.param(
            body(query_string="logout_token=x", data="logout_token=TOKEN", content_type=FORM),
            "not in the URL",
            id="V29-in-query-too",
        ),
        pytest.param(body(json={"logout_token": "TOKEN"}), "not application/x-www-form", id="V29-json"),
        pytest.param(
            body(data="logout_token=TOKEN&logout_token=TOKEN", content_type=FORM), "exactly one", id="V29-twice"
        ),
        pytest.param(body(data="", content_type=FORM), "exactly one", id="V29-nothing"),
        pytest.param(body(data="token=TOKEN", content_type=FORM), "exactly one", id="V29-missing"),
        pytest.param(body(data="logout_token=", content_type=FORM), "exactly one", id="V29-empty"),
        pytest.param(body(data="logout_token=abc", content_type=FORM), "not a signed", id="V29-not-a-jwt"),
        pytest.param(body(data="logout_token=a.b.c.d.e", content_type=FORM), "encrypted", id="V29-jwe"),
        pytest.param(body(data="logout_token=TOKEN", content_type="text/plain"), "not application", id="BCL-38-text"),
        pytest.param(body(data="TOKEN", content_type="application/jwt"), "not application", id="BCL-38-jwt"),
        pytest.param(
            body(data="logout_token=TOKEN", content_type="multipart/form-data; boundary=x"),
            "not application",
            id="BCL-38-multipart",
        ),
        pytest.param(body(data="logout_token=TOKEN", content_type=""), "not application", id="BCL-38-no-type"),
        pytest.param(
            body(data="x=" + "x" * 65_536 + "&logout_token=TOKEN", content_type=FORM), "too large", id="BCL-71-large"
        ),
        pytest.param(body(data="logout_token=%FF%FE", content_type=FORM), "not a signed", id="BCL-63-not-utf-8"),
    ],
)
def test_malformed_request_is_rejected(
    send: Callable[[Shop, str], TestResponse], says: str, shop: Shop, ann: FlaskClient, make: TokenMaker
) -> None:
    """BCL-38: exactly one form parameter in the body of a form post; otherwise 400 and nothing changes."""
    before = shop.everything()
    assert_refused(send(shop, make.logout_token()), says)
    assert shop.everything() == before
    assert who(ann) == "a user"


@pytest.mark.parametrize(
    "content_type", [FORM, f"{FORM}; charset=utf-8", FORM.upper()], ids=["plain", "charset", "capitals"]
)
def test_V28_additional_form_parameter_is_ignored(
    content_type: str, shop: Shop, ann: FlaskClient, make: TokenMaker
) -> None:
    """BCL-38: the specification allows further parameters; the media type's spelling does not matter."""
    data = f"ignored_parameter=1&logout_token={make.logout_token()}&ignored_parameter=2"
    response = shop.app.test_client().post("/bclogout", data=data, content_type=content_type)
    assert_accepted(response)
    assert who(ann) == "anonymous"


def test_chunked_body_is_limited(shop: Shop, ann: FlaskClient, make: TokenMaker) -> None:
    """BCL-71: a chunked body has no announced size; it is read up to the limit and no further."""
    endless = BytesIO(b"x=" + b"x" * 200_000 + f"&logout_token={make.logout_token()}".encode())
    response = shop.app.test_client().post(
        "/bclogout",
        input_stream=endless,
        content_type=FORM,
        environ_overrides={"wsgi.input_terminated": True, "CONTENT_LENGTH": ""},
    )
    assert_refused(response)
    assert endless.tell() <= MAX_BODY
    assert who(ann) == "a user"


def test_chunked_body_is_not_cut_off_at_the_limit(shop: Shop, ann: FlaskClient, make: TokenMaker) -> None:
    """BCL-71: Werkzeug reads a chunked body up to the limit and ignores the rest, which may have a second token."""
    body = f"logout_token={make.logout_token()}&x={'x' * MAX_BODY}&logout_token=second"
    response = shop.app.test_client().post(
        "/bclogout",
        input_stream=BytesIO(body.encode()),
        content_type=FORM,
        environ_overrides={"wsgi.input_terminated": True, "CONTENT_LENGTH": ""},
    )
    assert_refused(response)
    assert who(ann) == "a user"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_V30_other_methods_are_rejected(method: str, shop: Shop, ann: FlaskClient, make: TokenMaker) -> None:
    """BCL-37: 405 with the allowed method; not cacheable, and nothing changes."""
    before = shop.everything()
    token = make.logout_token()
    response = shop.app.test_client().open(
        "/bclogout", method=method, data={"logout_token": token}, query_string={"logout_token": token}
    )
    assert (response.status_code, response.headers["Allow"]) == (405, "POST")
    assert response.headers["Cache-Control"] == "no-store"
    assert shop.everything() == before
    assert who(ann) == "a user"


def test_browser_cookie_is_ignored(shop: Shop, ann: FlaskClient, make: TokenMaker) -> None:
    """BCL-37: the signature is the only credential. If Ann's browser posts Bob's token, Bob's session ends."""
    bob = shop.sign_in(sub="Bob", sid="Bob's session")
    response = ann.post("/bclogout", data={"logout_token": make.logout_token(sub="Bob", sid="Bob's session")})
    assert_accepted(response)
    assert (who(ann), who(bob)) == ("a user", "anonymous")


def test_csrf_exemption_covers_only_this_route(shop: Shop, ann: FlaskClient, make: TokenMaker) -> None:
    """BCL-37: a POST without a CSRF token ends sessions at /bclogout and is rejected everywhere else."""
    for route in ("/pay", "/orders", "/logout"):
        response = ann.post(route)
        assert response.status_code == 400, route
        assert "CSRF" in response.text, route
    assert who(ann) == "a user"
    assert_accepted(shop.log_out(make.logout_token()))


def test_response_does_not_repeat_the_token(shop: Shop, make: TokenMaker) -> None:
    """BCL-64: the response names the check, not the token's content or our state; the events hold those."""
    response = shop.log_out(make.logout_token(iss="https://<b>.example"))
    assert_refused(response)
    assert "<b>" not in response.text
    assert ISSUER not in response.text
    assert shop.events[-1]["evidence"] == "https://<b>.example"


# --- events and signals ---


def test_events_name_the_sender_but_not_the_token(shop: Shop, ann: FlaskClient, make: TokenMaker) -> None:
    """BCL-70: sid, jti, outcome; and that the request had no cookie, so it came from the provider's server."""
    token = make.logout_token(jti="j 1")
    shop.log_out(token, headers={"User-Agent": "A provider"})
    told = shop.events[-1]
    assert (told["name"], told["sid"], told["jti"], told["outcome"]) == (
        "rp.logout_token.accepted",
        "a session",
        "j 1",
        "1 ended",
    )
    assert (told["cookie_sent"], told["user_agent"]) == (False, "A provider")
    ann.post("/bclogout", data={"logout_token": token})
    assert shop.events[-1]["name"] == "rp.logout_token.rejected"
    assert shop.events[-1]["cookie_sent"] is True
    assert not [part for part in token.split(".") if part in str(shop.events)]


def test_application_receives_the_session_ended_signal(shop: Shop, ann: FlaskClient, make: TokenMaker) -> None:  # noqa: ARG001 # the session
    """The signal ``session_ended`` lets an application stop work that belongs to the session."""
    heard: list[tuple[EndedSession, str]] = []
    key = shop.rows()[0].id_hash

    def listen(_: object, ended: EndedSession, reason: str) -> None:
        heard.append((ended, reason))

    with session_ended.connected_to(listen, shop.app):
        shop.log_out(make.logout_token(reason_user={"en": "Why."}))
        shop.log_out(make.logout_token(nonce="n"))
    assert heard == [(EndedSession(key, ISSUER, "a user", "a session"), "Why.")]


def test_failing_signal_receiver_does_not_undo_the_logout(
    shop: Shop, ann: FlaskClient, make: TokenMaker, caplog: pytest.LogCaptureFixture
) -> None:
    """BCL-62: the session is over, so the response is 200; the failure is in the application's log."""

    def fail(_: object, **__: object) -> None:
        raise OSError("the disk is full")

    heard: list[object] = []

    def hear(_: object, ended: object, **__: object) -> None:
        heard.append(ended)

    with session_ended.connected_to(fail, shop.app), session_ended.connected_to(hear, shop.app):
        assert_accepted(shop.log_out(make.logout_token()))
    assert who(ann) == "anonymous"
    assert "A receiver of relying-party.session-ended failed" in caplog.text
    assert len(heard) == 1, "the other receivers are still called"


def test_failing_event_receiver_does_not_undo_the_logout(
    shop: Shop, ann: FlaskClient, make: TokenMaker, caplog: pytest.LogCaptureFixture
) -> None:
    """BCL-62: a failing receiver of protocol events changes nothing either."""

    def fail(_: object, **__: object) -> None:
        raise OSError("the disk is full")

    with protocol_event.connected_to(fail, shop.app):
        assert_accepted(shop.log_out(make.logout_token()))
        assert_refused(shop.log_out("x"), "not a signed")
    assert who(ann) == "anonymous"
    assert "the disk is full" in caplog.text
