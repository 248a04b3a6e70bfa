"""The IdP's metadata: Discovery 1.0 §3, JWK Set."""

from pathlib import Path
from typing import Any

import pytest

import idp as idp_service
from tests.conftest import SiteClient, close, make_settings
from tests.idp.conftest import Provider
from tests.network import query_of
from tests.tokens import read, unb64

HTTPS = {"dispatch_url": "https://d.example/x", "manager_url": "https://m.example/x"}


@pytest.fixture
def document(idp_client: SiteClient) -> dict[str, Any]:
    """The metadata."""
    response = idp_client.get("/.well-known/openid-configuration")
    assert (response.status_code, response.mimetype) == (200, "application/json")
    return dict(response.get_json())


def test_back_channel_logout_is_announced(document: dict[str, Any]) -> None:
    """BCL-01, BCL-02: as JSON booleans."""
    assert document["backchannel_logout_supported"] is True
    assert document["backchannel_logout_session_supported"] is True


def test_issuer_is_the_prefix_of_the_metadata_address(document: dict[str, Any], provider: Provider) -> None:
    """DISC-02: the prefix of the document's own address, without a slash at the end."""
    assert document["issuer"] == provider.issuer
    assert not document["issuer"].endswith("/")


def test_required_metadata_is_present(document: dict[str, Any]) -> None:
    """DISC-03 … DISC-12, DISC-16, DISC-17, ISS-01, INT-03, RPL-01."""
    for name in ("authorization", "token", "userinfo", "introspection", "revocation", "registration", "end_session"):
        assert document[f"{name}_endpoint"].startswith(document["issuer"] + "/")
    types = {"code", "id_token", "id_token token", "code id_token", "code token", "code id_token token"}
    assert set(document["response_types_supported"]) == types
    assert set(document["response_modes_supported"]) == {"query", "fragment", "form_post"}
    assert set(document["grant_types_supported"]) == {
        "authorization_code", "implicit", "refresh_token", "client_credentials",
    }  # fmt: skip
    assert document["subject_types_supported"] == ["public"]
    assert document["id_token_signing_alg_values_supported"] == ["RS256", "ES256", "EdDSA"]
    assert "RS256" in document["userinfo_signing_alg_values_supported"]
    assert document["code_challenge_methods_supported"] == ["S256"]
    assert document["authorization_response_iss_parameter_supported"] is True
    assert document["claims_parameter_supported"] is True
    assert document["request_parameter_supported"] is True
    assert document["request_uri_parameter_supported"] is True
    assert document["require_request_uri_registration"] is True
    assert "openid" in document["scopes_supported"]
    assert {"sub", "name", "email"} <= set(document["claims_supported"])


def test_metadata_lists_authentication_methods_for_each_endpoint(document: dict[str, Any]) -> None:
    """DISC-13, DISC-14, INT-03: with the algorithms, where there is a signature."""
    methods = {"client_secret_basic", "client_secret_post", "private_key_jwt"}
    for endpoint in ("token", "revocation"):
        assert set(document[f"{endpoint}_endpoint_auth_methods_supported"]) == methods | {"none"}
    assert set(document["introspection_endpoint_auth_methods_supported"]) == methods
    for endpoint in ("token", "revocation", "introspection"):
        assert {"RS256", "ES256", "EdDSA"} <= set(document[f"{endpoint}_endpoint_auth_signing_alg_values_supported"])
    assert "RS256" in document["request_object_signing_alg_values_supported"]


# Discovery §3, RFC 8414 §2, RFC 9207 §3, BCL §2.1, RPIL §2.1, and one member in common use without a specification.
KNOWN = {
    "issuer": str, "authorization_endpoint": str, "token_endpoint": str, "userinfo_endpoint": str, "jwks_uri": str,
    "registration_endpoint": str, "introspection_endpoint": str, "revocation_endpoint": str,
    "end_session_endpoint": str, "scopes_supported": list, "response_types_supported": list,
    "response_modes_supported": list, "grant_types_supported": list, "acr_values_supported": list,
    "subject_types_supported": list, "id_token_signing_alg_values_supported": list,
    "userinfo_signing_alg_values_supported": list, "request_object_signing_alg_values_supported": list,
    "token_endpoint_auth_methods_supported": list, "token_endpoint_auth_signing_alg_values_supported": list,
    "introspection_endpoint_auth_methods_supported": list,
    "introspection_endpoint_auth_signing_alg_values_supported": list,
    "revocation_endpoint_auth_methods_supported": list,
    "revocation_endpoint_auth_signing_alg_values_supported": list, "display_values_supported": list,
    "claim_types_supported": list, "claims_supported": list, "ui_locales_supported": list,
    "code_challenge_methods_supported": list, "prompt_values_supported": list, "claims_parameter_supported": bool,
    "request_parameter_supported": bool, "request_uri_parameter_supported": bool,
    "require_request_uri_registration": bool, "authorization_response_iss_parameter_supported": bool,
    "backchannel_logout_supported": bool, "backchannel_logout_session_supported": bool,
    "frontchannel_logout_supported": bool, "frontchannel_logout_session_supported": bool,
}  # fmt: skip


def test_every_member_is_known_and_has_its_type(document: dict[str, Any]) -> None:
    """DISC-18, DISC-19: no invented members; lists of strings, and real booleans."""
    assert set(document) <= set(KNOWN)
    for name, value in document.items():
        assert type(value) is KNOWN[name], name
        assert not isinstance(value, list) or all(isinstance(item, str) and item for item in value), name


