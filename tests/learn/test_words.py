"""The scripts of Learn's pages put any message into words: its values may come from an attacker."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

STATIC = Path(__file__).parents[2] / "pickup_learn/static"
pytestmark = pytest.mark.skipif(not shutil.which("node"), reason="needs Node")


def run(file: str, expression: str) -> Any:
    """The value of a JavaScript expression about a module ``m`` of the pages."""
    script = f"import({json.dumps((STATIC / file).as_uri())}).then((m) => console.log(JSON.stringify({expression})))"
    done = subprocess.run(["node", "-e", script], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_mermaid_text_has_a_line_for_each_message_whatever_the_parties_are_called() -> None:
    act = {
        "messages": [
            {"from": party, "to": "idp", "channel": "back", "title": "Token request", "status": 400}
            for party in (None, "x\n    Note over p0 <img>")
        ]
    }
    lines = run("words.js", f"m.mermaidOf({json.dumps(act)})").split("\n")
    assert lines == [
        "sequenceDiagram",
        "    participant p0 as Anyone",
        "    participant p1 as IdP",
        "    participant p2 as x Note over p0 img ",
        "    p0->>p1: Token request (400)",
        "    p2->>p1: Token request (400)",
    ]


@pytest.mark.parametrize("value", [10**17, -(10**17), 1.5e300])
def test_impossible_instant_has_no_clock(value: float) -> None:
    assert run("detail.js", f'm.textOf("iat", {value})').endswith("(--:--:--)")


def test_instant_of_another_day_has_its_day() -> None:
    assert run("detail.js", 'm.textOf("iat", 86400 * 365)').startswith("31536000 (197")


def test_curl_shows_any_object() -> None:
    request = {"headers": {}, "parameters": {"x": {"toString": 1, "valueOf": 1}}}
    message = {"method": "POST", "url": "http://a.example/", "request": request}
    assert run("words.js", f"m.curlOf({json.dumps(message)})").endswith('\'x={"toString":1,"valueOf":1}\'')
