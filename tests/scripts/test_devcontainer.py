"""The devcontainer opens with the stack running and each of its ports forwarded."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def devcontainer() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text("utf-8"))
    return found


def test_all_ports_of_the_example_settings_are_forwarded(devcontainer: dict[str, Any]) -> None:
    ports = re.findall(r"^PICKUP_\w+_PORT=(\d+)$", (ROOT / ".env.example").read_text("utf-8"), re.MULTILINE)
    assert devcontainer["forwardPorts"] == [int(port) for port in ports]
    assert list(devcontainer["portsAttributes"]) == ports


def test_each_port_keeps_its_number(devcontainer: dict[str, Any]) -> None:
    """The addresses contain the port, so another one would lead to another service or to none."""
    assert all(port["requireLocalPort"] for port in devcontainer["portsAttributes"].values())


def test_commands_are_the_projects_own(devcontainer: dict[str, Any]) -> None:
    assert (ROOT / devcontainer["postCreateCommand"].split()[0]).is_file()
    command, target, mode = devcontainer["postStartCommand"].split()
    assert (command, mode) == ("make", "MODE=local")
    assert f"\n{target}: " in (ROOT / "Makefile").read_text("utf-8")


def test_image_has_a_tag_with_the_python_of_our_own_image(devcontainer: dict[str, Any]) -> None:
    (python,) = set(re.findall(r"^FROM python:([\d.]+)-slim", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE))
    assert re.fullmatch(rf"[\w./-]+:\d+-{re.escape(python)}-[a-z]+", devcontainer["image"])
