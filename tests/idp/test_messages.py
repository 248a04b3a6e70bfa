"""What the IdP records: its endpoints, its logout requests and its requests for apps' keys, each at its own edge."""

import json
from typing import Any

import pytest

from idp.messages import KINDS, RecordingHttpClient
from idp.outbox.http import FetchError, Request, in_background
from pickup_web.messages import Recorder
from tests.conftest import PASSWORD, SiteClient, client_of, settle
from tests.idp.conftest import DISPATCH, MANAGER, Provider
from tests.idp.parties import Party, Registrar


def recorded(provider: Provider, kind: str) -> list[dict[str, Any]]:
    """The IdP's rows of one kind."""
    recorder: Recorder = provider.app.extensions["messages"]
    recorder.flush()
    messages = client_of(provider.app).get("/messages").get_json()["messages"]
    return [row for row in messages if row["kind"] == kind]


def test_recorded_endpoints_exist(provider: Provider) -> None:
    assert KINDS.keys() <= provider.app.view_functions.keys()


def test_no_endpoint_of_the_protocol_is_missing(provider: Provider) -> None:
    """A new endpoint below /oauth2 or /oidc needs a kind. The IdP's own logged-out page is not part of the protocol."""
    paths = ("/oauth2/", "/oidc/", "/.well-known/")
    endpoints = {rule.endpoint for rule in provider.app.url_map.iter_rules() if rule.rule.startswith(paths)}
    assert endpoints - KINDS.keys() == {"logged_out"}


def test_page_with_frames_is_recorded_with_their_addresses(provider: Provider, cameron: SiteClient) -> None:
    """A frame that never reaches its app leaves no other trace."""
    uri = f"{provider.url(MANAGER)}/fclogout"
    provider.change_client(MANAGER, frontchannel_logout_uri=uri)
    provider.end_session(cameron, id_token_hint=str(provider.tokens(cameron)["id_token"]))
    (row,) = recorded(provider, "logout_request")
    assert row["response"]["parameters"] == {"frontchannel_logout_uri": {MANAGER: uri}}
    assert (row["client_id"], row["outcome"]) == (DISPATCH, "ok")


def test_password_is_never_recorded(provider: Provider) -> None:
    """Neither the right one, nor one that was typed for it."""
    browser = provider.browser()
    page = provider.authorize(browser)
    provider.enter_password(browser, page, password="a password of another site")
    provider.enter_password(browser, page)
    rows = recorded(provider, "sign_in")
    assert [row["outcome"] for row in rows] == ["refused", "redirect"]
    for row in rows:
        assert row["request"]["parameters"]["password"] == "(not recorded)"
        assert row["request"]["parameters"]["username"] == "cameron"
        assert row["request"]["parameters"]["request"].endswith("…")
        assert (row["state"], row["client_id"]) == ("a state", DISPATCH)
        assert PASSWORD not in json.dumps(row)
        assert "another site" not in json.dumps(row)


def test_client_secret_in_the_form_is_cut(provider: Provider) -> None:
    """RFC 6749 §2.3.1: credentials may be in the body."""
    form = {"grant_type": "refresh_token", "refresh_token": "a refresh token of an app", "client_id": DISPATCH}
    client_of(provider.app).post("/oauth2/token", data={**form, "client_secret": provider.secret(DISPATCH)})
    (row,) = recorded(provider, "token_request")
    assert row["request"]["parameters"] == {
        **form,
        "refresh_token": "a refr…",
        "client_secret": provider.secret(DISPATCH)[:6] + "…",
    }
    assert (row["from"], row["status"], row["outcome"]) == ("dispatch", 401, "refused")
    assert row["error"] == "invalid_client"


def test_tokens_in_the_fragment_are_cut(provider: Provider, shop: Party, cameron: SiteClient) -> None:
    """Hybrid flow (Core §3.3): code and ID token are in the fragment of the redirect."""
    answer = shop.answer(cameron, response_type="code id_token")
    row = recorded(provider, "authorization_request")[-1]
    shown = row["response"]["parameters"]
    assert {name: shown[name] for name in ("code", "id_token")} == {
        name: answer[name][:6] + "…" for name in ("code", "id_token")
    }
    assert [(token["name"], token["where"]) for token in row["tokens"]] == [("id_token", "response")]
    assert "#" not in row["response"]["headers"]["location"]


