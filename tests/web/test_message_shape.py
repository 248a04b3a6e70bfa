"""What the record of messages shows: tokens decoded, secrets cut, passwords left out; each value bounded."""

import json
import time
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pickup_web import message_shape as shape
from tests.thorough import examples
from tests.tokens import b64

SECRET = "SplxlOBeZQQYbYS6WxSbIA-and-more"
HEADER = {"alg": "RS256", "typ": "logout+jwt"}
CLAIMS = {"iss": "http://idp.localhost:9000", "sub": "248289761002", "sid": "the session"}


def jwt(header: Any, claims: Any, signature: str = "the-signature-of-a-token") -> str:
    """A token in the compact form (RFC 7515 §3.1)."""
    return ".".join([b64(json.dumps(header).encode()), b64(json.dumps(claims).encode()), signature])


TOKEN = jwt(HEADER, CLAIMS)

# --- secrets ---


@pytest.mark.parametrize(
    "name",
    [
        "code",
        "device_code",
        "user_code",
        "code_verifier",
        "access_token",
        "refresh_token",
        "id_token",
        "id_token_hint",
        "logout_token",
        "token",
        "client_secret",
        "client_assertion",
        "registration_access_token",
        "request",
        "resume",
        "Client_Secret",
    ],
)
def test_secret_is_cut_to_six_characters(name: str) -> None:
    assert shape.shown({name: [SECRET]}) == {name: "SplxlO…"}


@pytest.mark.parametrize(
    "name", ["state", "nonce", "scope", "redirect_uri", "code_challenge", "token_type", "username"]
)
def test_other_parameter_is_shown_whole(name: str) -> None:
    assert shape.shown({name: [SECRET]}) == {name: SECRET}


def test_short_secret_is_not_shown_at_all() -> None:
    """Six of eight characters would be almost all of it."""
    assert shape.shown({"client_secret": ["12345678"]}) == {"client_secret": "…"}


@pytest.mark.parametrize("name", ["password", "new_password", "Password", "csrf_token"])
def test_password_and_form_token_are_not_recorded(name: str) -> None:
    assert shape.shown({name: ["correct horse", ""]}) == {name: ["(not recorded)", "(not recorded)"]}


def test_secrets_inside_objects_are_cut() -> None:
    """A registration's answer and a client's keys hold secrets deeper inside."""
    answer = {
        "client": {"client_secret": SECRET, "password": "correct horse"},
        "keys": [{"kty": "RSA", "n": "1", "d": SECRET}],
    }
    assert shape.shown({"answer": [answer]}) == {
        "answer": {
            "client": {"client_secret": "SplxlO…", "password": "(not recorded)"},
            "keys": [{"kty": "RSA", "n": "1", "d": "SplxlO…"}],
        }
    }


@pytest.mark.parametrize(
    "text", ["{}", "/x?hint%3D{}", "see {} there", "http://app.example/?hint={}", "{}.tag.of-a-jwe"]
)
def test_token_inside_another_text_is_cut(text: str) -> None:
    (value,) = shape.shown({"error_description": [text.format(TOKEN)]}).values()
    assert "signature" not in value
    assert TOKEN[:6] + "…" in value


@pytest.mark.parametrize("name", [TOKEN, "5fb7cC0o-2mW_4hYt3Q", "0a" * 32, '{"client_secret": "5fb7c0"}'])
def test_secret_that_was_sent_as_a_name_is_cut(name: str) -> None:
    """A client that forgets "token=" or the content type sends a secret as the name of a parameter."""
    assert list(shape.shown({name: [""]})) == [f"{name[:6]}…"]
    assert list(shape.shown_value("claims", {name: 1})) == [f"{name[:6]}…"]


@pytest.mark.parametrize(
    "name",
    ["request_object_encryption_alg_values_supported", "http://schemas.openid.net/event/backchannel-logout", "maxAge"],
)
def test_usual_name_is_shown_whole(name: str) -> None:
    """Names of parameters, metadata and claims."""
    assert list(shape.shown({name: [""]})) == [name]


def test_characters_that_no_database_stores_are_replaced() -> None:
    """Half of a surrogate pair has no UTF-8, and PostgreSQL stores no NUL."""
    known = shape.json_in(b'{"a\\u0000b": "c\\ud800d", "sid": "\\udfff"}')
    assert shape.shown(known) == {"a\ufffdb": "c\ufffdd", "sid": "\ufffd"}


def test_repeated_parameter_is_a_list() -> None:
    assert shape.shown({"state": ["a", "b"], "scope": ["openid"]}) == {"state": ["a", "b"], "scope": "openid"}


# --- headers ---


@pytest.mark.parametrize(
    ("header", "is_shown"),
    [
        (f"Bearer {SECRET}", "Bearer SplxlO…"),
        ("Bearer short", "Bearer …"),
        ("Basic " + b64encode(b"pickup-dispatch:secret").decode(), "Basic pickup-dispatch"),
        ("Basic " + b64encode(b"no colon").decode(), "Basic …"),
        ("Basic not base64", "Basic …"),
        (f"DPoP {SECRET}", "…"),
        (SECRET, "…"),
        ("", "…"),
    ],
)
def test_authorization_header_shows_client_but_no_credentials(header: str, is_shown: str) -> None:
    assert shape.shown_header("authorization", header) == is_shown


