"""Error pages for authorization requests that cannot be answered with a redirect (RFC 6749 §4.1.2.1)."""

from flask import Response
from werkzeug.datastructures import MultiDict

from idp.authorization.pending import MAX_RETURNED
from idp.authorization.request import MODES
from idp.error_pages import error_page
from idp.models import Client


def unknown_client(parameters: MultiDict[str, str]) -> Response:
    """Core §3.1.2.6: without a registered client, no redirect_uri can be trusted."""
    return error_page(
        title="This app is not known here",
        text="The app that sent you here uses a client_id that is not registered with this identity provider (IdP).",
        facts={"client_id": parameters.get("client_id", "")},
        advice="The app's operator should compare client_id in the app's settings with the one registered here.",
    )


def unknown_redirect_uri(client: Client, redirect_uri: str | None, also: str = "") -> Response:
    """RFC 9700 §4.1.3: redirect only to a registered URI, compared character by character."""
    what = "is not one of those registered for the app" if redirect_uri else "is missing from the app's request"
    return error_page(
        title=f"Redirect address {'not registered for' if redirect_uri else 'missing for'} {client.name}",
        text=f"The redirect address {what}, so you were not sent back to the app. {also}".strip(),
        facts={"redirect_uri": redirect_uri or "", "client_id": client.client_id},
        advice="The app's operator should register exactly this address here, or correct redirect_uri in the app. "
        "Every character counts: http or https, the port, a slash at the end.",
        links=start_page_of(client),
    )


def unknown_response_mode(client: Client, response_mode: str) -> Response:
    """Core §3.1.2.6: the requested response_mode is not supported, so the error cannot be returned in it."""
    return error_page(
        title=f"Response mode of {client.name} not supported",
        text=f"The app asked for a response_mode that is not supported here. Supported are {', '.join(MODES)}.",
        facts={"response_mode": response_mode, "client_id": client.client_id},
        advice="The app's developer should ask for one of these, or leave response_mode out.",
        links=start_page_of(client),
    )


def start_page_of(client: Client) -> dict[str, str]:
    """The link to the app on an error page. Only an operator sets ``home_url``, so an app cannot choose the link."""
    return {f"Go to {client.name}": client.home_url} if client.home_url else {}


def answer_too_long(client: Client, parameters: MultiDict[str, str]) -> Response:
    """The redirect back would be longer than servers accept (RFC 9110 §4.1)."""
    return error_page(
        title=f"Request of {client.name} too long to answer",
        text=f"state and nonce are returned in the app's URL. "
        f"Together they may have at most {MAX_RETURNED:,} characters. Nothing was done.",
        facts={name: parameters[name] for name in ("state", "nonce") if parameters.get(name)},
        advice="The app's developer should send short values and keep the rest in the app, or ask for "
        "response_mode=form_post.",
        links=start_page_of(client),
    )
