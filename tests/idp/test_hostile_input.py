"""Arbitrary input to every endpoint of the IdP: never a 500, and never a redirect to an unregistered address.

Valid requests with a few alterations reach more code than random input, so the tests use both.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import quote_from_bytes, urlencode, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event
from werkzeug.test import TestResponse

from idp import ROUTES
from pickup_web.database import engine_of
from tests.conftest import SiteClient
from tests.idp.conftest import CHALLENGE, DISPATCH, VERIFIER, Provider, hidden
from tests.idp.parties import ASSERTION_TYPE, SHOP, Party
from tests.thorough import examples
from tests.tokens import b64

MARK = "<xss\"'>"  # must be escaped in a page
PATHS = sorted({path.replace("<client_id>", "x") for _, path, _, _ in ROUTES} | {"/events", "/healthz", "/nowhere"})
METHODS = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "BREW"]
FORM = "application/x-www-form-urlencoded"

quickly = settings(
    max_examples=examples(25, 150),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)

# --- input ---

ODD = [
    b"",
    b" ",
    b"\x00",
    b"a\x00b",
    b"\xff\xfe",
    b"\xed\xa0\x80",  # a lone surrogate
    "\u202eüñ✓🚕".encode(),
    b"\r\nSet-Cookie: a=b",
    MARK.encode(),
    b"%00%0d%0a",
    b"{{7*7}}{%x%}",
    b"' OR 1=1 --",
    b"../../etc/passwd",
    b"https://evil.example/",
    b"//evil.example",
    b"javascript:alert(1)",
    b"https://shop.example@evil.example/cb",
    b"https://shop.example/cb#f",
    b"none",
    b"none login consent",
    b"login",
    b"consent",
    b"code id_token token",
    b"form_post",
    b"query",
    b"-1",
    b"1e999",
    b"9" * 30,
    b"NaN",
    b"true",
    b"null",
    b"[]",
    b"{}",
    b'{"id_token": {"acr": {"values": 1}, "sub": {"value": []}}, "userinfo": {"\\ud800": null}}',
    b"[" * 3000,
    b"x" * 20_000,
    b"a.b.c",
    b"...",
    b64(b'{"alg": "none"}').encode() + b"." + b64(b'{"sub": "\\ud800"}').encode() + b".",
    b64(b'["alg"]').encode() + b".e30.x",
    b64(b"[" * 3000).encode() + b".e30.x",
    b64(b'{"alg": "RS256", "kid": {}, "crit": 1}').encode() + b".e30.x",
]
values = st.one_of(
    st.sampled_from(ODD), st.binary(max_size=60), st.text(max_size=40).map(lambda t: t.encode("utf-8", "replace"))
)
ASKED = [
    "client_id", "redirect_uri", "response_type", "response_mode", "scope", "state", "nonce", "prompt", "max_age",
    "claims", "request", "request_uri", "registration", "id_token_hint", "login_hint", "acr_values", "ui_locales",
    "display", "code_challenge", "code_challenge_method", "resume", "unheard_of",
]  # fmt: skip
SENT = {
    "/oauth2/token": [
        "grant_type", "code", "code_verifier", "redirect_uri", "refresh_token", "scope", "client_id", "client_secret",
        "client_assertion", "client_assertion_type",
    ],
    "/oauth2/introspect": ["token", "token_type_hint", "client_id", "client_secret", "client_assertion"],
    "/oauth2/revoke": ["token", "token_type_hint", "client_id", "client_secret", "client_assertion"],
    "/oauth2/userinfo": ["access_token"],
    "/oidc/logout": ["id_token_hint", "client_id", "post_logout_redirect_uri", "state", "logout_hint", "ui_locales"],
    "/login": ["request", "username", "password", "csrf_token"],
    "/consent": ["request", "answer", "csrf_token"],
    "/oidc/logout/confirm": ["request", "answer", "csrf_token"],
}  # fmt: skip
EVERY_NAME = sorted(
    {*ASKED, *(name for names in SENT.values() for name in names), "after", "sid", "", "a[]", "__proto__"}
)


def changes(names: list[str]) -> st.SearchStrategy[list[tuple[str, bytes]]]:
    """Some of these parameters, with other values."""
    return st.lists(st.tuples(st.sampled_from(names), values), max_size=3)


headers = st.dictionaries(
    st.sampled_from(
        [
            "Authorization",
            "Accept",
            "Cookie",
            "Origin",
            "Referer",
            "Host",
            "X-Forwarded-Host",
            "X-Forwarded-Proto",
            "X-Forwarded-Prefix",
            "Content-Encoding",
            "Transfer-Encoding",
            "User-Agent",
            "Range",
            "If-None-Match",
        ]
    ),
    st.one_of(
        st.sampled_from(
            [
                "",
                "Basic",
                "Basic ===",
                "Basic \xfc",
                "Basic Og==",
                "Bearer",
                "Bearer \xff",
                "bearer  x",
                "evil.example",
                "\x7f",
                "a=b; c=d; pickup_idp_session=\xff",
                "gzip",
                "x" * 5000,
                "bytes=0-99999999999",
            ]
        ),
        st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=30),
    ),
    max_size=3,
)
content_types = st.sampled_from(
    [FORM, FORM + "; charset=utf-7", FORM + "; charset=nonsense", FORM.upper(), "application/json", "text/plain",
     "multipart/form-data", "multipart/form-data; boundary=x", "multipart/form-data; boundary=", "", "x", "\xff/\xff"]
)  # fmt: skip
json_values: Any = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=20),
        st.sampled_from([MARK, "\ud800", "\x00"]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=8,
)


def encoded(pairs: list[tuple[str, bytes]]) -> str:
    """As a query or a form body, percent-encoded by byte."""
    return "&".join(f"{quote_from_bytes(name.encode())}={quote_from_bytes(value)}" for name, value in pairs)


def spoilt(good: dict[str, str], pairs: list[tuple[str, bytes]], twice: bool) -> str:
    """A valid request with these changes; if ``twice``, they are added to the valid parameters."""
    changed = {name for name, _ in pairs}
    kept = [(name, value.encode()) for name, value in good.items() if twice or name not in changed]
    return encoded(kept + pairs)


GRANT = {"grant_type": "authorization_code", "code_verifier": VERIFIER, "redirect_uri": f"{SHOP}/cb", "code": "x"}
POSTS: dict[str, dict[str, str]] = {
    "/oauth2/token": GRANT,
    "/oauth2/introspect": {"token": "x"},
    "/oauth2/revoke": {"token": "x"},
    "/oauth2/userinfo": {"access_token": "x"},
    "/oidc/logout": {"post_logout_redirect_uri": f"{SHOP}/bye", "state": "s"},
}
FORMS = ["/login", "/consent", "/oidc/logout/confirm"]

# --- forbidden responses ---


@dataclass
class World:
    """The IdP, a signed-in browser, and a client for every flow."""

    provider: Provider
    browser: SiteClient
    shop: Party

    @property
    def addresses(self) -> tuple[str, ...]:
        """The permitted redirect targets: our own and the registered addresses."""
        ours = [self.provider.issuer + "/", "/"]
        apps = [f"{self.provider.url(DISPATCH)}/oauth2client", f"{self.provider.settings.manager_url}/oauth2client"]
        out = [f"{self.provider.url(DISPATCH)}/logged-out", f"{self.provider.settings.manager_url}/logged-out"]
        return (*ours, *apps, *out, f"{SHOP}/cb", f"{SHOP}/bye")

    def post_of_program(
        self, path: str, pairs: list[tuple[str, bytes]], *, twice: bool = False, proof: str = "basic"
    ) -> TestResponse:
        """A request of a client's server, with one kind of authentication or none."""
        good, basic = dict(POSTS[path]), self.provider.basic(self.shop.id, self.shop.secret)
        if proof == "post":
            good |= {"client_id": self.shop.id, "client_secret": self.shop.secret}
        elif proof == "jwt":
            good |= {"client_assertion_type": ASSERTION_TYPE, "client_assertion": self.shop.assertion()}
        if path == "/oauth2/token":
            good["code"] = self.shop.answer(self.browser)["code"]
        sent, headers = spoilt(good, pairs, twice), basic if proof == "basic" else {}
        return self.provider.app.test_client().post(path, data=sent, content_type=FORM, headers=headers)

    def post_of_person(self, path: str, pairs: list[tuple[str, bytes]], *, twice: bool = False) -> TestResponse:
        """A form of ours, with its page's token."""
        page = self.shop.ask(self.browser, prompt="consent")
        good = {"request": hidden(page, "request"), "answer": "deny", "username": "x", "password": "x"}
        good["csrf_token"] = self.browser.csrf_token or ""
        return self.browser.post(path, data=spoilt(good, pairs, twice), content_type=FORM)

    def check(self, response: TestResponse) -> None:
        """The checks of every response."""
        assert response.status_code < 500
        for name, value in response.headers:
            assert not set("\r\n\0") & set(value), name
        self.check_address(response.headers.get("Location", "/"))
        if response.mimetype == "text/html" and response.status_code not in (301, 302, 303, 308):
            text = response.get_data().decode("utf-8")
            assert "Traceback" not in text
            assert "sqlalchemy" not in text.lower()
            assert MARK not in text
            for action in re.findall(r'<form[^>]* action="([^"]*)"', text):
                self.check_address(action)

    def check_address(self, address: str) -> None:
        """Accepts a path of ours, or a registered address with added parameters."""
        bare = re.split("[?#]", address)[0]
        is_path_of_ours = bare.startswith("/") and not bare.startswith(("//", "/\\")) and not urlsplit(address).netloc
        assert is_path_of_ours or bare.startswith(self.provider.issuer + "/") or bare in self.addresses, address


