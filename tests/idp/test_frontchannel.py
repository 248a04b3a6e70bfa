"""OpenID Connect Front-Channel Logout 1.0 (FCL), the provider's side. Off for every client that did not register."""

import re
from html import unescape
from typing import Any

import pytest
from werkzeug.test import TestResponse

from idp.models import Delivery
from tests.conftest import SiteClient
from tests.idp.conftest import DISPATCH, MANAGER, Provider
from tests.idp.parties import SHOP, Registrar
from tests.network import query_of
from tests.tokens import read

FRAME = re.compile(r'<iframe [^>]*src="([^"]*)"')


def frames(page: TestResponse) -> list[str]:
    """The addresses of the page's iframes."""
    return [unescape(found) for found in FRAME.findall(page.text)]


def frame_src(page: TestResponse) -> list[str]:
    """The origins that the page's CSP lets it frame; empty without the directive."""
    found = re.search(r"frame-src ([^;]+)", page.headers["Content-Security-Policy"])
    return found[1].split() if found else []


def uri_of(provider: Provider, client_id: str) -> str:
    """A front-channel logout URI of an app."""
    return f"{provider.url(client_id)}/fclogout"


def give_uri(provider: Provider, client_id: str = MANAGER, **changes: Any) -> str:
    """Give the client a front-channel logout URI; returns it."""
    uri = uri_of(provider, client_id)
    good = {"frontchannel_logout_uri": uri, "frontchannel_logout_session_required": True}
    provider.change_client(client_id, **{**good, **changes})
    return uri


def log_out(provider: Provider, browser: SiteClient, *, returning: bool = True) -> TestResponse:
    """Sign in to both apps, then log out of Dispatch."""
    provider.tokens(browser, MANAGER)
    token = provider.tokens(browser)["id_token"]
    back = {"post_logout_redirect_uri": f"{provider.url(DISPATCH)}/logged-out", "state": "s"} if returning else {}
    return provider.end_session(browser, id_token_hint=token, **back)


# --- off, unless a client registers ---


def test_without_a_registered_client_the_logout_redirects_as_before(provider: Provider, cameron: SiteClient) -> None:
    response = log_out(provider, cameron)
    assert response.status_code == 303
    assert response.location.endswith("/logged-out?state=s")
    assert not provider.events("op.frontchannel_logout.requested")


def test_without_a_registered_client_the_last_page_has_no_frame(provider: Provider, cameron: SiteClient) -> None:
    page = log_out(provider, cameron, returning=False)
    assert (frames(page), frame_src(page)) == ([], [])


def test_registered_client_that_takes_no_part_gets_no_frame(provider: Provider) -> None:
    """FCL §3: the OP keeps track of the logged-in RPs, and contacts those."""
    give_uri(provider)
    browser = provider.sign_in()
    token = provider.tokens(browser)["id_token"]
    back = f"{provider.url(DISPATCH)}/logged-out"
    assert provider.end_session(browser, id_token_hint=token, post_logout_redirect_uri=back).status_code == 303


@pytest.mark.parametrize("changes", [{"delete_tokens_on_logout": "none"}, {"removed_at": 1}], ids=str)
def test_client_that_is_not_told_of_logouts_gets_no_frame(
    changes: dict[str, Any], provider: Provider, cameron: SiteClient
) -> None:
    provider.tokens(cameron, MANAGER)
    token = provider.tokens(cameron)["id_token"]
    give_uri(provider, **changes)
    assert frames(provider.end_session(cameron, id_token_hint=token)) == []


def test_initiator_that_is_set_not_to_be_notified_gets_no_frame(provider: Provider, cameron: SiteClient) -> None:
    give_uri(provider, DISPATCH, notify_initiator=False)
    other = give_uri(provider, MANAGER, notify_initiator=False)
    assert [frame.partition("?")[0] for frame in frames(log_out(provider, cameron))] == [other]


# --- the page ---


