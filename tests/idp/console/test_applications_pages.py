"""Applications: registered, changed, checked and removed through the pages only."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from idp.clients.authentication import METHODS as KNOWN_METHODS
from idp.clients.metadata import RESPONSE_TYPES
from idp.console.application_form import FLOWS, METHODS, PKCE_SETTINGS, fields
from idp.models import Client, Delivery, Participation
from idp.operations.applications import values_of
from tests.conftest import Clock, SiteClient
from tests.idp.conftest import DISPATCH, MANAGER, PaperApp, Provider
from tests.idp.console.conftest import HOSTILE, RADIO, after, form_of, operator, send
from tests.idp.parties import Registrar
from tests.reading import words
from tests.tokens import read

REGISTER = "/console/applications/register"
TYPED = {
    "client_name": "Fleet Radio",
    "home_url": f"{RADIO}/",
    "redirect_uris": f" {RADIO}/oauth2client \r\n\r\n{RADIO}/other",
    "backchannel_logout_uri": f"{RADIO}/bclogout",
    "post_logout_redirect_uris": f"{RADIO}/logged-out",
}


def typed(browser: SiteClient, path: str, **changes: Any) -> dict[str, Any]:
    """The page's form with changed fields; None unticks a box."""
    values = {**form_of(browser, path), **changes}
    return {name: value for name, value in values.items() if value is not None}


def client(provider: Provider, client_id: str = "fleet-radio") -> Client:
    """The row."""
    (row,) = (row for row in provider.rows(Client) if row.client_id == client_id)
    return row


@pytest.fixture
def registered(admin: SiteClient, radio: PaperApp) -> str:
    """Registers Fleet Radio with the form; returns its secret."""
    del radio
    page = admin.submit(REGISTER, **typed(admin, REGISTER, **TYPED, client_id="fleet-radio"))
    assert page.status_code == 201, words(page)
    found = re.search(r'id="client-secret">([^<]+)<', page.text)
    assert found
    return found[1]


# --- registering ---


@pytest.mark.usefixtures("registered")
def test_application_needs_only_a_name_and_four_addresses(provider: Provider) -> None:
    row = client(provider)
    assert (row.name, row.home_url, row.scopes) == ("Fleet Radio", f"{RADIO}/", ["openid", "profile", "email"])
    assert row.redirect_uris == [f"{RADIO}/oauth2client", f"{RADIO}/other"]
    assert row.post_logout_redirect_uris == [f"{RADIO}/logged-out"]
    assert (row.backchannel_logout_uri, row.backchannel_logout_session_required) == (f"{RADIO}/bclogout", True)
    assert (row.response_types, row.grant_types) == (["code"], ["authorization_code", "refresh_token"])
    assert (row.require_pkce, row.may_introspect, row.tell_logout_reason) == (True, False, False)
    assert (row.claims_in_id_token, row.notify_initiator) == (False, True)
    assert (row.connect_timeout, row.read_timeout, row.retry_seconds) == (2.0, 5.0, None)
    assert row.delete_tokens_on_logout is None


@pytest.mark.usefixtures("radio")
def test_secret_is_shown_once_with_the_apps_settings(admin: SiteClient, provider: Provider) -> None:
    page = admin.submit(REGISTER, **typed(admin, REGISTER, **TYPED, client_id="fleet-radio"))
    text = words(page)
    for needed in (
        "Fleet Radio is registered", f"Issuer {provider.issuer}", f"{provider.issuer}/.well-known/openid-configuration",
        "Client ID fleet-radio", f"Redirect URI {RADIO}/oauth2client", "shown only once",
        f"FLASK_RELYING_PARTY_BASE_URL={RADIO} ", "FLASK_RELYING_PARTY_ALLOW_PLAIN_HTTP=true",
    ):  # fmt: skip
        assert needed in text
    assert re.findall(r'data-copy="(client ID|client secret)"', page.text) == ["client ID", "client secret"]
    secret = re.search(r'id="client-secret">([^<]+)<', page.text)
    assert secret
    assert client(provider).check_client_secret(secret[1])
    assert secret[1] not in admin.get("/console/applications/fleet-radio").text
    assert secret[1] not in admin.get("/console/applications/fleet-radio/edit").text


