"""An operator's operations on applications: the rules of dynamic registration, and the operator's own settings."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from sqlalchemy.orm import Session

from idp.models import Client, Consent
from idp.operations import InvalidError, NotFoundError, OperationError, applications
from idp.operations.backchannel_check import check_backchannel
from pickup_web.database import db as request_db
from tests.conftest import START
from tests.idp.conftest import DISPATCH, PaperApp, Provider
from tests.idp.parties import Registrar

RADIO = "https://radio.example"
GOOD: dict[str, Any] = {
    "client_name": "Fleet Radio",
    "redirect_uris": [f"{RADIO}/callback"],
    "backchannel_logout_uri": f"{RADIO}/bclogout",
}


@pytest.fixture
def radio(provider: Provider, no_names: None) -> PaperApp:  # noqa: ARG001 # for the registration
    """The third app's site."""
    app = PaperApp(status=400)
    provider.network.add(RADIO, app)
    return app


@pytest.fixture
def db(provider: Provider, radio: PaperApp) -> Iterator[Session]:
    """The transaction of one request."""
    del radio
    with provider.app.app_context():
        yield request_db.session


def register(db: Session, **changes: Any) -> tuple[Client, str | None]:
    """Valid settings with the given changes."""
    return applications.register_application(db, {**GOOD, **changes}, "admin")


# --- registering ---


def test_registered_application_can_be_used_immediately(db: Session, provider: Provider) -> None:
    client, secret = register(db, client_id="fleet-radio")
    assert secret
    assert client.check_client_secret(secret)
    assert (client.client_id, client.name, client.created_at) == ("fleet-radio", "Fleet Radio", START)
    assert client.scopes == ["openid", "profile", "email", "phone", "address", "offline_access"]
    assert client.require_pkce, "RFC 9700 §2.1.1: applications use PKCE unless the operator disables it"
    page = provider.authorize(provider.browser(), "fleet-radio", redirect_uri=f"{RADIO}/callback", scope="openid")
    assert page.status_code == 200
    (event,) = provider.events("op.client.registered")
    assert (event.client_id, event.detail) == ("fleet-radio", {"by": "admin"})


def test_client_id_is_generated_if_none_is_given(db: Session) -> None:
    assert len(register(db)[0].client_id) >= 20


def test_public_client_gets_no_secret(db: Session) -> None:
    client, secret = register(db, token_endpoint_auth_method="none", require_pkce=False)
    assert secret is None
    assert client.secret_hash is None
    assert client.require_pkce, "PKCE-05: a public client has no other protection"


def test_own_api_can_have_its_own_scopes(db: Session) -> None:
    assert register(db, scope="fleet.read profile")[0].scopes == ["openid", "fleet.read", "profile"]


def test_service_client_needs_no_redirect_uri(db: Session) -> None:
    """RFC 6749 §4.4."""
    values = {"redirect_uris": [], "response_types": [], "grant_types": ["client_credentials"], "scope": "account:read"}
    client, secret = register(db, **values)
    assert secret
    assert (client.scopes, client.grant_types) == (["account:read"], ["client_credentials"])