@pytest.fixture
def world(shop: Party, cameron: SiteClient) -> Iterator[World]:
    """See :class:`World`. Like PostgreSQL, its database accepts no NUL in a text."""

    def no_nul(_connection: Any, _cursor: Any, _statement: str, parameters: Any, *_: Any) -> None:
        rows = parameters if isinstance(parameters, list) else [parameters]
        assert not any(isinstance(value, str) and "\0" in value for row in rows for value in row), (
            "PostgreSQL rejects it"
        )

    engine = engine_of(shop.provider.app)
    event.listen(engine, "before_cursor_execute", no_nul)
    yield World(shop.provider, cameron, shop)
    event.remove(engine, "before_cursor_execute", no_nul)


# --- altered requests ---


@quickly
@given(
    pairs=changes(ASKED),
    twice=st.booleans(),
    as_post=st.booleans(),
    own=st.booleans(),
    response_type=st.sampled_from(["code", "code id_token", "id_token token"]),
)
def test_authorization_requests(
    pairs: list[tuple[str, bytes]], twice: bool, as_post: bool, own: bool, response_type: str, world: World
) -> None:
    """AUTH-02, AUTH-03, BCP-01: signed in, with a client allowed to do everything, or a first-party one with PKCE."""
    good = world.shop.parameters(response_type=response_type) if not own else world.provider.parameters()
    sent = spoilt(good, pairs, twice)
    if as_post:
        world.check(world.browser.post("/oauth2/authorize", data=sent, content_type=FORM))
    else:
        world.check(world.browser.get("/oauth2/authorize?" + sent))


