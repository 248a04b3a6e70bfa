"""``make logs`` shows events as lines to read, and loses nothing."""

import json
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "scripts/readable.awk"
FIRST = {"time": "2026-11-21T12:01:02.123456Z", "service": "idp", "event": "op.logout.refused"}


def shown(line: str) -> str:
    """One line, as a terminal without colours gets it."""
    command = ["awk", "-f", str(SCRIPT)]
    return subprocess.run(command, input=f"{line}\n", capture_output=True, text=True, check=True).stdout.rstrip()


@pytest.mark.parametrize("prefix", ["", "idp-1       | "])
def test_event_line_has_time_service_name_and_details(prefix: str) -> None:
    """Also behind the name that Compose puts in front."""
    line = shown(
        prefix + json.dumps(FIRST | {"level": "info", "sid": "S1", "status": 400, "outcome": "said no, twice"})
    )
    assert line == '12:01:02.123  idp       op.logout.refused           sid=S1  status=400  outcome="said no, twice"'


def test_nested_and_quoted_values_are_shown_completely() -> None:
    """JSON inside JSON stays JSON."""
    line = shown(json.dumps(FIRST | {"answer": 'it said "no", {x}', "detail": {"a": [1, 2]}, "last": 3}))
    assert line.endswith('answer="it said \\"no\\", {x}"  detail={"a": [1, 2]}, "last": 3')


def test_warning_is_marked() -> None:
    """Only the usual level is left out."""
    assert "level=error" in shown(json.dumps(FIRST | {"level": "error"}))


def test_other_lines_stay_as_they_are() -> None:
    """Such as gunicorn's own."""
    assert shown("[2026-11-21] [7] [INFO] Booting worker") == "[2026-11-21] [7] [INFO] Booting worker"