@pytest.mark.usefixtures("radio")
def test_second_click_registers_no_duplicate(admin: SiteClient, provider: Provider) -> None:
    values = typed(admin, REGISTER, **TYPED)
    assert admin.submit(REGISTER, **values).status_code == 201
    again = admin.submit(REGISTER, **values)
    assert again.status_code == 422
    assert "Another application has or had this id." in words(again)
    assert len([row for row in provider.rows(Client) if row.name == "Fleet Radio"]) == 1


def test_service_client_for_the_admin_api_needs_no_redirect_uri(admin: SiteClient, provider: Provider) -> None:
    """RFC 6749 §4.4: it signs nobody in."""
    ticked = {"response_types": None, "grant_types": ["client_credentials"], "redirect_uris": "", "client_id": "script"}
    page = admin.submit(REGISTER, **typed(admin, REGISTER, client_name="Script", scope="account:read", **ticked))
    assert page.status_code == 201, words(page)
    row = client(provider, "script")
    assert (row.grant_types, row.response_types, row.scopes) == (["client_credentials"], [], ["account:read"])
    path = "/console/applications/script/edit"
    assert "Saved Script." in after(admin, admin.submit(path, **form_of(admin, path)))


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({"client_name": "", "redirect_uris": ""}, "Enter a name."),
    "fragment": ({"redirect_uris": f"{RADIO}/cb#x"}, "The address has a fragment."),
    "no-address": ({"redirect_uris": "radio"}, "The address is not an http or https URL."),
    "second-line": ({"redirect_uris": f"{RADIO}/cb\njavascript:x"}, "Number 2: The address is not an http"),
    "logout-url": ({"backchannel_logout_uri": "ftp://radio.example"}, "The address is not an http or https URL."),
    "home": ({"home_url": "javascript:alert(1)"}, "The address is not an http or https URL."),
    "method": ({"token_endpoint_auth_method": "none at all"}, "token_endpoint_auth_method is not supported."),
    "key": ({"token_endpoint_auth_method": "private_key_jwt"}, "private_key_jwt needs jwks or jwks_uri."),
    "jwks": ({"jwks": "{"}, "This is not JSON."),
    "jwks-list": ({"jwks": "[]"}, "This is not a JSON object."),
    "jwks-no-keys": ({"jwks": "{}"}, "jwks is not a JWK Set"),
    "both-keys": ({"jwks": '{"keys": []}', "jwks_uri": f"{RADIO}/jwks"}, "jwks and jwks_uri exclude each other."),
    "no-flow": ({"response_types": None}, "Choose at least one (response_types)"),
    "flow": ({"response_types": ["token"]}, "response_types has a type that is not supported."),
    "public-plain": (
        {"token_endpoint_auth_method": "none", "backchannel_logout_uri": "http://radio.example/b"},
        "A public client needs https",
    ),
    "public-program": (
        {"token_endpoint_auth_method": "none", "grant_types": ["client_credentials"]},
        "only if the application authenticates",
    ),
    "grant": ({"grant_types": ["password"]}, "Number 2: Choose one of"),
    "policy": ({"delete_tokens_on_logout": "some"}, "Choose one of"),
    "timeout-word": ({"connect_timeout": "two"}, "Enter a number, such as 2.5."),
    "timeout-empty": ({"read_timeout": ""}, "Enter a number, such as 2.5."),
    "timeout-long": ({"read_timeout": "600"}, "Enter 10.0 or less."),
    "deadline": ({"retry_seconds": "1.5"}, "Enter a whole number"),
    "certificate": ({"ca_certificates": "-----BEGIN CERTIFICATE-----"}, "These are not certificates"),
    "client-id": ({"client_id": "a b"}, "Use letters, digits and"),
    "taken": ({"client_id": DISPATCH}, "Another application has or had this id."),
    "scope": ({"scope": '"'}, "is not a scope"),
}


@pytest.mark.usefixtures("radio")
@pytest.mark.parametrize("case", REFUSED)
def test_invalid_form_shows_errors_and_keeps_the_input(case: str, admin: SiteClient, provider: Provider) -> None:
    changes, sentence = REFUSED[case]
    before = len(provider.rows(Client))
    page = admin.submit(REGISTER, **typed(admin, REGISTER, **{**TYPED, **changes}))
    assert page.status_code == 422
    assert sentence in words(page)
    assert 'aria-invalid="true"' in page.text or "not supported" in sentence or "grant" in case or "program" in case
    assert f"{RADIO}/logged-out" in page.text, "what was right is not lost"
    assert "<title>Error: " in page.text
    assert len(provider.rows(Client)) == before