@quickly
@given(pairs=changes(ASKED), twice=st.booleans())
def test_authorization_requests_without_a_session(pairs: list[tuple[str, bytes]], twice: bool, world: World) -> None:
    """AUTH-02: without a session: the login page, an error, or a page with the reason."""
    sent = spoilt(world.shop.parameters(), pairs, twice)
    world.check(world.provider.app.test_client().get("/oauth2/authorize?" + sent))


Spoilt: TypeAlias = tuple[str, list[tuple[str, bytes]]]


def to(paths: Iterable[str]) -> st.SearchStrategy[Spoilt]:
    """One of these addresses, and some of its parameters with other values."""
    return st.sampled_from(sorted(paths)).flatmap(lambda path: st.tuples(st.just(path), changes(SENT[path])))


@quickly
@given(request=to(POSTS), twice=st.booleans(), proof=st.sampled_from(["basic", "post", "jwt", "none"]))
def test_posts_of_clients(request: Spoilt, twice: bool, proof: str, world: World) -> None:
    """TOK-02, REV-01, INT-01: from a client with any kind of authentication, and from one without."""
    world.check(world.post_of_program(*request, twice=twice, proof=proof))


@quickly
@given(request=to(FORMS), twice=st.booleans())
def test_forms_of_users(request: Spoilt, twice: bool, world: World) -> None:
    """AUTH-22, RPL-21: with the page's token, so that it passes the first check."""
    world.check(world.post_of_person(*request, twice=twice))


# Values that have crashed servers: each of them in each parameter.
HARD = [
    b"9" * 30,
    b"\x00",
    b"\xff",
    b"\xed\xa0\x80",
    b"[" * 3000,
    b"x" * 20_000,
    MARK.encode(),
    b"//evil.example",
    b"\r\nA: b",
]
IN_QUERY = {"/oauth2/authorize": ASKED, "/oidc/logout": SENT["/oidc/logout"], "/events": ["after", "sid", "name"]}
EACH = [
    pytest.param(method, path, name, id=f"{method}-{path}-{name}")
    for method, names_of in (("POST", SENT), ("GET", IN_QUERY))
    for path, names in names_of.items()
    for name in names
]


@pytest.mark.thorough
@pytest.mark.parametrize(("method", "path", "name"), EACH)
def test_each_parameter_alone(method: str, path: str, name: str, world: World) -> None:
    """A valid request except for this parameter."""
    for value in HARD:
        pairs = [(name, value)]
        if method == "GET":
            good = world.shop.parameters() if path == "/oauth2/authorize" else {}
            world.check(world.browser.get(f"{path}?{spoilt(good, pairs, False)}"))
        elif path in FORMS:
            world.check(world.post_of_person(path, pairs))
        else:
            world.check(world.post_of_program(path, pairs, proof="none" if name.startswith("client") else "basic"))


# --- random input ---