@pytest.mark.parametrize(
    ("header", "is_shown"),
    [
        (f"a={SECRET}; b=1", "a=SplxlO…; b=…"),
        (f"a={SECRET}={SECRET}", "a=SplxlO…"),
        (SECRET, "SplxlO…"),
        ("a=", "a="),
    ],
)
def test_cookies_are_cut(header: str, is_shown: str) -> None:
    assert shape.shown_header("cookie", header) == is_shown


def test_set_cookie_keeps_its_attributes() -> None:
    lines = f"a={SECRET}; HttpOnly; Path=/\nb=; Max-Age=0"
    assert shape.shown_header("set-cookie", lines) == "a=SplxlO…; HttpOnly; Path=/\nb=; Max-Age=0"


def test_location_loses_its_query_and_its_parameters_are_cut() -> None:
    location = f"http://app.example/cb?code={SECRET}&state=a#access_token={SECRET}"
    assert shape.shown_header("location", location) == "http://app.example/cb"
    assert shape.shown(shape.redirect_in(location)) == {"code": "SplxlO…", "state": "a", "access_token": "SplxlO…"}


# --- tokens ---


def test_token_is_decoded_without_its_signature() -> None:
    (token,) = shape.tokens_in({"logout_token": [TOKEN], "state": [TOKEN]}, "request")
    assert token == {"name": "logout_token", "where": "request", "header": HEADER, "claims": CLAIMS}


@pytest.mark.parametrize(
    "value",
    [
        None,
        7,
        "",
        "a.b.c",
        "eyJhbGciOiJub25lIn0",
        jwt([], CLAIMS),
        jwt(HEADER, []),
        b64(b"{") + ".e30.x",
        f"{b64(b'{' * 9)}.{b64(b'[' * 9000)}.x",
        jwt(HEADER, {"a": "x" * 20_000}),
        TOKEN + ".four",
    ],
)
def test_broken_token_is_not_decoded(value: Any) -> None:
    assert shape.tokens_in({"id_token": [value]}, "response") == []


# --- hostile input ---


def test_each_value_is_bounded() -> None:
    more = shape.MAX_NAMES + 1
    many = {f"name {number}": ["x" * (shape.MAX_VALUE + 2)] * more for number in range(more)}
    found = shape.shown(many)
    assert len(found) == shape.MAX_NAMES
    assert {len(values) for values in found.values()} == {shape.MAX_NAMES}
    assert max(len(value) for values in found.values() for value in values) == shape.MAX_VALUE + 1


def test_deep_object_is_bounded() -> None:
    deep: Any = "bottom"
    for _ in range(50):
        deep = {"a": [deep]}
    assert "bottom" not in json.dumps(shape.shown({"deep": [deep]}))


@pytest.mark.parametrize(
    "text", ["eyJ" + "a" * 250_000, "eyJ" + "a." * 125_000, "ey" * 125_000, "eyJhbGciOi." * 25_000, "." * 250_000]
)
def test_search_for_tokens_takes_linear_time(text: str) -> None:
    """A text of 250 kB must not keep the process busy."""
    start = time.perf_counter()
    shape.shown_value("error_description", text)
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize(
    "body", ["NaN", '{"a": NaN, "b": [Infinity, -Infinity]}', '{"a": 1e999}', '{"a": 1' + "0" * 99 + "}"]
)
def test_numbers_that_browsers_cannot_read_are_replaced(body: str) -> None:
    json.dumps(shape.shown(shape.json_in(body)), allow_nan=False)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=examples(20, 60))
@given(st.dictionaries(st.text(), st.lists(ANY_JSON, min_size=1, max_size=3), max_size=5))
def test_any_parameters_become_json(parameters: dict[str, list[Any]]) -> None:
    json.dumps([shape.shown(parameters), shape.tokens_in(parameters, "request")], allow_nan=False)


@settings(max_examples=examples(20, 60))
@given(st.text(), st.binary())
def test_any_text_is_read_without_an_error(text: str, body: bytes) -> None:
    shape.form_in(body), shape.json_in(body), shape.json_in(text), shape.redirect_in(text), shape.host(text)
    shape.shown_headers(dict.fromkeys((*shape.REQUEST_HEADERS, *shape.RESPONSE_HEADERS), text))


@settings(max_examples=examples(20, 60))
@given(
    st.sampled_from(["code", "client_secret", "refresh_token"]), st.text("abcdefgh0123456789", min_size=16, max_size=99)
)
def test_only_six_characters_of_a_secret_are_shown(name: str, secret: str) -> None:
    assert secret[:7] not in json.dumps(shape.shown({name: [secret, {name: secret}], "in": [{name: [secret]}]}))
