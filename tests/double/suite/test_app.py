"""What a user of the plugin writes: sign in, end the session at the IdP, and see that the app has heard of it."""

from pathlib import Path

import pytest
from conftest import App

from pickup_testing import Browser, Idp, IdpError, NotDeliveredError, Receiver, SignInError, start_idp


def test_sign_in_shows_the_person(app: App, pickup_browser: Browser) -> None:
    response = pickup_browser.sign_in(f"{app.url}/me", "zoe")
    assert (response.status_code, response.text) == (200, "Hello Zoe Abel")


def test_ended_session_is_over_in_the_app(app: App, pickup_idp: Idp, pickup_browser: Browser) -> None:
    pickup_browser.sign_in(f"{app.url}/me", "zoe")
    (line,) = pickup_idp.end_session(pickup_browser.session)
    assert (line.client_id, line.username, line.state) == (app.client_id, "zoe", "delivered"), line.why
    page = pickup_browser.http.get(f"{app.url}/me")
    assert page.url.startswith(pickup_idp.issuer), "the app asks to sign in again"


def test_other_session_of_the_same_person_stays(app: App, pickup_idp: Idp, pickup_browser: Browser) -> None:
    other = pickup_idp.browser()
    for browser in (pickup_browser, other):
        browser.sign_in(f"{app.url}/me", "zoe")
    assert {pickup_browser.session, other.session} <= set(pickup_idp.sessions("zoe"))
    pickup_idp.end_session(pickup_browser.session)
    assert other.http.get(f"{app.url}/me").text == "Hello Zoe Abel"


def test_wrong_password_is_told(app: App, pickup_browser: Browser) -> None:
    with pytest.raises(SignInError, match="Wrong username or password"):
        pickup_browser.sign_in(f"{app.url}/me", "yan", "not that")


def test_one_sign_in_opens_both_apps_and_both_are_told(
    pickup_idp: Idp, pickup_browser: Browser, pickup_receiver: Receiver
) -> None:
    """The second "app" is the stub receiver: it shows what arrives."""
    callback = "http://localhost:1/callback"
    pickup_idp.add_client(
        "stub", redirect_uris=[callback], backchannel_logout_uri=pickup_receiver.url, require_pkce=True
    )
    location = (
        f"{pickup_idp.issuer}/oauth2/authorize?client_id=stub&response_type=code&scope=openid&redirect_uri={callback}"
        "&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256"  # RFC 7636, appendix B
    )
    back = pickup_browser.authorize(location, "zoe")
    assert back.startswith(f"{callback}?code=")
    code = back.partition("code=")[2].partition("&")[0]
    form = {
        "grant_type": "authorization_code", "client_id": "stub", "code": code, "redirect_uri": callback,
        "code_verifier": "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    }  # fmt: skip
    assert pickup_browser.http.post(f"{pickup_idp.issuer}/oauth2/token", form).status_code == 200
    (line,) = pickup_idp.end_session(pickup_browser.session)
    (token,) = pickup_receiver.wait()
    assert line.state == "delivered"
    assert token.header["typ"] == "logout+jwt"
    assert (token.claims["sub"], token.claims["sid"]) == ("zoe-1", pickup_browser.session.sid)


def test_ledger_says_why_an_app_was_not_told(app: App, pickup_idp: Idp, pickup_browser: Browser) -> None:
    """An app that is away is tried again: the line is pending, and says why."""
    answer = pickup_idp.admin("GET", f"/clients/{app.client_id}")
    with Receiver(status=503) as away:
        pickup_idp.change_client(app.client_id, backchannel_logout_uri=away.url)
        pickup_browser.sign_in(f"{app.url}/me", "yan")
        with pytest.raises(NotDeliveredError, match=r"pending after . tries .*503") as caught:
            pickup_idp.end_session(pickup_browser.session, timeout=0.3)
        assert [line.status for line in caught.value.deliveries] == [503]
        away.status = 200
        (line,) = pickup_idp.wait_for_logout(pickup_browser.session, timeout=10)
        assert line.state == "delivered"
        assert line.tries > 1
    pickup_idp.change_client(app.client_id, backchannel_logout_uri=answer["backchannelLogoutUri"])


def test_invalid_values_are_refused_with_a_sentence(pickup_idp: Idp) -> None:
    with pytest.raises(IdpError, match="username zoe is already in use"):
        pickup_idp.add_person("zoe")
    with pytest.raises(IdpError, match="redirectUris"):
        pickup_idp.add_client("nothing", "secret")
    with pytest.raises(IdpError, match="no person 'nobody'"):
        pickup_idp.sessions("nobody")


def test_deterministic_idp_has_known_keys_and_secrets_and_reads_a_seed_file(tmp_path: Path) -> None:
    seed = tmp_path / "people.toml"
    seed.write_text('[[people]]\nusername = "xu"\nsub = "xu-1"\npassword = "short"\n')
    with start_idp(seed=seed, deterministic=True) as idp:
        first, second = idp.browser().http.get(f"{idp.issuer}/oauth2/jwks").json()["keys"]
        assert (first["kid"], first["n"][:20]) == ("fixed-rs256-key", "olWycIl2L1pFhdN_P21a")
        assert (second["kid"], second["x"][:20]) == ("fixed-es256-key", "nLAO1GPBgtPKGcvgJkcu")
        assert idp.sub_of("xu") == "xu-1"
        assert Idp(idp.issuer, "for-tests-only").sub_of("cameron") == "248289761002"
