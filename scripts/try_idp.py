"""Asks another product's IdP what it says to an app: ``try_idp.py dispatch|manager``. Prints a line for each finding.

scripts/stack runs it in the app's own network, after ``make up APPS=only``.
"""

import sys
from collections.abc import Iterator
from importlib import import_module
from urllib.parse import parse_qs, urlsplit

from flask import Flask

from relying_party import RelyingPartyError
from relying_party.provider import Provider

WANTED = {  # what it is for, by the member of the metadata
    "backchannel_logout_supported": "it sends logout tokens",
    "backchannel_logout_session_supported": "its logout tokens have a sid",
    "end_session_endpoint": "an app can ask it to end the session",
    "introspection_endpoint": "Manager can check Dispatch's access tokens",
}


def findings(app: Flask) -> Iterator[tuple[bool, str]]:
    """What was found, and whether it is as it should be."""
    provider: Provider = app.extensions["relying_party"].provider
    try:
        metadata = provider.metadata()
        provider.keys()
    except RelyingPartyError as error:
        yield False, f"metadata and keys: {error} {error.evidence or ''}".strip()
        return
    yield True, "metadata and keys were read"
    for member, purpose in WANTED.items():
        is_there = bool(metadata.get(member))
        yield is_there, f"{member}: {'' if is_there else 'without it, not so: '}{purpose}"
    yield authorization(provider)


def authorization(provider: Provider) -> tuple[bool, str]:
    """What it answers with prompt=none (Core §3.1.2.1). It must not redirect to a URI that is not registered."""
    session = provider.oauth()
    url, _ = session.create_authorization_url(
        provider.endpoint("authorization_endpoint"), prompt="none", nonce="none", code_verifier="v" * 43
    )
    response = session.get(url, allow_redirects=False, withhold_token=True)
    target = response.headers.get("Location", "")
    if not target.startswith(provider.config.url("/oauth2client")):
        return False, f"client id and redirect URI: not registered, it answered {response.status_code}"
    error = parse_qs(urlsplit(target).query).get("error", ["none"])[0]
    if error in ("login_required", "interaction_required", "consent_required", "account_selection_required", "none"):
        return True, "client id, redirect URI and scopes are registered"
    return False, f"client id and redirect URI are registered, but it refuses the request: {error}"


if __name__ == "__main__":
    name = sys.argv[1]
    found = list(findings(import_module(f"pickup_{name}").create_app()))
    for is_good, text in found:
        print(f"    {'OK     ' if is_good else 'MISSING'}  {name}: {text}")
    sys.exit(not all(is_good for is_good, _ in found))
