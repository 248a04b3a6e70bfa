"""The rules of client metadata (Registration 1.0 §2, RFC 7591 §2)."""

from dataclasses import replace
from typing import Any

import pytest

from idp.models import Client
from tests.idp.conftest import Provider
from tests.idp.parties import ALL_TYPES, GRANTS, SHOP, Registrar
from tests.idp.parties import key as shop_key

# --- what is refused ---

REFUSED: dict[str, dict[str, Any]] = {
    "REG-06-no-redirect-uris": {"redirect_uris": ...},
    "REG-06-empty-list": {"redirect_uris": []},
    "REG-06-a-word": {"redirect_uris": f"{SHOP}/cb"},
    "REG-06-fragment": {"redirect_uris": [f"{SHOP}/cb#f"]},
    "REG-06-empty-fragment": {"redirect_uris": [f"{SHOP}/cb#"]},
    "REG-06-relative": {"redirect_uris": ["/cb"]},
    "REG-06-no-host": {"redirect_uris": ["https:///cb"]},
    "REG-06-empty": {"redirect_uris": [""]},
    "REG-06-one-of-two": {"redirect_uris": [f"{SHOP}/cb", "javascript:alert(1)"]},
    "REG-06-javascript": {"redirect_uris": ["javascript:alert(1)"]},
    "REG-06-data": {"redirect_uris": ["data:text/html,x"]},
    "REG-06-number": {"redirect_uris": [7]},
    "REG-06-null": {"redirect_uris": None},
    "REG-06-user": {"redirect_uris": ["https://shop.example@evil.example/cb"]},
    "REG-06-csp-injection": {"redirect_uris": ["https://shop.example;script-src *"]},
    "REG-06-csp-injection-host": {"redirect_uris": ["https://a.example;script-src/cb"]},
    "REG-06-csp-comma": {"redirect_uris": ["https://a.example,b/cb"]},
    "REG-06-header-injection": {"redirect_uris": ["https://shop.example/cb\r\nSet-Cookie: a=b"]},
    "REG-06-space": {"redirect_uris": ["https://shop.example/a b"]},
    "REG-06-tab": {"redirect_uris": ["https://shop.example/a\tb"]},
    "REG-06-nul": {"redirect_uris": ["https://shop.example/\x00"]},
    "REG-06-wildcard": {"redirect_uris": ["https://*.example/cb"]},
    "REG-06-not-ascii": {"redirect_uris": ["https://shöp.example/cb"]},
    "REG-06-bad-port": {"redirect_uris": ["https://shop.example:99999/cb"]},
    "REG-06-half-a-character": {"redirect_uris": ["https://shop.example/\ud800"]},
    "REG-06-too-many": {"redirect_uris": [f"{SHOP}/{number}" for number in range(51)]},
    "REG-06-too-long": {"redirect_uris": [f"{SHOP}/" + "x" * 2000]},
    "BCL-07-fragment": {"backchannel_logout_uri": f"{SHOP}/bc#x"},
    "BCL-07-relative": {"backchannel_logout_uri": "/bc"},
    "BCL-07-csp": {"backchannel_logout_uri": "https://shop.example;a/bc"},
    "BCL-09-a-word": {"backchannel_logout_session_required": "true"},
    "RPL-06-fragment": {"post_logout_redirect_uris": [f"{SHOP}/bye#x"]},
    "RPL-06-relative": {"post_logout_redirect_uris": ["bye"]},
    "REG-08-type-unknown": {"response_types": ["code", "token"]},
    "REG-08-type-empty": {"response_types": [""]},
    "REG-08-grant-unknown": {"grant_types": ["password"]},
    "REG-08-code-without-its-grant": {"grant_types": ["implicit"]},
    "REG-08-hybrid-without-implicit": {"response_types": ["code id_token"]},
    "REG-08-implicit-without-its-grant": {"response_types": ["id_token"], "grant_types": ["authorization_code"]},
    "REG-10-both": {"jwks": {"keys": []}, "jwks_uri": f"{SHOP}/jwks.json"},
    "REG-10-jwks-a-list": {"jwks": [shop_key.public_jwk()]},
    "REG-10-jwks-without-keys": {"jwks": {"key": 1}},
    "REG-10-jwks-keys-a-word": {"jwks": {"keys": "x"}},
    "REG-10-jwks-uri-file": {"jwks_uri": "file:///etc/passwd"},
    "REG-10-jwks-uri-user": {"jwks_uri": "https://a:b@shop.example/"},
    "REG-11-pairwise": {"subject_type": "pairwise"},
    "TOK-07-key-method-without-keys": {"token_endpoint_auth_method": "private_key_jwt"},
    "DISC-14-method-unknown": {"token_endpoint_auth_method": "tls_client_auth"},
    "DISC-14-shared-secret-jwt": {"token_endpoint_auth_method": "client_secret_jwt"},
    "IDT-08-none": {"id_token_signed_response_alg": "none"},
    "BCP-09-hs256": {"id_token_signed_response_alg": "HS256"},
    "UI-04-none": {"userinfo_signed_response_alg": "none"},
    "ROB-06-none": {"request_object_signing_alg": "none"},
    "TOK-07-hs256": {"token_endpoint_auth_signing_alg": "HS256"},
    "REG-13-max-age-negative": {"default_max_age": -1},
    "REG-13-max-age-a-word": {"default_max_age": "60"},
    "REG-13-max-age-true": {"default_max_age": True},
    "REG-13-max-age-huge": {"default_max_age": 10**30},
    "REG-12-logo-javascript": {"logo_uri": "javascript:alert(1)"},
    "REG-12-policy-javascript": {"policy_uri": "javascript:alert(1)"},
    "REG-12-logo-csp": {"logo_uri": "https://a.example;script-src"},
    "REG-12-name-a-list": {"client_name": ["x"]},
    "REG-12-name-too-long": {"client_name": "x" * 256},
    "REG-12-name-with-nul": {"client_name": "a\x00b"},
    "REG-12-name-half-a-character": {"client_name": "\ud800"},
    "REG-13-contacts-nul": {"contacts": ["\x00"]},
    "REG-13-request-uris-a-word": {"request_uris": "x"},
    "REG-13-application-type": {"application_type": "desktop"},
}