def test_page_has_a_frame_and_continues_to_the_app(provider: Provider, cameron: SiteClient) -> None:
    """FCL §3, RPIL §3: the RP's URI in an iframe; a link continues without script."""
    uri = give_uri(provider)
    page = log_out(provider, cameron)
    assert page.status_code == 200
    (frame,) = frames(page)
    assert frame.startswith(f"{uri}?iss=")
    assert f'href="{provider.url(DISPATCH)}/logged-out?state=s"' in page.text
    assert page.headers["Cache-Control"] == "no-store"


def test_frames_of_all_apps_are_on_one_page(provider: Provider, cameron: SiteClient) -> None:
    """FCL §3: the OP contacts them in parallel."""
    both = [give_uri(provider, DISPATCH), give_uri(provider, MANAGER)]
    assert [frame.partition("?")[0] for frame in frames(log_out(provider, cameron))] == both


def test_iss_and_sid_are_those_of_the_id_token_and_nothing_else_is_sent(
    provider: Provider, cameron: SiteClient
) -> None:
    """FCL §2: if either is included, both MUST be."""
    uri = give_uri(provider)
    claims = read(str(provider.tokens(cameron)["id_token"]))[1]
    (frame,) = frames(log_out(provider, cameron))
    assert frame.partition("?")[0] == uri
    assert query_of(frame) == {"iss": claims["iss"], "sid": claims["sid"]}


def test_client_that_does_not_need_the_session_gets_neither_iss_nor_sid(
    provider: Provider, cameron: SiteClient
) -> None:
    """FCL §2: frontchannel_logout_session_required is false by default."""
    uri = give_uri(provider, frontchannel_logout_session_required=False)
    assert frames(log_out(provider, cameron)) == [uri]


def test_registered_query_is_kept(provider: Provider, cameron: SiteClient) -> None:
    """FCL §2: the URL MAY contain query parameters."""
    uri = uri_of(provider, MANAGER) + "?a=%2F~&b=1+2"
    give_uri(provider, frontchannel_logout_uri=uri)
    (frame,) = frames(log_out(provider, cameron))
    assert frame.startswith(f"{uri}&iss=")


def test_policy_names_exactly_the_framed_origins(provider: Provider, cameron: SiteClient) -> None:
    give_uri(provider)
    assert frame_src(log_out(provider, cameron)) == [re.sub(r"(//[^/]+)/.*", r"\1", provider.url(MANAGER))]


def test_page_itself_may_not_be_framed(provider: Provider, cameron: SiteClient) -> None:
    give_uri(provider)
    page = log_out(provider, cameron)
    assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
    assert page.headers["X-Frame-Options"] == "DENY"


def test_other_pages_frame_nothing(provider: Provider, cameron: SiteClient) -> None:
    give_uri(provider)
    log_out(provider, cameron)
    for path in ("/", "/oidc/logged-out", "/login"):
        assert (frames(cameron.get(path)), frame_src(cameron.get(path))) == ([], [])


def test_last_page_without_a_return_address_has_the_frames_too(provider: Provider, cameron: SiteClient) -> None:
    give_uri(provider)
    page = log_out(provider, cameron, returning=False)
    assert len(frames(page)) == len(frame_src(page)) == 1
    assert "You are logged out" in page.text


def test_page_after_logging_out_everywhere_has_the_frames_of_this_browser(
    provider: Provider, cameron: SiteClient
) -> None:
    """FCL §3: the browser that shows the page loads them, so no other browser can."""
    give_uri(provider)
    provider.tokens(cameron, MANAGER)
    provider.tokens(provider.sign_in(), MANAGER)
    cameron.get("/account/log-out-everywhere")
    page = cameron.submit("/account/log-out-everywhere")
    assert "You are logged out everywhere" in page.text
    assert len(frames(page)) == 1


