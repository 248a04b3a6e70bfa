"""Runs a command with the environment of one local service: ``environment.py SERVICE COMMAND…``.

docker-compose.services.yml does the same for containers. A service gets its own secrets only, so an attacker who
takes over an app does not get the secrets of the IdP.
"""

import os
import sys
from collections.abc import Mapping

# Per service: the settings it needs that are secret, or may contain a password.
SECRETS = {
    "idp": {
        "PICKUP_IDP_SECRET_KEY",
        "PICKUP_IDP_DATABASE_URL",
        "PICKUP_DISPATCH_CLIENT_SECRET",  # the IdP checks it
        "PICKUP_MANAGER_CLIENT_SECRET",
        "PICKUP_ADMIN_CLIENT_SECRET",
        "PICKUP_DEMO_PASSWORD",
        "PICKUP_REGISTRATION_TOKEN",
    },
    "dispatch": {"PICKUP_DISPATCH_SECRET_KEY", "PICKUP_DISPATCH_DATABASE_URL", "PICKUP_DISPATCH_CLIENT_SECRET"},
    "manager": {"PICKUP_MANAGER_SECRET_KEY", "PICKUP_MANAGER_DATABASE_URL", "PICKUP_MANAGER_CLIENT_SECRET"},
    "learn": {"PICKUP_LEARN_SECRET_KEY", "PICKUP_LEARN_DATABASE_URL"},
    # For containers only (docker-compose.scale.yml). No local process gets them.
    "databases": {
        "PICKUP_IDP_DATABASE_PASSWORD",
        "PICKUP_DISPATCH_DATABASE_PASSWORD",
        "PICKUP_MANAGER_DATABASE_PASSWORD",
        "PICKUP_LEARN_DATABASE_PASSWORD",
    },
}


def environment_of(service: str, settings: Mapping[str, str]) -> dict[str, str]:
    """``settings`` without the other services' secrets; the service's key gets the name that all services read."""
    others = set().union(*SECRETS.values()) - SECRETS[service]
    own = {name: value for name, value in settings.items() if name not in others}
    key = own.pop(f"PICKUP_{service.upper()}_SECRET_KEY", "")
    return {**own, "PICKUP_SECRET_KEY": key}


if __name__ == "__main__":
    os.execvpe(sys.argv[2], sys.argv[2:], environment_of(sys.argv[1], os.environ))  # noqa: S606 # no shell needed
