"""Software that registers itself at the IdP, with its own keys, and parses every kind of response."""

import itertools
import re
import time
from dataclasses import dataclass, field
from html import unescape
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from werkzeug.test import TestResponse

from tests.conftest import SiteClient
from tests.idp.conftest import VERIFIER, PaperApp, Provider
from tests.tokens import SigningKey, jws, read, rsa_key

SHOP = "https://shop.example"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
HYBRID = ["code id_token", "code token", "code id_token token"]
IMPLICIT = ["id_token", "id_token token"]
ALL_TYPES = ["code", *HYBRID, *IMPLICIT]
GRANTS = ["authorization_code", "implicit", "refresh_token"]
NO_PKCE: dict[str, Any] = {"code_challenge": None, "code_challenge_method": None}
key = rsa_key("a shop's key")
_numbers = itertools.count()


@dataclass(frozen=True)
class Answer:
    """An authorization response: ``place`` is query, fragment or form_post."""

    place: str
    address: str
    parameters: dict[str, str]

    def __getitem__(self, name: str) -> str:
        """One of its parameters."""
        return self.parameters[name]


def answer_of(response: TestResponse) -> Answer:
    """The IdP's response to the client; anything else fails the test."""
    if response.status_code == 200:
        return form_of(response)
    assert response.status_code == 303, f"{response.status_code} {response.text}"
    parts = urlsplit(response.location)
    place, text = ("fragment", parts.fragment) if parts.fragment else ("query", parts.query)
    pairs = parse_qsl(text, keep_blank_values=True)
    assert len(dict(pairs)) == len(pairs), f"a parameter is repeated in {response.location}"
    return Answer(place, re.split("[?#]", response.location)[0], dict(pairs))


def form_of(page: TestResponse) -> Answer:
    """FP-01: a form that submits itself."""
    found = re.search(r'<form method="post" action="([^"]*)">(.*?)</form>', page.text, re.DOTALL)
    assert found, f"no redirect, and no form that posts itself: {page.text}"
    assert "form_post.js" in page.text
    fields = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', found[2])
    return Answer("form_post", unescape(found[1]), {unescape(name): unescape(value) for name, value in fields})