@pytest.mark.usefixtures("radio")
def test_error_under_more_settings_is_visible(admin: SiteClient) -> None:
    page = admin.submit(REGISTER, **typed(admin, REGISTER, **TYPED, read_timeout="x"))
    assert '<details class="card more" open>' in page.text


def test_every_field_is_explained_with_an_example(admin: SiteClient) -> None:
    """A new user has only the page's explanations."""
    for field in fields(is_new=True):
        if field.kind in ("text", "url", "textarea") and field.name != "retry_seconds":
            assert "For example: " in field.hint or field.name == "jwks", field.name
    page = admin.get(REGISTER)
    assert "You need up to four URLs" in words(page)


def test_documentation_and_pages_have_the_pkce_line_of_each_library(admin: SiteClient, radio: PaperApp) -> None:
    """A client that is registered here must use PKCE, and these libraries do so only if they are told to."""
    del radio
    documentation, form = Path("docs/console.md").read_text("utf-8"), words(admin.get(REGISTER))
    page = words(admin.submit(REGISTER, **typed(admin, REGISTER, **TYPED)))
    assert "The app must use PKCE." in page
    for library, line, _ in PKCE_SETTINGS:
        assert f"{library} {line}" in form
        assert f"{library} {line}" in page
        assert f"| {library} | `{line}`" in documentation


@pytest.mark.usefixtures("radio")
def test_result_page_has_no_pkce_lines_if_pkce_is_not_required(admin: SiteClient) -> None:
    page = words(admin.submit(REGISTER, **typed(admin, REGISTER, **TYPED, require_pkce=None)))
    assert "registered" in page
    assert "PKCE" not in page


LACKED_PKCE = "Sign-in refused: the app does not use PKCE"


def test_first_refusal_without_pkce_is_shown_until_the_app_signs_a_user_in(
    admin: SiteClient, provider: Provider, clock: Clock
) -> None:
    path, first = f"/console/applications/{DISPATCH}", int(clock.now)
    provider.authorize(admin, scope="unknown", response_type="nothing")
    assert LACKED_PKCE not in words(admin.get(path)), "another refusal says nothing about PKCE"
    for _ in range(2):
        provider.authorize(admin, code_challenge=None, code_challenge_method=None)
        clock.now += 60
    page = admin.get(path)
    assert LACKED_PKCE in words(page)
    assert f'datetime="{datetime.fromtimestamp(first, UTC):%Y-%m-%dT%H:%M:%S}' in page.text.partition(LACKED_PKCE)[2]
    assert LACKED_PKCE not in words(admin.get(f"/console/applications/{MANAGER}"))
    provider.code(admin)
    assert LACKED_PKCE not in words(admin.get(path))


def test_refusal_without_pkce_is_not_shown_for_a_public_client(admin: SiteClient, provider: Provider) -> None:
    """A public client cannot do without PKCE, so its libraries use it."""
    with provider.database() as db:
        db.get_one(Client, DISPATCH).token_endpoint_auth_method = "none"  # the name of a method
        db.commit()
    provider.authorize(admin, code_challenge=None, code_challenge_method=None)
    assert LACKED_PKCE not in words(admin.get(f"/console/applications/{DISPATCH}"))


def test_documentation_lists_every_field_of_the_form() -> None:
    """docs/console.md, *All settings*. To update the page, paste these rows."""
    page = Path("docs/console.md").read_text("utf-8")
    rows = [f"| {field.label} | `{field.name}` | {field.hint} |" for field in fields(is_new=True)]
    assert re.findall(r"^\| .+ \| `[a-z_]+` \| .*\|$", page, re.MULTILINE) == rows


def test_admin_api_describes_settings_as_the_form_does(admin: SiteClient) -> None:
    document = admin.get("/admin/api/v1/openapi.json").get_json()
    member = document["components"]["schemas"]["RegisteredClient"]["properties"]["backchannelLogoutUri"]
    (field,) = (field for field in fields(is_new=True) if field.name == "backchannel_logout_uri")
    assert member["title"] == field.label
    assert field.hint.startswith(member["description"])


