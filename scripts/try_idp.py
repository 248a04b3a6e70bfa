"""Asks another product's IdP what it says to an app: ``try_idp.py dispatch|manager``. Prints a line for each finding.

scripts/stack runs it in the app's own network, after ``make up APPS=only``.
"""

import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from urllib.parse import parse_qs, urljoin, urlsplit

import requests
from flask import Flask

from pickup_web.security import origin_of
from pickup_web.settings import load_settings
from relying_party import RelyingPartyError
from relying_party.provider import Provider

WANTED = {  # what it is for, by the member of the metadata
    "backchannel_logout_supported": "it sends logout tokens",
    "backchannel_logout_session_supported": "its logout tokens have a sid",
    "end_session_endpoint": "an app can ask it to end the session",
    "introspection_endpoint": "Manager can check Dispatch's access tokens",
}


def findings(app: Flask, pages: Sequence[str] = ()) -> Iterator[tuple[bool, str]]:
    """What was found, and whether it is as it should be. ``pages`` is PICKUP_IDP_PAGES."""
    provider: Provider = app.extensions["relying_party"].provider
    try:
        metadata = provider.metadata()
        provider.keys()
    except RelyingPartyError as error:
        yield False, f"metadata and keys: {error} {error.evidence or ''}".strip()
        return
    yield True, "metadata and keys were read"
    for member, purpose in WANTED.items():
        if member == "introspection_endpoint" and not app.config["DRIVERS_SCOPE"]:
            continue  # Dispatch asks for no list of drivers
        is_there = bool(metadata.get(member))
        yield is_there, f"{member}{'' if is_there else ' is not in the metadata. It means'}: {purpose}"
    is_registered, text = authorization(provider)
    yield is_registered, text
    if is_registered and (others := other_origins(provider, pages)):
        value = " ".join([*pages, *others])
        yield False, f'PICKUP_IDP_PAGES="{value}" in .env: it has pages there, to which the browser blocks a logout'


def authorization(provider: Provider) -> tuple[bool, str]:
    """What it answers with prompt=none (Core §3.1.2.1). It must not redirect to a URI that is not registered."""
    response = ask(provider, prompt="none")
    target = response.headers.get("Location", "")
    if not target.startswith(provider.config.url("/oauth2client")):
        control = ask(provider, client_id=f"{provider.client().client_id}-unknown", prompt="none")
        if kind_of(response) == kind_of(control):
            return False, f"client id and redirect URI: not registered, it answered {response.status_code}"
        return True, "client id and redirect URI are registered; it shows a page in spite of prompt=none"
    error = parse_qs(urlsplit(target).query).get("error", ["none"])[0]
    if error in ("login_required", "interaction_required", "consent_required", "account_selection_required", "none"):
        return True, "client id, redirect URI and scopes are registered"
    return False, f"client id and redirect URI are registered, but it refuses the request: {error}"


def other_origins(provider: Provider, pages: Sequence[str]) -> list[str]:
    """Where a sign-in and a logout lead, if the app's Content-Security-Policy does not allow it."""
    answer = ask(provider)
    sign_in = urljoin(answer.url, answer.headers.get("Location", ""))
    log_out = str(provider.metadata().get("end_session_endpoint") or provider.config.issuer)
    known = {origin_of(url) for url in (provider.config.issuer, provider.config.url("/"), *pages)}
    return sorted({origin_of(url) for url in (sign_in, log_out)} - known)


def kind_of(response: requests.Response) -> tuple[int, str]:
    """What two answers have in common if the IdP treats both requests in the same way."""
    return response.status_code, urlsplit(response.headers.get("Location", "")).path


def ask(provider: Provider, *, client_id: str = "", **parameters: str) -> requests.Response:
    """An authorization request without a session."""
    session = provider.oauth()
    session.client_id = client_id or session.client_id
    url, _ = session.create_authorization_url(
        provider.endpoint("authorization_endpoint"), nonce="none", code_verifier="v" * 43, **parameters
    )
    response: requests.Response = session.get(url, allow_redirects=False, withhold_token=True)
    return response


if __name__ == "__main__":
    name = sys.argv[1]
    settings = load_settings(name)
    app = import_module(f"pickup_{name}").create_app(settings)
    found = list(findings(app, settings.idp_pages))
    for is_good, text in found:
        print(f"    {'OK     ' if is_good else 'MISSING'}  {name}: {text}")
    sys.exit(not all(is_good for is_good, _ in found))
