"""A program of an operator's ends a session, and nobody touches a browser."""

import re
import shutil
import subprocess

import pytest
import requests
from playwright.sync_api import expect

from e2e.device import Device
from e2e.plain import http
from e2e.record import Record
from e2e.stack import ROOT, Stack

pytestmark = pytest.mark.needs("pickup_idp", "pickup_app")

SOON = 2_000  # milliseconds within which an open tab must have noticed
ACCOUNT = "/admin/api/v1/identityStores/people/accounts/248289761002"


@pytest.fixture
def secret(stack: Stack) -> str:
    """The program's."""
    if "pickup-admin" not in stack.client_secrets:
        pytest.skip("this stack has no client pickup-admin, or its secret is not known here")
    return stack.client_secrets["pickup-admin"]


def ask(stack: Stack, secret: str, method: str, path: str, scope: str) -> requests.Response:
    """A request with a token of that scope."""
    form = {"grant_type": "client_credentials", "scope": scope}
    tokens = http.post(f"{stack.idp_url}/oauth2/token", data=form, auth=("pickup-admin", secret)).json()
    return http.request(method, stack.idp_url + path, headers={"Authorization": f"Bearer {tokens['access_token']}"})


def test_program_ends_a_session_and_both_tabs_say_so(laptop: Device, record: Record, stack: Stack, secret: str) -> None:
    dispatch, manager = laptop.sign_in_at(stack.dispatch, stack.manager, user="cameron")
    manager.expect_signed_in("Cameron Reyes")
    sid = laptop.sid(stack.manager)
    path = f"{ACCOUNT}/sessions/{sid}"
    session = ask(stack, secret, "GET", path, "account:read").json()
    assert [app["name"] for app in session["apps"] if app["told"]] == ["Pickup Dispatch", "Pickup Manager"]

    refused = ask(stack, secret, "DELETE", path, "account:read")
    assert refused.status_code == 403, "control: who may only read ends nothing"
    manager.expect_signed_in("Cameron Reyes")

    assert ask(stack, secret, "DELETE", path, "account:write").status_code == 204

    for page in (dispatch, manager):
        expect(page.signed_out_card, f"{page.app.title} notices").to_contain_text("You are logged out", timeout=SOON)
        expect(page.signed_out_card, "and says why").to_contain_text("An operator ended your session.")
    assert record.wait_for("idp", "op.session.ended", sid=sid).outcome == "operator"
    assert ask(stack, secret, "DELETE", path, "account:write").status_code == 404, "it has ended already"
    deliveries = ask(stack, secret, "GET", f"/admin/api/v1/deliveries?sessionId={sid}", "delivery:read").json()
    assert {delivery["state"] for delivery in deliveries} == {"delivered"}


def test_commands_of_the_page_do_what_it_says(laptop: Device, stack: Stack, secret: str) -> None:
    if not shutil.which("curl") or not stack.idp_url.startswith("http://idp.localhost"):
        pytest.skip("the commands are for curl, and for a stack on this machine")
    dispatch = laptop.sign_in(stack.dispatch, "cameron")
    page = (ROOT / "docs" / "admin-api.md").read_text("utf-8")
    found = re.search(r"```sh\n(.*?)```", page, re.DOTALL)
    assert found
    commands = re.sub(r"^idp=.*$", f"idp={stack.idp_url}", found[1], flags=re.MULTILINE)
    commands = re.sub(r"^secret=.*$", f"secret={secret}", commands, flags=re.MULTILINE)
    done = subprocess.run(["sh", "-euc", commands], capture_output=True, text=True, check=True)
    assert '"name": "Pickup Dispatch"' in done.stdout, "which apps"
    assert "HTTP/1.1 204" in done.stdout
    expect(dispatch.signed_out_card).to_contain_text("An operator ended your session.", timeout=SOON)