def test_name_and_address_of_an_app_are_escaped(provider: Provider, cameron: SiteClient) -> None:
    give_uri(provider, name="<b>App", frontchannel_logout_uri=uri_of(provider, MANAGER) + "?<b>")
    page = log_out(provider, cameron)
    assert "<b>" not in page.text


# --- the back channel beside it ---


def test_back_channel_is_sent_as_without_frames(provider: Provider, cameron: SiteClient) -> None:
    """FCL §4.1: the front channel may be blocked, so it replaces nothing."""
    give_uri(provider)
    log_out(provider, cameron)
    assert {row.client_id: row.state for row in provider.rows(Delivery)} == {
        DISPATCH: "delivered",
        MANAGER: "delivered",
    }


def test_frame_confirms_nothing(provider: Provider, cameron: SiteClient) -> None:
    """The IdP cannot see what the browser did, so an app with front channel alone stays unconfirmed."""
    give_uri(provider, backchannel_logout_uri=None)
    assert "Logout not confirmed: Pickup Manager." in log_out(provider, cameron, returning=False).text


def test_record_says_which_apps_were_asked_for(provider: Provider, cameron: SiteClient) -> None:
    uri = give_uri(provider)
    log_out(provider, cameron)
    (event,) = provider.events("op.frontchannel_logout.requested")
    assert (event.client_id, str(event.outcome).partition("?")[0]) == (MANAGER, uri)


# --- registration ---


def test_discovery_says_that_it_is_supported(provider: Provider) -> None:
    """FCL §3: both, whether or not a client has registered."""
    metadata = provider.browser().get("/.well-known/openid-configuration").get_json()
    assert metadata["frontchannel_logout_supported"] is True
    assert metadata["frontchannel_logout_session_supported"] is True


def test_registration_returns_what_was_registered(register: Registrar) -> None:
    party = register(frontchannel_logout_uri=f"{SHOP}/fc?a=b", frontchannel_logout_session_required=True)
    assert party.information["frontchannel_logout_uri"] == f"{SHOP}/fc?a=b"
    assert party.information["frontchannel_logout_session_required"] is True


def test_unregistered_client_has_the_defaults(register: Registrar) -> None:
    information = register().information
    assert "frontchannel_logout_uri" not in information
    assert information["frontchannel_logout_session_required"] is False


@pytest.mark.parametrize(
    "uri",
    [
        "https://other.example/fc",  # host
        "https://shop.example:8443/fc",  # port
        "http://shop.example/fc",  # scheme
        f"{SHOP}/fc#part",  # a fragment
        "/fc",  # not absolute
        "https://shop.example.evil.example/fc",
    ],
)
def test_address_elsewhere_is_refused(uri: str, register: Registrar) -> None:
    """FCL §2: domain, port and scheme MUST be the same as those of a registered redirection URI."""
    response = register.post(frontchannel_logout_uri=uri)
    assert response.status_code == 400
    assert response.get_json()["error"] == "invalid_client_metadata"
    assert "frontchannel_logout_uri" in response.get_json()["error_description"]


def test_default_port_is_the_same_port(register: Registrar) -> None:
    assert register.post(frontchannel_logout_uri=f"{SHOP}:443/fc").status_code == 201


def test_public_client_needs_https(register: Registrar) -> None:
    """FCL §2: http only for confidential clients."""
    response = register.post(
        redirect_uris=["http://shop.example/cb"],
        post_logout_redirect_uris=[],
        backchannel_logout_uri=...,
        frontchannel_logout_uri="http://shop.example/fc",
        token_endpoint_auth_method="none",
    )
    assert response.status_code == 400


def test_client_that_leaves_it_out_of_an_update_has_none(register: Registrar) -> None:
    """RFC 7592 §2.2: an update replaces all values."""
    party = register(frontchannel_logout_uri=f"{SHOP}/fc")
    kept = {name: party.information[name] for name in ("client_id", "redirect_uris", "client_name")}
    assert "frontchannel_logout_uri" not in party.manage("PUT", json=kept).get_json()
