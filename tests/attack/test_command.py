"""``python -m attack`` as a person or CI uses it: arguments, report, JSON, exit code; and its page in docs/."""

import json
import re
import socket
import tomllib
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response

from attack.__main__ import main, read_options
from attack.cases import CASES, GROUPS
from attack.pickup import free_port
from attack.provider import served
from attack.report import table
from tests.attack.careful_receiver import CarefulReceiver
from tests.attack.conftest import CLIENT_ID, CLIENT_SECRET
from tests.attack.naive_receiver import NaiveReceiver

DOCS = (Path(__file__).parents[2] / "docs" / "attack.md").read_text("utf-8")


@pytest.fixture(autouse=True)
def resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the command does to name resolution is undone."""
    monkeypatch.setattr(socket, "getaddrinfo", socket.getaddrinfo)


class Command:
    """Runs ``python -m attack`` against a receiver."""

    def __init__(self, folder: Path) -> None:
        self.json = folder / "report.json"

    def __call__(self, kind: type[CarefulReceiver], *arguments: str) -> int:
        issuer, base_url = (f"http://localhost:{free_port()}" for _ in range(2))
        receiver = kind(issuer, CLIENT_ID, CLIENT_SECRET, base_url)
        urls = [
            "--logout-url",
            f"{base_url}/bclogout",
            "--login-url",
            f"{base_url}/login",
            "--page-url",
            f"{base_url}/page",
        ]
        client = ["--client-id", CLIENT_ID, "--client-secret", CLIENT_SECRET, "--issuer", issuer]
        run = ["--patience", "0.1", "--json", str(self.json)]
        with served(receiver.app(), "127.0.0.1", int(base_url.rpartition(":")[2])):
            return main([*urls, *client, *run, *arguments])

    def report(self) -> dict[str, Any]:
        """The JSON of the one application."""
        apps = json.loads(self.json.read_text())["apps"]
        assert len(apps) == 1
        report: dict[str, Any] = apps[0]
        return report


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """See the class."""
    return Command(tmp_path)


def test_exit_code_is_0_if_no_case_failed(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0, and the score."""
    assert command(CarefulReceiver, "--only", "V01,V25,a01") == 0
    assert command.report()["score"] == {"passed": 3, "of": 3, "choices": 1}
    shown = capsys.readouterr().out
    assert "3 of 3" in shown
    assert "V25  answered 400: the second time" in shown, (
        "what the specification leaves open is told, and costs nothing"
    )


def test_exit_code_is_1_if_a_case_failed_and_each_failure_is_explained(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1; each failure with its clause, what happened, and why it matters."""
    assert command(NaiveReceiver, "--only", "V01,V17,V30") == 1
    shown = capsys.readouterr().out
    assert "1 of 3" in shown
    assert "BCL §2.6 (2) asks: 400, nothing changes" in shown
    assert "- one bit: the session was ended" in shown
    assert "The signature is the only credential of a logout request." in shown
    verdicts = {case["id"]: case["verdict"] for case in command.report()["cases"]}
    assert verdicts == {"V01": "ok", "V17": "fail", "V30": "fail"}


def test_login_that_fails_is_explained(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, and a sentence that says how far it came."""
    assert command(CarefulReceiver, "--client-secret", "another") == 2
    said = capsys.readouterr().err
    assert "does not show a signed-in user" in said
    assert "the client's id or secret is not the one given to the bench" in said


def test_secure_cookie_of_localhost_is_sent_back_over_http(command: Command) -> None:
    """Browsers do so. Keycloak sets such cookies."""

    class Secure(CarefulReceiver):
        def app(self) -> Flask:
            app = super().app()

            @app.after_request
            def secure(response: Response) -> Response:
                cookies = [f"{cookie}; Secure" for cookie in response.headers.getlist("Set-Cookie")]
                response.headers.setlist("Set-Cookie", cookies)
                return response

            return app

    assert command(Secure, "--only", "V01,V33") == 0


def test_page_that_is_the_same_for_visitors_cannot_be_used(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """A page that welcomes everybody cannot show that a session ended."""

    class Welcoming(CarefulReceiver):
        def page(self) -> str:
            return "welcome, everybody"

    assert command(Welcoming) == 2
    assert "--signed-in-text" in capsys.readouterr().err


def test_application_that_does_not_answer_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """It is waited for, and then it is said."""
    url = f"http://localhost:{free_port()}/"
    urls = ["--logout-url", url, "--login-url", url, "--page-url", url]
    assert main([*urls, "--client-id", "x", "--issuer", f"http://localhost:{free_port()}", "--wait", "0"]) == 2
    said = capsys.readouterr()
    assert f"{url} does not answer" in said.err


def test_missing_arguments_are_named_together(capsys: pytest.CaptureFixture[str]) -> None:
    """All of it at once."""
    assert main(["--login-url", "http://localhost:1/"]) == 2
    assert "Missing: --logout-url, --page-url, --client-id" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('logout-uri = "x"', "settings that nobody knows: logout_uri"),
        ('alg = "HS256"', "it must be one of RS256"),
        ("alg = ", "attack.toml"),
    ],
)
def test_mistake_in_the_settings_file_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, complaint: str
) -> None:
    """A sentence, not a stack trace."""
    file = tmp_path / "attack.toml"
    file.write_text(text)
    assert main([str(file)]) == 2
    assert complaint in capsys.readouterr().err


def test_every_row_is_complete() -> None:
    """An id of its own, a clause, and sentences."""
    ids = [case.id for case in CASES]
    assert len(ids) == len(set(ids))
    assert {f"V{number:02}" for number in range(1, 33)} <= set(ids), "the 32 vectors are all there"
    for case in CASES:
        assert re.search(r"§\d", case.clause), case.id
        assert case.why.endswith("."), case.id


def test_docs_have_the_table_of_cases() -> None:
    """``python -m attack --list`` prints it."""
    assert table(GROUPS).strip() in DOCS, "docs/attack.md is out of date: python -m attack --list"


def test_example_in_the_docs_is_valid(tmp_path: Path) -> None:
    """The file that docs/attack.md shows is read without complaint."""
    (example,) = re.findall(r"```toml\n(.*?)```", DOCS, re.DOTALL)
    file = tmp_path / "my-app.toml"
    file.write_text(example)
    options = read_options([str(file)])
    assert options.logout_url == tomllib.loads(example)["logout-url"]
    assert read_options([str(file), "--alg", "ES256"]).alg == "ES256", "arguments win over the file"