@dataclass
class Party:
    """One registered client, with its registration response."""

    provider: Provider
    information: dict[str, Any]
    key: SigningKey = field(default=key)

    @property
    def id(self) -> str:
        """Its client_id."""
        return str(self.information["client_id"])

    @property
    def secret(self) -> str:
        """Its secret."""
        return str(self.information["client_secret"])

    @property
    def uri(self) -> str:
        """Its redirect URI."""
        return str(self.information["redirect_uris"][0])

    def parameters(self, **changes: str | None) -> dict[str, str]:
        """A valid authorization request without PKCE; a parameter changed to None is omitted."""
        good = {"redirect_uri": self.uri, "scope": "openid profile email", "client_id": self.id, **NO_PKCE}
        return self.provider.parameters(**{**good, **changes})

    def ask(self, browser: SiteClient, **changes: str | None) -> TestResponse:
        """Send the browser to the IdP."""
        return browser.get("/oauth2/authorize", query_string=self.parameters(**changes))

    def answer(self, browser: SiteClient, **changes: str | None) -> Answer:
        """The same, if no page is expected."""
        return answer_of(self.ask(browser, **changes))

    def assertion(self, key: SigningKey | None = None, alg: str = "RS256", /, **changes: Any) -> str:
        """RFC 7523 §3: a valid assertion with the given changes; ``...`` omits a claim."""
        now = int(time.time())
        good = {
            "iss": self.id,
            "sub": self.id,
            "aud": f"{self.provider.issuer}/oauth2/token",
            "iat": now,
            "exp": now + 60,
            "jti": f"assertion {next(_numbers)}",
        }
        claims = {name: value for name, value in {**good, **changes}.items() if value is not ...}
        signer = key or self.key
        return jws({"alg": alg, "kid": signer.kid}, claims, signer)

    def proof(self) -> tuple[dict[str, str], dict[str, str]]:
        """Its registered client authentication: headers and form."""
        method = self.information["token_endpoint_auth_method"]
        if method == "client_secret_basic":
            return self.provider.basic(self.id, self.secret), {}
        if method == "client_secret_post":
            return {}, {"client_id": self.id, "client_secret": self.secret}
        if method == "private_key_jwt":
            return {}, {"client_assertion_type": ASSERTION_TYPE, "client_assertion": self.assertion()}
        return {}, {"client_id": self.id}

    def post(self, path: str, /, **parameters: str | None) -> TestResponse:
        """A request of its server; parameters can replace its authentication."""
        headers, form = self.proof()
        data = {name: value for name, value in {**form, **parameters}.items() if value is not None}
        return self.provider.app.test_client(use_cookies=False).post(path, data=data, headers=headers)

    def redeem(self, code: str, /, **changes: str | None) -> TestResponse:
        """Exchange a code."""
        good = {"grant_type": "authorization_code", "code": code, "redirect_uri": self.uri}
        return self.post("/oauth2/token", **{**good, **changes})

    def tokens(self, browser: SiteClient, **changes: str | None) -> dict[str, Any]:
        """A whole login in a signed-in browser."""
        answer = self.answer(browser, **changes)
        verifier = VERIFIER if changes.get("code_challenge") else None
        response = self.redeem(answer["code"], code_verifier=verifier)
        assert response.status_code == 200, response.text
        return dict(response.get_json())

    def refresh(self, refresh_token: str, **parameters: str) -> TestResponse:
        """Refresh tokens."""
        return self.post("/oauth2/token", grant_type="refresh_token", refresh_token=refresh_token, **parameters)

    def request_object(self, key: SigningKey | None = None, alg: str = "RS256", /, **changes: Any) -> str:
        """Core §6.1: the valid request, signed; ``...`` omits a claim."""
        good = {"iss": self.id, "aud": self.provider.issuer, **self.parameters()}
        claims = {name: value for name, value in {**good, **changes}.items() if value is not ...}
        signer = key or self.key
        return jws({"alg": alg, "kid": signer.kid}, claims, signer)

    def manage(self, method: str, **options: Any) -> TestResponse:
        """Manage its registration (RFC 7592)."""
        headers = {"Authorization": f"Bearer {self.information['registration_access_token']}"}
        client = self.provider.app.test_client(use_cookies=False)
        return client.open(f"/oauth2/register/{self.id}", method=method, headers=headers, **options)


@dataclass
class Registrar:
    """The registration endpoint. Open, as in a demonstration."""

    provider: Provider
    app: PaperApp

    def post(self, **metadata: Any) -> TestResponse:
        """A registration; a member with the value ``...`` is omitted."""
        body = {name: value for name, value in {**self.good(), **metadata}.items() if value is not ...}
        return self.provider.app.test_client(use_cookies=False).post("/oauth2/register", json=body)

    def good(self) -> dict[str, Any]:
        """Metadata that are valid."""
        return {
            "redirect_uris": [f"{SHOP}/cb"],
            "post_logout_redirect_uris": [f"{SHOP}/bye"],
            "backchannel_logout_uri": f"{SHOP}/bclogout",
            "client_name": "The shop",
        }

    def __call__(self, **metadata: Any) -> Party:
        """A newly registered client."""
        response = self.post(**metadata)
        assert response.status_code == 201, response.text
        return Party(self.provider, response.get_json())

    def of_type(self, *response_types: str, **metadata: Any) -> Party:
        """A client for these response types."""
        return self(response_types=list(response_types), grant_types=GRANTS, **metadata)

    def with_key(self, **metadata: Any) -> Party:
        """A client that authenticates with a key."""
        good = {"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [key.public_jwk()]}}
        return self(**{**good, **metadata})

    def logout_tokens(self) -> list[dict[str, Any]]:
        """The claims of the logout tokens sent to the shop."""
        return [read(token)[1] for token in self.provider.network.logout_tokens(f"{SHOP}/bclogout")]
