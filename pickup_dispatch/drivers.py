"""Fetches the drivers from Manager with the user's access token. Dispatch keeps working while Manager is down."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import requests
from flask import Flask, current_app

from relying_party import TokenUnavailable
from relying_party.connections import Connections

# Seconds to connect, seconds to answer. Manager asks the IdP before it answers. Its timeout there
# (resource_server.py) is shorter than ours, so that its error tells us which of the two is down.
TIMEOUT = (1.0, 4.0)

NO_ANSWER = "Pickup Manager does not answer, so the list of drivers is missing."

_http = requests.Session()  # one per process
_http.mount("https://", _connections := Connections())
_http.mount("http://", _connections)
_http.trust_env = False  # no proxy and no .netrc between our own services


@dataclass(frozen=True)
class DriverList:
    """The drivers by id; ``problem`` explains to the user why there are none."""

    names: dict[str, str]
    problem: str | None = None


def init_app(app: Flask, access_token: Callable[[], str]) -> None:
    """``access_token`` returns the access token of the current session."""
    app.extensions["drivers_access_token"] = access_token


def fetch() -> DriverList:
    """Manager's drivers, as the signed-in user may see them."""
    if not current_app.config["DRIVERS_SCOPE"]:
        return DriverList({}, "At this identity provider there is no scope for the list of drivers, so it is missing.")
    try:
        token = cast(Callable[[], str], current_app.extensions["drivers_access_token"])()
        answer = _http.get(
            current_app.config["MANAGER_DRIVERS_URL"],
            headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
            timeout=TIMEOUT,
            verify=current_app.config["RELYING_PARTY_CA_BUNDLE"] or True,
            allow_redirects=False,  # a redirect would send the token to another address
        )
        if answer.status_code == 200:
            return DriverList(_names(answer.json()))
    except TokenUnavailable as error:
        return DriverList({}, f"Pickup Manager was not asked: there is no access token. {error}")
    except (KeyError, TypeError, ValueError):
        return DriverList({}, "Pickup Manager's list of drivers could not be read.")
    except requests.RequestException:
        return DriverList({}, NO_ANSWER)
    return DriverList({}, _refusal(answer))


def _names(body: Any) -> dict[str, str]:
    return {str(driver["id"]): str(driver["name"]) for driver in body["drivers"]}


def _refusal(answer: requests.Response) -> str:
    if answer.status_code in (502, 504):  # RFC 9110 §15.6.3: a proxy could not reach Manager
        return NO_ANSWER
    if answer.status_code == 401:  # RFC 6750 §3.1: the token is expired, revoked or malformed
        return "Pickup Manager refused the access token: it was revoked or has expired. Log out, then sign in."
    if answer.status_code == 403:
        scope = current_app.config["DRIVERS_SCOPE"]
        return f"Pickup Manager refused: this access token does not allow reading the fleet ({scope})."
    if answer.status_code == 501:
        return (
            "This identity provider does not let Pickup Manager check access tokens, so the list of drivers is missing."
        )
    if answer.status_code == 503:
        return "Pickup Manager cannot check access tokens at the moment, so the list of drivers is missing."
    return f"Pickup Manager answered with an error ({answer.status_code}), so the list of drivers is missing."