@pytest.mark.parametrize(("case", "changes"), REFUSED.items(), ids=REFUSED)
def test_invalid_metadata_are_rejected_with_a_message(
    case: str, changes: dict[str, Any], register: Registrar, provider: Provider
) -> None:
    """REG-05, REG-06, REG-08, REG-10, REG-11: 400, an error code, and the member's name; nothing is stored."""
    clients = len(provider.rows(Client))
    response = register.post(**changes)
    assert (response.status_code, response.mimetype) == (400, "application/json"), response.text
    answer = response.get_json()
    about_addresses = case.startswith("REG-06")
    assert answer["error"] == ("invalid_redirect_uri" if about_addresses else "invalid_client_metadata")
    assert response.headers["Cache-Control"] == "no-store"
    named = next(iter(changes))
    assert named in answer["error_description"] or case.startswith(("REG-08", "REG-10", "TOK-07", "DISC-14", "ROB-06"))
    assert len(provider.rows(Client)) == clients


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_only_https_can_be_registered_without_the_demo_switch(scheme: str, register: Registrar) -> None:
    """BCL-08, RPL-06, REG-06: the switch is on here, because the tests' IdP is a demonstration."""
    state = register.provider.state
    strict = replace(state, http=replace(state.http, allow_plain_http=False))
    register.provider.app.extensions["idp"] = strict
    try:
        for name in ("backchannel_logout_uri", "jwks_uri", "logo_uri"):
            response = register.post(**{name: f"{scheme}://shop.example/x"})
            assert response.status_code == (201 if scheme == "https" else 400)
        for name in ("redirect_uris", "post_logout_redirect_uris", "request_uris"):
            response = register.post(**{name: [f"{scheme}://shop.example/x"]})
            assert response.status_code == (201 if scheme == "https" else 400)
    finally:
        register.provider.app.extensions["idp"] = state


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("shop.example", 400),
        ("localhost.shop.example", 400),
        ("192.168.1.7", 400),
        ("localhost:8090", 201),
        ("shop.localhost:8090", 201),
        ("127.0.0.1:8090", 201),
        ("[::1]:8090", 201),
    ],
)
@pytest.mark.parametrize("name", ["backchannel_logout_uri", "post_logout_redirect_uris"])
def test_public_client_needs_https_or_the_loopback(
    name: str, host: str, status: int, register: Registrar, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BCL-08, RPL-06: plain http only for clients that can keep a secret, or on the loopback interface."""
    door = replace(register.provider.state.http, allow_private_addresses=True)
    monkeypatch.setitem(register.provider.app.extensions, "idp", replace(register.provider.state, http=door))
    value: Any = [f"http://{host}/x"] if name.endswith("s") else f"http://{host}/x"
    assert register.post(**{name: value}).status_code == 201, "a client with a secret"
    assert register.post(**{name: value}, token_endpoint_auth_method="none").status_code == status


@pytest.mark.parametrize("name", ["backchannel_logout_uri", "post_logout_redirect_uris"])
def test_public_client_gets_no_http_without_the_demo_switch(
    name: str, register: Registrar, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BCL §2.2: only if the IdP allows http at all."""
    door = replace(register.provider.state.http, allow_plain_http=False)
    monkeypatch.setitem(register.provider.app.extensions, "idp", replace(register.provider.state, http=door))
    address = "http://127.0.0.1:8090/x"
    value: Any = [address] if name.endswith("s") else address
    assert register.post(**{name: value}, token_endpoint_auth_method="none").status_code == 400


def test_every_announced_response_type_can_be_registered(register: Registrar) -> None:
    """DISC-06, REG-08."""
    for response_type in ALL_TYPES:
        assert register.of_type(response_type).information["response_types"] == [response_type]


# --- sectors ---


@pytest.mark.parametrize(
    ("listed", "status"),
    [
        pytest.param(f'["{SHOP}/cb", "{SHOP}/other"]', 201, id="REG-11-lists-it"),
        pytest.param(f'["{SHOP}/other"]', 400, id="REG-11-does-not"),
        pytest.param("[]", 400, id="REG-11-empty"),
        pytest.param(f'{{"{SHOP}/cb": 1}}', 400, id="REG-11-object"),
        pytest.param(f'"{SHOP}/cb"', 400, id="REG-11-word"),
        pytest.param("<html>", 400, id="REG-11-no-json"),
        pytest.param("[" * 60_000, 400, id="REG-11-a-hole"),
        pytest.param("[null, 7, [[]]]", 400, id="REG-11-odd"),
    ],
)
def test_sector_file_must_list_every_redirect_uri(listed: str, status: int, register: Registrar) -> None:
    """REG-11, DEC-03: checked, although subjects are public."""
    register.provider.network.answer(f"{SHOP}/sector.json", 200, listed)
    response = register.post(sector_identifier_uri=f"{SHOP}/sector.json")
    assert response.status_code == status
    if status == 400:
        assert response.get_json()["error"] == "invalid_client_metadata"


@pytest.mark.parametrize("fault", ["refuse", "time_out", "redirect", "not-there", "too-large"])
def test_unavailable_sector_file_rejects_the_registration(fault: str, register: Registrar) -> None:
    """REG-11: the error message does not repeat the server's response."""
    network, uri = register.provider.network, f"{SHOP}/sector.json"
    if fault == "redirect":
        network.answer(uri, 302, f'["{SHOP}/cb"]', {"Location": "https://evil.example/"})
    elif fault == "too-large":
        network.answer(uri, 200, f'["{SHOP}/cb", "' + "x" * 100_000 + '"]')
    elif fault == "not-there":
        network.answer(uri, 404, f'["{SHOP}/cb"]')
    else:
        getattr(network, fault)(uri)
    response = register.post(sector_identifier_uri=uri)
    assert (response.status_code, response.get_json()["error"]) == (400, "invalid_client_metadata")
    assert "sector_identifier_uri" in response.get_json()["error_description"]
    assert not network.to("https://evil.example")


# --- localhost ---


@pytest.mark.parametrize(
    ("host", "types", "kind", "status"),
    [
        ("localhost", ["code"], "web", 201),
        ("localhost", ["code id_token"], "web", 400),
        ("LOCALHOST:8443", ["id_token"], "web", 400),
        ("localhost", ["code id_token"], "native", 201),
        ("localhost.shop.example", ["code id_token"], "web", 201),
        ("shop.example", ["code id_token"], "web", 201),
    ],
)
def test_implicit_web_client_cannot_be_on_localhost(
    host: str, types: list[str], kind: str, status: int, register: Registrar
) -> None:
    """REG-18: the host itself, not a name that contains the word."""
    uris = [f"https://{host}/cb"]
    response = register.post(redirect_uris=uris, response_types=types, grant_types=GRANTS, application_type=kind)
    assert response.status_code == status
