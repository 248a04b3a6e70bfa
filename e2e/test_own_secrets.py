"""An attacker who reads an app's environment gets that app's secrets, and no other service's."""

import re

import pytest

from e2e.stack import SERVICES, Stack, StackControl

pytestmark = pytest.mark.needs("pickup_idp", "pickup_app")


def environment(hands: StackControl, service: str) -> str:
    """All that the environments of its running processes hold, master and workers."""
    found = "\0".join(hands.environments(service))
    if not found:
        pytest.skip("this system does not show the environment of a process")
    return found


@pytest.mark.parametrize(("app", "other"), [("dispatch", "manager"), ("manager", "dispatch")])
def test_running_app_holds_no_secret_of_another_service(
    app: str, other: str, stack: Stack, hands: StackControl
) -> None:
    """Neither the other app's, nor what only the IdP needs: the operator's password, the admin API's secret."""
    held = environment(hands, app)
    assert stack.client_secrets[f"pickup-{app}"] in held
    assert stack.password not in held
    for client in (f"pickup-{other}", "pickup-admin"):
        assert stack.client_secrets[client] not in held


def test_each_running_service_has_one_key_which_is_its_own(hands: StackControl) -> None:
    """It signs forms and pending requests: with the IdP's, a request could be forged."""
    held = {service: environment(hands, service) for service in SERVICES}
    keys = {service: set(re.findall(r"PICKUP_SECRET_KEY=([^\0]+)", held[service])) for service in SERVICES}
    assert {len(found) for found in keys.values()} == {1}
    assert len(set().union(*keys.values())) == len(SERVICES)
    assert not any(f"PICKUP_{service.upper()}_SECRET_KEY" in text for text in held.values() for service in SERVICES)