def test_form_offers_the_supported_values() -> None:
    assert set(FLOWS) == set(RESPONSE_TYPES)
    assert set(METHODS) == set(KNOWN_METHODS)


@pytest.mark.usefixtures("radio")
def test_hostile_name_is_escaped(admin: SiteClient) -> None:
    admin.submit(REGISTER, **typed(admin, REGISTER, **{**TYPED, "client_name": HOSTILE}, client_id="fleet-radio"))
    for path in ("", "/fleet-radio", "/fleet-radio/edit", "/fleet-radio/remove", "/fleet-radio/secret"):
        page = admin.get("/console/applications" + path)
        assert "<script>alert" not in page.text
        assert HOSTILE in words(page) or path.endswith("edit")


# --- the list ---


def test_list_shows_the_important_settings(admin: SiteClient, provider: Provider, registered: str) -> None:
    del registered
    text = words(admin.get("/console/applications"))
    assert "Pickup Dispatch pickup-dispatch" in text
    assert f"Fleet Radio fleet-radio {RADIO}/bclogout session 0" in text
    provider.change_client("fleet-radio", backchannel_logout_uri=None)
    assert "none: not notified" in words(admin.get("/console/applications"))


@pytest.mark.usefixtures("registered")
def test_search_finds_applications_and_reports_no_match(admin: SiteClient) -> None:
    found = words(admin.get("/console/applications?search=radio"))
    assert "Fleet Radio" in found
    assert "Pickup Manager" not in found
    assert "No such application" in words(admin.get("/console/applications?search=%25"))


def test_long_list_is_paged(admin: SiteClient, provider: Provider) -> None:
    names: dict[str, Any] = {
        "redirect_uris": [],
        "post_logout_redirect_uris": [],
        "scopes": [],
        "grant_types": [],
        "response_types": [],
    }
    with provider.database() as db:
        db.add_all(Client(client_id=f"app-{number:03}", name=f"App {number:03}", **names) for number in range(120))
    first = admin.get("/console/applications?search=app-")
    assert "App 049" in first.text
    assert "App 050" not in first.text
    assert "Page 1 of 3" in words(first)
    last = admin.get("/console/applications?search=app-&page=3")
    assert "App 119" in last.text
    assert 'href="/console/applications?search=app-&amp;page=2"' in last.text
    assert ">Next<" not in last.text


def test_self_registered_client_is_marked(register: Registrar, provider: Provider) -> None:
    party = register()
    admin = operator(provider)
    assert "registered itself" in words(admin.get("/console/applications"))
    assert "registered itself" in words(admin.get(f"/console/applications/{party.id}"))
    assert "can still change its registration" in words(admin.get(f"/console/applications/{party.id}/edit"))


# --- changing ---


@pytest.mark.usefixtures("radio")
@pytest.mark.parametrize("client_id", [DISPATCH, MANAGER])
def test_saving_without_a_change_changes_nothing(client_id: str, admin: SiteClient, provider: Provider) -> None:
    """The form contains every value, so none is lost by saving."""
    path = f"/console/applications/{client_id}/edit"
    before = values_of(client(provider, client_id))
    assert "Saved" in after(admin, admin.submit(path, **form_of(admin, path)))
    assert values_of(client(provider, client_id)).items() >= before.items()
    assert provider.events("op.client.changed") == []