def test_announced_acr_is_returned(document: dict[str, Any], provider: Provider, cameron: SiteClient) -> None:
    """DISC-15, DEC-04, AUTH-21: of all announced values requested, one is in the ID token."""
    asked = " ".join(document["acr_values_supported"])
    assert read(provider.tokens(cameron, acr_values=asked)["id_token"])[1]["acr"] in asked.split()


def test_https_issuer_has_only_https_addresses(tmp_path: Path) -> None:
    """DISC-02, DISC-05: whatever the request's Host and scheme; below the issuer's path."""
    issuer = "https://op.example/tenant/a"
    app = idp_service.create_app(make_settings(tmp_path, idp_url=issuer, demo_plain_http=False, **HTTPS))
    response = app.test_client().get("/tenant/a/.well-known/openid-configuration", base_url="http://10.0.0.1:9000")
    document = response.get_json()
    assert document["issuer"] == issuer
    for name, value in document.items():
        if name.endswith(("_endpoint", "_uri")):
            assert value.startswith(issuer + "/"), name
    close(app)


def test_unsigned_algorithms_are_not_announced(document: dict[str, Any]) -> None:
    """DEC-01: "none" occurs nowhere."""
    assert "none" not in str([value for name, value in document.items() if "alg" in name])


def test_every_announced_address_exists(document: dict[str, Any], idp_client: SiteClient) -> None:
    """DISC-22: every announced endpoint exists."""
    for name, value in document.items():
        if name.endswith(("_endpoint", "_uri")):
            path = value.removeprefix(document["issuer"])
            assert idp_client.get(path).status_code != 404, name


@pytest.mark.parametrize(
    ("parameter", "error"),
    [
        ("registration", "registration_not_supported"),
        ("request", "invalid_request_object"),
        ("request_uri", "invalid_request_uri"),
    ],
)
def test_unsupported_parameters_have_their_own_errors(parameter: str, error: str, provider: Provider) -> None:
    """DISC-22, ROB-01, AUTH-25: the registration parameter is unsupported; an invalid request object is not ignored."""
    response = provider.authorize(provider.browser(), **{parameter: "x"})
    assert query_of(response.location)["error"] == error


@pytest.mark.parametrize("path", ["/oauth2/token", "/oauth2/userinfo", "/oauth2/register", "/oauth2/register/x"])
def test_cross_origin_scripts_can_call_the_endpoint(path: str, idp_client: SiteClient) -> None:
    """DISC-21: token, userinfo and registration; including the browser's preflight request."""
    for method in ("OPTIONS", "GET" if path.endswith("/x") else "POST"):
        response = idp_client.open(path, method=method, headers={"Origin": "https://spa.example"})
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in response.headers, "no cookie is used there"
    assert "Authorization" in response.headers["Access-Control-Allow-Headers"]


def test_cross_origin_scripts_can_manage_their_registration(idp_client: SiteClient) -> None:
    """DISC-21, REG-04: browsers send a preflight before a PUT or a DELETE."""
    response = idp_client.options("/oauth2/register/x", headers={"Origin": "https://spa.example"})
    assert {"PUT", "DELETE"} <= set(response.headers["Access-Control-Allow-Methods"].split(", "))


@pytest.mark.parametrize("path", ["/oauth2/authorize", "/oidc/logout", "/", "/login", "/consent"])
def test_cross_origin_scripts_cannot_read_pages(path: str, idp_client: SiteClient) -> None:
    """DISC-21: not the authorization endpoint, which uses a cookie."""
    for method in ("GET", "POST", "OPTIONS"):
        response = idp_client.open(path, method=method, headers={"Origin": "https://evil.example"})
        assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/oauth2/jwks"])
def test_metadata_and_keys_are_public_and_cacheable_for_a_minute(path: str, idp_client: SiteClient) -> None:
    """DISC-21, JWK-06: for scripts of other sites too; the keys for a minute, so that a rotation takes effect."""
    response = idp_client.get(path, headers={"Origin": "https://elsewhere.example"})
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert "public" in response.headers["Cache-Control"]
    assert int(response.headers["Cache-Control"].partition("max-age=")[2]) <= (60 if "jwks" in path else 3600)
    assert "Set-Cookie" not in response.headers


def test_only_public_keys_with_a_kid_are_published(idp_client: SiteClient) -> None:
    """JWK-01, JWK-02, JWK-04: no private members; kid, use and alg; 2048 bits."""
    keys = {key["alg"]: key for key in idp_client.get("/oauth2/jwks").get_json()["keys"]}
    assert set(keys) == {"RS256", "ES256", "EdDSA"}
    assert set(keys["RS256"]) == {"kty", "n", "e", "kid", "use", "alg"}
    assert set(keys["ES256"]) == {"kty", "crv", "x", "y", "kid", "use", "alg"}
    assert set(keys["EdDSA"]) == {"kty", "crv", "x", "kid", "use", "alg"}
    assert {key["use"] for key in keys.values()} == {"sig"}
    assert len({key["kid"] for key in keys.values() if key["kid"]}) == 3
    assert int.from_bytes(unb64(keys["RS256"]["n"]), "big").bit_length() >= 2048