WRONG: dict[str, tuple[str, Any, str]] = {
    "no-name": ("client_name", "", "Enter a name."),
    "blank-name": ("client_name", "  ", "Enter a name."),
    "unseen-characters": ("client_name", "a\x07b", "The text has control characters."),
    "no-redirect-uri": ("redirect_uris", [], "Enter at least one address"),
    "redirect-uri-with-fragment": ("redirect_uris", [f"{RADIO}/cb#x"], "Number 1: The address has a fragment."),
    "second-redirect-uri": (
        "redirect_uris",
        [f"{RADIO}/cb", "javascript:alert(1)"],
        "Number 2: The address is not an http or https URL.",
    ),
    "redirect-uri-is-a-word": ("redirect_uris", "https://radio.example/cb", "Input should be a valid list."),
    "logout-uri-with-fragment": ("backchannel_logout_uri", f"{RADIO}/b#", "The address has a fragment."),
    "logout-uri-with-password": ("backchannel_logout_uri", "https://a:b@radio.example/", "The address has no plain"),
    "post-logout": ("post_logout_redirect_uris", ["/bye"], "Number 1: The address is not an http or https URL."),
    "method": ("token_endpoint_auth_method", "tls", "token_endpoint_auth_method is not supported."),
    "key-without-keys": ("token_endpoint_auth_method", "private_key_jwt", "private_key_jwt needs jwks or jwks_uri."),
    "algorithm": ("id_token_signed_response_alg", "HS256", "This provider signs with RS256 or ES256 or EdDSA."),
    "flow": ("response_types", ["token"], "response_types has a type that is not supported."),
    "no-flow": ("response_types", [], "Choose at least one (response_types)"),
    "policy": ("delete_tokens_on_logout", "some", "Choose one of 'none', 'session' or 'all'."),
    "timeout": ("read_timeout", 3600, "Enter 10.0 or less."),
    "no-timeout": ("connect_timeout", 0, "Enter 0.1 or more."),
    "not-a-number": ("connect_timeout", float("nan"), "Input should be a finite number."),
    "deadline": ("retry_seconds", -1, "Enter 0 or more."),
    "certificate": ("ca_certificates", "hello", "These are not certificates in PEM format"),
    "certificate-with-a-name": ("ca_certificates", "Größe\n-----BEGIN", "These are not certificates"),
    "private-key": ("ca_certificates", "-----BEGIN PRIVATE KEY-----", "This contains a private key"),
    "scope": ("scope", 'openid "fleet"', '"fleet" is not a scope'),
    "client-id": ("client_id", "fleet radio", "Use letters, digits and"),
    "client-id-of-the-form": ("client_id", "register", "This word is reserved"),
    "unknown": ("secret_hash", "x", "There is no such setting."),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_invalid_values_are_rejected_with_a_message(case: str, db: Session, provider: Provider) -> None:
    name, value, sentence = WRONG[case]
    before, client = len(provider.rows(Client)), applications.values_of(provider_client(db))
    blamed = {"key-without-keys": "jwks"}.get(case, name)
    with pytest.raises(InvalidError) as refused:
        register(db, **{name: value})
    assert refused.value.fields[blamed].startswith(sentence)
    if name != "client_id":
        with pytest.raises(InvalidError):
            applications.edit_application(db, DISPATCH, {name: value}, "admin")
    db.rollback()
    assert len(provider.rows(Client)) == before
    assert applications.values_of(provider_client(db)) == client
    assert provider.events("op.client.changed") == []


def provider_client(db: Session) -> Client:
    """Dispatch as stored in the database."""
    db.expire_all()
    return applications.get_application(db, DISPATCH)


def test_all_errors_are_reported_at_once(db: Session) -> None:
    with pytest.raises(InvalidError) as refused:
        register(db, client_name="", redirect_uris=["x"], read_timeout=0)
    assert set(refused.value.fields) == {"client_name", "redirect_uris", "read_timeout"}


def test_logout_uri_in_a_private_network_is_rejected(db: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """BCL-69: also for an operator."""
    monkeypatch.undo()
    with pytest.raises(InvalidError) as refused:
        register(db, backchannel_logout_uri="https://127.0.0.1/bclogout")
    assert refused.value.fields == {"backchannel_logout_uri": "The address leads to a private address."}


def test_client_id_is_never_reused(db: Session, provider: Provider) -> None:
    register(db, client_id="fleet-radio")
    with pytest.raises(InvalidError):
        register(db, client_id="fleet-radio")
    applications.remove_application(db, "fleet-radio", "admin")
    with pytest.raises(InvalidError) as refused:
        register(db, client_id="fleet-radio")
    assert "has or had this id" in refused.value.fields["client_id"]
    assert len([row for row in provider.rows(Client) if row.client_id == "fleet-radio"]) == 1


# --- finding ---


def test_applications_are_found_by_part_of_name_or_id(db: Session) -> None:
    register(db, client_id="fleet-radio")

    def found(search: str) -> list[str]:
        return [client.client_id for client in applications.list_applications(db, search)]

    assert found("RADIO") == ["fleet-radio"]
    assert found("fleet-r") == ["fleet-radio"]
    assert found("%") == []
    assert found("\0") == []
    assert "pickup-manager" in found("")


@pytest.mark.parametrize("client_id", ["nobody", "", "a\0b", "\ud800"])
def test_unknown_client_id_is_not_found(client_id: str, db: Session) -> None:
    with pytest.raises(NotFoundError):
        applications.get_application(db, client_id)


# --- changing ---


def test_change_keeps_the_other_settings(db: Session, provider: Provider) -> None:
    client, _ = register(db, client_id="fleet-radio", scope="fleet.read", may_introspect=True, require_pkce=False)
    before = applications.values_of(client)
    applications.edit_application(db, "fleet-radio", {"read_timeout": 9}, "admin")
    after = applications.values_of(client)
    assert {name for name in after if after[name] != before[name]} == {"read_timeout"}
    (event,) = provider.events("op.client.changed")
    assert (event.outcome, event.detail) == ("read_timeout", {"by": "admin"})


def test_saving_without_a_change_records_no_event(db: Session, provider: Provider) -> None:
    applications.edit_application(db, DISPATCH, {"client_name": "Pickup Dispatch"}, "admin")
    assert provider.events("op.client.changed") == []
    assert "fleet.read" in applications.get_application(db, DISPATCH).scopes


def test_operators_change_keeps_the_clients_own_metadata(register: Registrar, db: Session) -> None:
    party = register(contacts=["ops@shop.example"], default_max_age=60)
    client = applications.edit_application(db, party.id, {"delete_tokens_on_logout": "all"}, "admin")
    assert client.registered["contacts"] == ["ops@shop.example"]
    assert client.registered["default_max_age"] == 60
    assert "delete_tokens_on_logout" not in client.registered, "operator settings are stored elsewhere"
    assert client.registration_token_hash
    assert client.check_client_secret(party.secret)


def test_method_without_a_secret_deletes_the_secret(db: Session) -> None:
    client, secret = register(db, client_id="fleet-radio")
    applications.edit_application(db, "fleet-radio", {"token_endpoint_auth_method": "none"}, "admin")
    assert not client.check_client_secret(secret or "")
    with pytest.raises(OperationError, match="has no secret"):
        applications.renew_secret(db, "fleet-radio", "admin")


def test_new_secret_replaces_the_old_one(db: Session, provider: Provider) -> None:
    client, secret = register(db, client_id="fleet-radio")
    other = applications.renew_secret(db, "fleet-radio", "admin")
    assert client.check_client_secret(other)
    assert not client.check_client_secret(secret or "")
    assert [event.detail for event in provider.events("op.client.secret_renewed")] == [{"by": "admin"}]


# --- removing ---


def test_removed_application_can_no_longer_be_used(db: Session, provider: Provider) -> None:
    _, secret = register(db, client_id="fleet-radio")
    db.add(Consent(sub="248289761002", client_id="fleet-radio", scopes=["openid"], given_at=START))
    db.commit()
    applications.remove_application(db, "fleet-radio", "admin")
    assert provider.rows(Consent) == []
    assert "fleet-radio" not in [client.client_id for client in applications.list_applications(db)]
    with pytest.raises(NotFoundError):
        applications.get_application(db, "fleet-radio")
    headers = provider.basic("fleet-radio", secret)
    answer = provider.app.test_client().post("/oauth2/token", data={"grant_type": "refresh_token"}, headers=headers)
    assert answer.status_code == 401
    assert provider.authorize(provider.browser(), "fleet-radio").status_code == 400


# --- reachability ---

ANSWERS = [
    # status, kind, text
    (400, "good", "as it should"),
    (200, "warn", "accepted an invalid test token"),
    (204, "warn", "accepted an invalid test token"),
    (302, "warn", "redirects"),
    (404, "warn", "Compare the path"),
    (405, "warn", "Compare the path"),
    (401, "warn", "answers with 401"),
    (500, "warn", "the app failed"),
]


@pytest.mark.parametrize(("status", "kind", "words"), ANSWERS)
def test_response_determines_the_result_of_the_check(
    status: int, kind: str, words: str, db: Session, radio: PaperApp, provider: Provider
) -> None:
    """The same call as a delivery, except that its token is invalid."""
    register(db, client_id="fleet-radio", connect_timeout=0.5, read_timeout=1.5)
    radio.status, radio.body = status, '{"error": "invalid_request"}'
    check = check_backchannel(db, "fleet-radio")
    assert (check.reached, check.kind) == (True, kind)
    assert words in check.words
    (exchange,) = provider.network.to(f"{RADIO}/bclogout")
    assert set(exchange.request.form) == {"logout_token"}
    asked = exchange.request.options["asked"]
    assert (asked.connect_seconds, asked.answer_seconds) == (0.5, 1.5)


def test_text_of_the_app_is_shown(db: Session, radio: PaperApp) -> None:
    register(db, client_id="fleet-radio")
    radio.body = '{"error": "invalid_request", "error_description": "not a JWT"}'
    assert "invalid_request: not a JWT" in check_backchannel(db, "fleet-radio").words


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("refuse", "nothing listens on that port"),
        ("time_out", "nothing answered in time"),
        ("unknown", "the host name is unknown"),
        ("certificate", "does not trust its certificate"),
    ],
)
def test_unreachable_app_is_reported_with_the_cause(fault: str, words: str, db: Session, provider: Provider) -> None:
    register(db, client_id="fleet-radio")
    if fault == "unknown":
        applications.edit_application(db, "fleet-radio", {"backchannel_logout_uri": "https://rodia.example/"}, "admin")
    elif fault == "certificate":

        def untrusted(_request: object) -> Any:
            raise requests.exceptions.SSLError("self-signed certificate")

        provider.network.replace(RADIO, untrusted)
    else:
        getattr(provider.network, fault)(RADIO)
    check = check_backchannel(db, "fleet-radio")
    assert (check.reached, check.kind) == (False, "bad")
    assert words in check.words


