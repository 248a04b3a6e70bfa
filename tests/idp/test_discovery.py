"""What the provider tells about itself: Discovery 1.0 §3, JWK Set."""

from typing import Any

import pytest

from tests.conftest import SiteClient
from tests.idp.conftest import Provider
from tests.network import query_of
from tests.tokens import unb64


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


def test_the_issuer_is_the_address_it_was_asked_at(document: dict[str, Any], provider: Provider) -> None:
    """DISC-02: the prefix of the document's own address, without a slash at the end."""
    assert document["issuer"] == provider.issuer
    assert not document["issuer"].endswith("/")


def test_what_must_be_there_is_there(document: dict[str, Any]) -> None:
    """DISC-03, DISC-10, DISC-12, DISC-17, ISS-01, RPL-01."""
    for name in ("authorization", "token", "userinfo", "introspection", "revocation", "end_session"):
        assert document[f"{name}_endpoint"].startswith(document["issuer"] + "/")
    assert document["response_types_supported"] == ["code"]
    assert document["subject_types_supported"] == ["public"]
    assert document["id_token_signing_alg_values_supported"] == ["RS256"]
    assert document["code_challenge_methods_supported"] == ["S256"]
    assert document["authorization_response_iss_parameter_supported"] is True
    assert document["request_parameter_supported"] is False
    assert document["request_uri_parameter_supported"] is False
    assert "openid" in document["scopes_supported"]


def test_no_algorithm_without_a_signature_is_announced(document: dict[str, Any]) -> None:
    """DEC-01: none appears nowhere."""
    assert "none" not in str([value for name, value in document.items() if "alg" in name])


def test_every_announced_address_answers(document: dict[str, Any], idp_client: SiteClient) -> None:
    """DISC-22: nothing is announced that is not there."""
    for name, value in document.items():
        if name.endswith(("_endpoint", "_uri")):
            path = value.removeprefix(document["issuer"])
            assert idp_client.get(path).status_code != 404, name


@pytest.mark.parametrize("parameter", ["request", "request_uri", "registration"])
def test_what_is_not_announced_is_refused_by_name(parameter: str, provider: Provider) -> None:
    """DISC-22, ROB-01, AUTH-25: not silently ignored."""
    response = provider.authorize(provider.browser(), **{parameter: "x"})
    assert query_of(response.location)["error"] == f"{parameter}_not_supported"


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/oauth2/jwks"])
def test_anybody_may_read_it_and_keep_it_for_a_while(path: str, idp_client: SiteClient) -> None:
    """DISC-21, JWK-06: for scripts of other sites, too; the keys for a minute, so that a rotation gets around."""
    response = idp_client.get(path, headers={"Origin": "https://elsewhere.example"})
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert "public" in response.headers["Cache-Control"]
    assert int(response.headers["Cache-Control"].partition("max-age=")[2]) <= (60 if "jwks" in path else 3600)
    assert "Set-Cookie" not in response.headers


def test_only_public_keys_are_published_and_each_has_a_name(idp_client: SiteClient) -> None:
    """JWK-01, JWK-02, JWK-04: nothing private; kid, use and alg; 2048 bits."""
    (key,) = idp_client.get("/oauth2/jwks").get_json()["keys"]
    assert set(key) == {"kty", "n", "e", "kid", "use", "alg"}
    assert (key["kty"], key["use"], key["alg"]) == ("RSA", "sig", "RS256")
    assert key["kid"]
    assert int.from_bytes(unb64(key["n"]), "big").bit_length() >= 2048