@pytest.mark.usefixtures("registered")
def test_each_setting_can_be_changed(admin: SiteClient, provider: Provider, a_certificate: str) -> None:
    path = "/console/applications/fleet-radio/edit"
    changes = {
        "client_name": "Radio 2",
        "redirect_uris": f"{RADIO}/cb2",
        "token_endpoint_auth_method": "client_secret_post",
        "scope": "openid fleet.read offline_access",
        "backchannel_logout_uri": f"{RADIO}/bcl2?tenant=1",
        "post_logout_redirect_uris": "",
        "delete_tokens_on_logout": "all",
        "jwks_uri": f"{RADIO}/jwks.json",
        "response_types": ["code", "code id_token"],
        "grant_types": None,
        "require_pkce": None,
        "id_token_signed_response_alg": "ES256",
        "may_introspect": "yes",
        "backchannel_logout_session_required": None,
        "claims_in_id_token": "yes",
        "notify_initiator": None,
        "tell_logout_reason": "yes",
        "connect_timeout": "0.5",
        "read_timeout": "1.25",
        "retry_seconds": "60",
        "ca_certificates": a_certificate,
    }
    page = after(admin, admin.submit(path, **typed(admin, path, **changes)))
    assert "Saved Radio 2." in page
    assert "500 milliseconds to connect, 1.25 seconds to answer; retried for 1 minute" in page
    row = client(provider)
    assert (row.name, row.redirect_uris, row.post_logout_redirect_uris) == ("Radio 2", [f"{RADIO}/cb2"], [])
    assert (row.claims_in_id_token, row.notify_initiator) == (True, False)
    assert row.scopes == ["openid", "fleet.read", "offline_access"]
    assert (row.token_endpoint_auth_method, row.id_token_signed_response_alg) == ("client_secret_post", "ES256")
    assert (row.backchannel_logout_uri, row.delete_tokens_on_logout) == (f"{RADIO}/bcl2?tenant=1", "all")
    assert row.registered["jwks_uri"] == f"{RADIO}/jwks.json"
    assert row.response_types == ["code", "code id_token"]
    assert row.grant_types == ["authorization_code", "implicit"]
    assert (row.require_pkce, row.may_introspect, row.tell_logout_reason) == (False, True, True)
    assert row.backchannel_logout_session_required is False
    assert (row.connect_timeout, row.read_timeout, row.retry_seconds) == (0.5, 1.25, 60)
    assert row.ca_certificates == a_certificate.strip()
    assert admin.submit(path, **form_of(admin, path)).status_code == 303, "and the form takes back what it shows"
    assert client(provider).ca_certificates == a_certificate.strip()


@pytest.fixture(scope="session")
def a_certificate() -> str:
    """Of an authority of one's own, in PEM."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.not_valid_before(datetime(2026, 1, 1, tzinfo=UTC)).not_valid_after(
        datetime(2036, 1, 1, tzinfo=UTC)
    )
    signed = builder.serial_number(1).sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode()


@pytest.mark.usefixtures("registered")
def test_invalid_change_changes_nothing(admin: SiteClient, provider: Provider) -> None:
    path = "/console/applications/fleet-radio/edit"
    page = admin.submit(path, **typed(admin, path, client_name="Other", redirect_uris="nowhere"))
    assert page.status_code == 422
    assert "The address is not an http or https URL." in words(page)
    assert client(provider).name == "Fleet Radio"


def test_secret_from_the_settings_is_not_reported_as_shown(admin: SiteClient) -> None:
    """The IdP never showed it; a new secret made by an operator was shown."""
    path = f"/console/applications/{DISPATCH}"
    assert "Client secret from the settings: PICKUP_DISPATCH_CLIENT_SECRET" in words(admin.get(path))
    assert "shown once" not in words(admin.get(path))
    send(admin, f"{path}/secret")
    assert "Client secret shown once, when it was made; only its hash is kept" in words(admin.get(path))


@pytest.mark.usefixtures("registered")
def test_client_id_cannot_be_changed(admin: SiteClient, provider: Provider) -> None:
    path = "/console/applications/fleet-radio/edit"
    assert 'name="client_id"' not in admin.get(path).text
    admin.submit(path, **typed(admin, path, client_id=DISPATCH, client_name="Other"))
    assert client(provider).name == "Other"
    assert client(provider, DISPATCH).name == "Pickup Dispatch"


def test_page_explains_what_settings_and_reset_change(admin: SiteClient) -> None:
    page = words(admin.get(f"/console/applications/{DISPATCH}/edit"))
    assert "the new value replaces the one here" in page
    assert "“make reset” restores everything" in page


@pytest.mark.usefixtures("registered")
def test_change_to_a_secret_method_shows_the_new_secret(admin: SiteClient, provider: Provider) -> None:
    path = "/console/applications/fleet-radio/edit"
    admin.submit(path, **typed(admin, path, token_endpoint_auth_method="none"))
    assert client(provider).secret_hash is None
    page = after(admin, admin.submit(path, **typed(admin, path, token_endpoint_auth_method="client_secret_basic")))
    assert "has no secret yet" in page
    page = words(send(admin, "/console/applications/fleet-radio/secret"))
    assert "A new secret for Fleet Radio" in page


def test_new_secret_needs_confirmation_and_is_shown_once(
    registered: str, admin: SiteClient, provider: Provider
) -> None:
    path = "/console/applications/fleet-radio/secret"
    assert "The old secret stops working immediately" in words(admin.get(path))
    assert client(provider).check_client_secret(registered), "the question alone changes nothing"
    page = admin.submit(path)
    found = re.search(r'id="client-secret">([^<]+)<', page.text)
    assert found
    assert client(provider).check_client_secret(found[1])
    assert not client(provider).check_client_secret(registered)


@pytest.mark.usefixtures("registered")
def test_public_application_gets_no_secret_page(admin: SiteClient, provider: Provider) -> None:
    provider.change_client("fleet-radio", token_endpoint_auth_method="none", secret_hash=None)
    answer = send(admin, "/console/applications/fleet-radio/secret")
    assert answer.status_code == 409
    assert "has no secret because it authenticates in another way. Nothing has changed." in words(answer)


# --- checking ---


@pytest.mark.usefixtures("registered")
def test_check_reports_whether_the_app_can_be_notified(admin: SiteClient, provider: Provider) -> None:
    path = "/console/applications/fleet-radio"
    admin.get(path)
    page = after(admin, admin.submit(f"{path}/check"))
    assert "Reached. It refused our invalid test token" in page
    provider.network.refuse(RADIO)
    page = after(admin, admin.submit(f"{path}/check"))
    assert "Not reached: nothing listens on that port." in page


# --- removing ---


def test_removal_shows_its_consequences_and_result(provider: Provider, cameron: SiteClient) -> None:
    """Its apps are notified; the users' sessions and other apps continue."""
    tokens, kept = provider.tokens(cameron, MANAGER), provider.tokens(cameron, DISPATCH)
    admin = operator(provider)
    path = f"/console/applications/{MANAGER}/remove"
    question = words(admin.get(path))
    assert "Remove Pickup Manager?" in question
    assert "Its active sessions 1; notified immediately" in question
    assert provider.works(tokens["access_token"]), "the question alone changes nothing"
    page = after(admin, admin.submit(path))
    assert "Removed Pickup Manager. It was notified of the end of 1 session." in page
    assert "pickup-manager" not in page
    (told,) = provider.logout_tokens(MANAGER)
    assert told["sub"] == tokens_sub(tokens)
    assert not provider.works(tokens["access_token"])
    assert provider.works(kept["access_token"])
    assert [row.client_id for row in provider.rows(Participation)] == [DISPATCH]
    assert provider.logout_tokens(DISPATCH) == []
    assert admin.get(path).status_code == 404
    assert admin.submit(path).status_code == 404, "a second click finds nothing"
    (event,) = provider.events("op.client.removed")
    assert event.detail == {"by": "admin"}