def test_check_in_a_container_explains_localhost(
    db: Session, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(db, client_id="fleet-radio", backchannel_logout_uri="http://radio.localhost/")
    assert "container" not in check_backchannel(db, "fleet-radio").words
    monkeypatch.setattr(provider.settings, "compose_network", True)
    assert "runs in a container" in check_backchannel(db, "fleet-radio").words


def test_app_without_logout_url_cannot_be_checked(db: Session) -> None:
    register(db, client_id="fleet-radio", backchannel_logout_uri=None)
    check = check_backchannel(db, "fleet-radio")
    assert (check.reached, check.kind) == (False, "warn")


# --- concurrent changes ---


def test_conflicting_change_is_rejected(db: Session) -> None:
    client, _ = register(db, client_id="fleet-radio")
    seen = applications.version_of(client)
    assert applications.edit_application(db, "fleet-radio", {"client_name": "First"}, "admin", seen).name == "First"
    with pytest.raises(InvalidError) as refused:
        applications.edit_application(db, "fleet-radio", {"read_timeout": 9.0}, "alex", seen)
    assert "Another operator changed this application in the meantime" in refused.value.fields[""]
    assert (client.name, client.read_timeout) == ("First", 5.0)
    applications.edit_application(db, "fleet-radio", {"read_timeout": 9.0}, "alex", applications.version_of(client))
    assert client.read_timeout == 9.0


@pytest.mark.parametrize("changes", [{}, {"redirect_uris": [f"{RADIO}/other"]}], ids=["the same", "another address"])
def test_application_can_be_edited_while_its_sector_file_is_unavailable(
    changes: dict[str, Any], db: Session, provider: Provider
) -> None:
    """Registration §5 concerns the redirect URIs: they were checked and have not changed."""
    sector = f"{RADIO}/sector.json"
    provider.network.answer(sector, 200, f'["{RADIO}/callback"]')
    register(db, client_id="fleet-radio", sector_identifier_uri=sector)
    provider.network.refuse(sector)
    values = {"client_name": "Radio", **changes}
    if changes:
        with pytest.raises(InvalidError, match="Connection refused"):
            applications.edit_application(db, "fleet-radio", values, "admin")
    else:
        assert applications.edit_application(db, "fleet-radio", values, "admin").name == "Radio"