def test_userinfo_request_names_the_client_of_its_token(provider: Provider) -> None:
    tokens = provider.tokens(provider.sign_in())
    provider.userinfo(tokens["access_token"])
    provider.userinfo("an unknown token of somebody")
    good, bad = recorded(provider, "userinfo")
    assert (good["from"], good["client_id"], good["sid"]) == ("dispatch", DISPATCH, provider.session().sid)
    assert good["request"]["headers"]["authorization"] == f"Bearer {tokens['access_token'][:6]}…"
    assert (bad["from"], bad["status"], bad["outcome"]) == (None, 401, "refused")


def test_revocation_and_introspection_are_recorded(provider: Provider) -> None:
    token = provider.tokens(provider.sign_in())["access_token"]
    provider.post("/oauth2/introspect", MANAGER, token=token)
    provider.post("/oauth2/revoke", DISPATCH, token=token)
    (question,), (revocation,) = recorded(provider, "introspection"), recorded(provider, "revocation")
    assert (question["from"], question["response"]["parameters"]["client_id"]) == ("manager", DISPATCH)
    assert (revocation["from"], revocation["request"]["parameters"]) == ("dispatch", {"token": token[:6] + "…"})


def test_registration_is_recorded_without_its_secrets(provider: Provider, register: Registrar) -> None:
    """RFC 7591 §3.2.1: the answer has a client secret and a registration access token."""
    answer = register.post().get_json()
    row = recorded(provider, "registration")[-1]
    shown = row["response"]["parameters"]
    for name in ("client_secret", "registration_access_token"):
        assert shown[name] == answer[name][:6] + "…"
    assert shown["client_id"] == answer["client_id"]
    assert answer["client_secret"] not in json.dumps(row)


def test_failed_delivery_is_a_message_without_answer(provider: Provider) -> None:
    browser = provider.sign_in()
    id_token = provider.tokens(browser)["id_token"]
    provider.network.refuse(f"{provider.url(DISPATCH)}/bclogout")
    provider.end_session(browser, id_token_hint=id_token)
    settle(provider.state.outbox)
    (row,) = recorded(provider, "backchannel_logout")
    assert (row["direction"], row["to"], row["outcome"]) == ("out", "dispatch", "no_answer")
    assert row["error_description"] == "connection refused"
    assert row["tokens"][0]["header"]["typ"] == "logout+jwt"


def test_refusal_of_an_app_shows_its_words(provider: Provider) -> None:
    browser = provider.sign_in()
    id_token = provider.tokens(browser)["id_token"]
    app = provider.apps[DISPATCH]
    app.status, app.headers = 400, {"Content-Type": "application/json"}
    app.body = json.dumps({"error": "invalid_request", "error_description": "The token is too old."})
    provider.end_session(browser, id_token_hint=id_token)
    settle(provider.state.outbox)
    row = recorded(provider, "backchannel_logout")[-1]
    assert (row["outcome"], row["error"], row["error_description"]) == (
        "refused",
        "invalid_request",
        "The token is too old.",
    )


def test_only_logout_requests_and_keys_of_apps_are_recorded(provider: Provider) -> None:
    """Health checks and documents of a registration are not messages of the protocol."""
    http = provider.state.http
    assert isinstance(http, RecordingHttpClient)
    provider.network.answer("http://app.example", 200, "{}")
    in_background(http.ask(Request("http://app.example/health"))).result()
    keys = provider.state.client_keys._http
    in_background(keys.document("http://app.example/jwks")).result()
    provider.network.refuse("http://app.example")
    with pytest.raises(FetchError):
        in_background(keys.document("http://app.example/jwks")).result()
    answered, failed = recorded(provider, "jwks")
    assert (answered["from"], answered["to"], answered["status"]) == ("idp", "app.example", 200)
    assert (failed["status"], failed["outcome"]) == (None, "no_answer")
    sent = [exchange.request.headers.get("traceparent") for exchange in provider.network.to("http://app.example")]
    assert sent == [None, f"00-{answered['trace']}-01", f"00-{failed['trace']}-01"]