def tokens_sub(tokens: dict[str, Any]) -> str:
    """Whose they are."""
    return str(read(tokens["id_token"])[1]["sub"])


def test_removal_of_an_unreachable_app_says_so(provider: Provider, cameron: SiteClient) -> None:
    del cameron
    provider.change_client(MANAGER, backchannel_logout_uri=None)
    admin = operator(provider)
    path = f"/console/applications/{MANAGER}/remove"
    assert "1; not notified: The client has no back-channel logout URI." in words(admin.get(path))
    assert "Removed Pickup Manager. No logout request was sent." in after(admin, admin.submit(path))
    assert [row.state for row in provider.rows(Delivery)] == ["not_sent"]


@pytest.mark.usefixtures("radio")
def test_stale_form_of_a_second_operator_is_rejected(admin: SiteClient, provider: Provider) -> None:
    """The first operator's values apply, and the second one's input is kept in the form."""
    path = f"/console/applications/{DISPATCH}/edit"
    first, second = form_of(admin, path), form_of(admin, path)
    assert admin.submit(path, **{**first, "read_timeout": "9"}).status_code == 303
    for _ in range(2):
        answer = admin.submit(path, **{**second, "connect_timeout": "3"})
        assert answer.status_code == 422
        assert "Another operator changed this application in the meantime" in words(answer)
        assert 'name="connect_timeout"' in answer.text
    (client,) = (row for row in provider.rows(Client) if row.client_id == DISPATCH)
    assert (client.read_timeout, client.connect_timeout) == (9.0, 2.0)
    assert admin.submit(path, **{**form_of(admin, path), "connect_timeout": "3"}).status_code == 303