@quickly
@given(
    path=st.sampled_from(PATHS),
    method=st.sampled_from(METHODS),
    query=changes(EVERY_NAME),
    body=st.one_of(
        st.sampled_from(ODD), st.binary(max_size=300), changes(EVERY_NAME).map(lambda pairs: encoded(pairs).encode())
    ),
    content_type=content_types,
    extra=headers,
    signed_in=st.booleans(),
)
def test_random_input_at_every_address(
    path: str, method: str, query: list[tuple[str, bytes]], body: bytes, content_type: str, extra: dict[str, str],
    signed_in: bool, world: World,
) -> None:  # fmt: skip
    """Any method, content type, header and body."""
    client = world.browser if signed_in else world.provider.app.test_client(use_cookies=False)
    if signed_in:
        extra = {name: value for name, value in extra.items() if name not in ("Cookie", "Host")}
    environ = {"HTTP_" + name.upper().replace("-", "_"): value for name, value in extra.items()}
    world.check(
        client.open(
            f"{path}?{encoded(query)}",
            method=method,
            data=body if method not in ("GET", "HEAD") else None,
            environ_overrides={**environ, "CONTENT_TYPE": content_type},
        )
    )


@quickly
@given(
    name=st.binary(min_size=1, max_size=40),
    method=st.sampled_from(["GET", "PUT", "DELETE"]),
    token=st.text(max_size=20),
)
def test_names_in_a_path(name: bytes, method: str, token: str, world: World) -> None:
    """REG-04: /oauth2/register/…"""
    environ = {
        "HTTP_AUTHORIZATION": "Bearer " + token.encode("utf-8").decode("latin-1").replace("\n", "").replace("\r", "")
    }
    path = "/oauth2/register/" + quote_from_bytes(name, safe="")
    world.check(world.provider.app.test_client().open(path, method=method, environ_overrides=environ))


MEMBERS = [
    "redirect_uris", "response_types", "grant_types", "application_type", "token_endpoint_auth_method", "client_name",
    "client_uri", "logo_uri", "contacts", "scope", "jwks", "jwks_uri", "sector_identifier_uri", "subject_type",
    "id_token_signed_response_alg", "userinfo_signed_response_alg", "request_object_signing_alg", "request_uris",
    "default_max_age", "require_auth_time", "default_acr_values", "post_logout_redirect_uris", "backchannel_logout_uri",
    "backchannel_logout_session_required", "software_id", "client_id", "client_secret",
]  # fmt: skip


@quickly
@given(wrong=st.dictionaries(st.sampled_from(MEMBERS), json_values, max_size=3), manage=st.booleans())
def test_registrations(wrong: dict[str, Any], manage: bool, world: World) -> None:
    """REG-05: any JSON in any member; accepted values must work at the authorization endpoint."""
    good = {"redirect_uris": [f"{SHOP}/cb"], "client_name": "Noise"}
    body = json.dumps({**good, **wrong})
    client = world.provider.app.test_client()
    headers = {"Authorization": f"Bearer {world.shop.information['registration_access_token']}"} if manage else {}
    path = f"/oauth2/register/{world.shop.id}" if manage else "/oauth2/register"
    response = client.open(path, method="PUT" if manage else "POST", data=body, headers=headers)
    world.check(response)
    assert response.status_code in (200, 201, 400)
    if response.status_code == 201:
        asked = {"client_id": response.get_json()["client_id"], "redirect_uri": f"{SHOP}/cb", "response_type": "code"}
        challenge = {"scope": "openid", "code_challenge": CHALLENGE, "code_challenge_method": "S256"}
        for prompt in ("none", "login"):
            query = urlencode({**asked, **challenge, "prompt": prompt})
            world.check(world.browser.get("/oauth2/authorize?" + query))


@quickly
@given(
    claims=st.dictionaries(
        st.sampled_from(
            [
                "state",
                "nonce",
                "scope",
                "prompt",
                "max_age",
                "claims",
                "response_mode",
                "redirect_uri",
                "login_hint",
                "exp",
                "aud",
                "iss",
                "code_challenge",
                "x",
            ]
        ),
        json_values,
        max_size=4,
    )
)
def test_signed_request_objects(claims: dict[str, Any], world: World) -> None:
    """ROB-05: a client that signs invalid claims gets an error; the browser is not sent to an address in them."""
    request = world.shop.request_object(**claims)
    world.check(world.shop.ask(world.browser, request=request))


def test_large_body_is_rejected_unread(world: World) -> None:
    """Like BCL-71: 413, as a page of ours."""
    for path in ("/oauth2/token", "/oauth2/authorize", "/oauth2/register", "/login", "/oidc/logout"):
        response = world.browser.post(path, data=b"a=" + b"x" * 300_000, content_type=FORM)
        assert response.status_code in (400, 413)
        world.check(response)
