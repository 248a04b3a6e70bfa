"""``make receiver``: each step fails until it is written, passes then, and the display says why."""

import io
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from flask import Flask

from attack.cases import CASES
from attack.pickup import ROOT, free_port
from attack.provider import served
from pickup_learn.receiver import __main__ as program
from pickup_learn.receiver import live
from pickup_learn.receiver.__main__ import TEMPLATE, Course, check_file, copy_once, main
from pickup_learn.receiver.compare import function, written
from pickup_learn.receiver.process import App
from pickup_learn.receiver.progress import Progress
from pickup_learn.receiver.steps import steps
from tests.receiver.conftest import MakeCourse
from tests.receiver.solution import solved

Shown = pytest.CaptureFixture[str]
# The first case of each step that an app without this step answers wrongly.
LINE = TEMPLATE.read_text("utf-8").partition("def bclogout(")[0].count("\n") + 1
FIRST = {2: "V29", 3: "V17", 4: "V15", 5: "V20", 6: "V24", 7: "V11", 8: "V25", 9: "V01", 10: "R03"}


def check(course: Course, app: App, text: str) -> None:
    """One save."""
    app.file.write_text(text, "utf-8")
    check_file(course, app)


def test_every_case_of_the_bench_is_in_exactly_one_step() -> None:
    assert sorted(itertools.chain.from_iterable(step.hints for step in steps())) == sorted(case.id for case in CASES)


def test_ten_steps_name_functions_of_the_extension_that_exist() -> None:
    assert [step.number for step in steps()] == list(range(1, 11))
    for place in itertools.chain.from_iterable(step.ours for step in steps()):
        first, lines = function(*place.split(":"))
        assert first > 0, place
        assert lines[0].strip().startswith("def "), place


def test_chapter_lists_the_ten_steps() -> None:
    chapter = (ROOT / "docs/tutorial/receiver.md").read_text("utf-8")
    for step in steps():
        begin, end = f"{step.number}. **{step.title}** ({step.clause}; ", f" minutes). {step.prevents}\n"
        assert any(line.startswith(begin) and line.endswith(end) for line in chapter.splitlines(keepends=True)), begin


def test_template_names_every_step_at_its_place() -> None:
    for step in steps():
        assert written(TEMPLATE.read_text("utf-8"), step)[0].strip().startswith(f"# Step {step.number}: ")


def test_unedited_template_fails_at_step_1_with_clause_and_hint(course: MakeCourse, app: App, capsys: Shown) -> None:
    check(course(1), app, TEMPLATE.read_text("utf-8"))
    shown = capsys.readouterr().out
    assert "step 1 of 10" in shown
    assert "✗ V30     GET, HEAD, PUT, PATCH, DELETE, OPTIONS with a good token" in shown
    assert "expected  405 or 400, and nothing has changed" in shown
    assert "got       501: no check has refused it" in shown
    assert "clause    BCL §2.5" in shown
    assert "hint      Remove GET from methods" in shown


@pytest.mark.thorough
@pytest.mark.parametrize("step", FIRST)
def test_app_without_a_step_passes_the_steps_before_and_fails_at_it(
    course: MakeCourse, app: App, capsys: Shown, step: int
) -> None:
    made = course(1)
    check(made, app, solved(step - 1))
    shown = capsys.readouterr().out
    case = next(case for case in CASES if case.id == FIRST[step])
    assert made.progress.reached == step, shown
    assert f"▸ {step:>2}  {steps()[step - 1].title}   ({steps()[step - 1].clause})" in shown
    assert f"✗ {case.id}" in shown
    assert f"clause    {case.clause}" in shown
    assert f"Step {step - 1} passes" in shown


@pytest.mark.thorough
def test_complete_app_gets_full_marks_and_a_comparison(course: MakeCourse, app: App, capsys: Shown) -> None:
    made = course(1)
    check(made, app, solved(10))
    shown = capsys.readouterr().out
    assert f"{len(CASES)} of {len(CASES)}: {made.target.logout_url}" in shown
    assert "Full marks" in shown
    assert "all" in Progress.read(app.file.with_name("progress-receiver.json")).done
    first, lines = function("relying_party/logout_token.py", "check_events")
    place = f"relying_party/logout_token.py, lines {first} to {first + len(lines) - 1}"
    assert f"{place}: http://learn.localhost:8082/tutorial/source/relying_party/logout_token.py#L{first}" in shown
    assert 'raise Refused("This is not a logout token.")' in shown
    assert "def keys_for(kid):" in shown, "functions that a step calls are shown with it"


def test_check_that_refuses_a_good_token_is_shown_with_its_sentence(
    course: MakeCourse, app: App, capsys: Shown
) -> None:
    too_strict = solved(5).replace('claims.get("iss") != ISSUER', 'claims.get("iss") == ISSUER')
    check(course(6), app, too_strict)
    shown = capsys.readouterr().out
    assert "expected  501, because nothing is wrong with it" in shown
    assert "it said   The token is not of this provider, or not for this app." in shown


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("step", "code", "case"),
    [
        (6, ' < claims["iat"] < time.time() + 60', "V23"),
        (7, 'str(header.get("typ", "JWT")).lower() not in ("logout+jwt", "jwt")', "V26"),
        (8, 'db.execute("INSERT INTO used_jti VALUES (?)", [jti])', "V25"),
    ],
)
def test_course_asks_for_the_better_choice_in_the_step_itself(
    course: MakeCourse, app: App, capsys: Shown, step: int, code: str, case: str
) -> None:
    """The specification leaves it open, and the bench counts it as a choice."""
    without = solved(step).replace(code, {6: ' < claims["iat"]', 7: "False", 8: "pass"}[step])
    assert without != solved(step)
    made = course(step)
    check(made, app, without)
    assert made.progress.reached == step
    assert f"✗ {case}" in capsys.readouterr().out


@pytest.mark.thorough
def test_change_that_breaks_an_earlier_step_is_shown_there(course: MakeCourse, app: App, capsys: Shown) -> None:
    made = course(7)
    check(made, app, solved(7).replace(' or claims.get("aud") not in (CLIENT_ID, [CLIENT_ID])', ""))
    shown = capsys.readouterr().out
    assert "✗  5  iss and aud: no longer passes" in shown
    assert made.progress.reached == 7, "progress is kept"


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("def bclogout()", "def bclogout(", f"line {LINE}"),
        ("import os\n", "import os\nimport no_such_module\n", "line 7: import no_such_module"),
    ],
    ids=["syntax", "import"],
)
def test_file_that_does_not_run_is_shown_as_such(
    course: MakeCourse, app: App, capsys: Shown, old: str, new: str, error: str
) -> None:
    check(course(1), app, TEMPLATE.read_text("utf-8").replace(old, new))
    shown = capsys.readouterr().out
    assert "Your file does not run yet. No case was checked." in shown
    assert error in shown
    assert "✗" not in shown


def test_exception_in_the_app_is_shown_with_its_line(course: MakeCourse, app: App, capsys: Shown) -> None:
    crashing = solved(2).replace("    tokens = request.form", "    request.form.missing()\n    tokens = request.form")
    check(course(2), app, crashing)
    shown = " ".join(capsys.readouterr().out.split())  # a narrow terminal has more lines
    assert "request.form.missing()" in shown
    assert "AttributeError: 'ImmutableMultiDict' object has no attribute 'missing'" in shown


def test_app_at_which_nobody_can_sign_in_is_shown_as_such(course: MakeCourse, app: App, capsys: Shown) -> None:
    check(course(1), app, TEMPLATE.read_text("utf-8").replace('"scope": "openid"', '"scope": 1 / 0'))
    shown = capsys.readouterr().out
    assert "Nobody can sign in at your app" in shown
    assert "ZeroDivisionError" in shown


def test_learners_file_is_written_once(tmp_path: Path) -> None:
    file = tmp_path / "mine" / "receiver.py"
    copy_once(file)
    assert file.read_text("utf-8") == TEMPLATE.read_text("utf-8")
    file.write_text("mine", "utf-8")
    copy_once(file)
    assert file.read_text("utf-8") == "mine"


@pytest.mark.parametrize("damage", ["", "[]", '{"reached": 11}', '{"unknown": 1}'])
def test_damaged_progress_begins_at_step_1(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "progress.json"
    Progress(reached=4).write(file)
    assert Progress.read(file).reached == 4
    file.write_text(damage, "utf-8")
    assert Progress.read(file).reached == 1


@pytest.mark.thorough
@pytest.mark.parametrize(("until", "code", "words"), [(2, 1, "step 3 of 10"), (10, 0, "Full marks")])
def test_app_that_the_learner_starts_is_checked_with_the_same_steps(
    tmp_path: Path, capsys: Shown, monkeypatch: pytest.MonkeyPatch, until: int, code: int, words: str
) -> None:
    issuer, url = (f"http://localhost:{free_port()}" for _ in range(2))
    file, settings = tmp_path / "app.py", tmp_path / "my-app.toml"
    file.write_text(solved(until), "utf-8")
    addresses = {"issuer": issuer, "logout-url": f"{url}/bclogout", "login-url": f"{url}/login"}
    rows = {**addresses, "page-url": f"{url}/profile", "client-id": "my-app", "patience": "0.2"}
    settings.write_text("\n".join(f'{name} = "{value}"' for name, value in rows.items()).replace('"0.2"', "0.2"))
    app = App(file, issuer, "my-app", url, tmp_path / "app.sqlite", tmp_path / "log")
    app.start()
    monkeypatch.setattr(program, "CASES", CASES[:3])  # another test makes the whole full run
    monkeypatch.setattr(sys, "stdin", io.StringIO())  # no terminal: one check
    try:
        assert main(["--app", str(settings), "--folder", str(tmp_path)]) == code
    finally:
        app.stop()
    assert words in capsys.readouterr().out


@pytest.mark.parametrize(("mode", "host"), [("compose", "0.0.0.0"), ("local", "127.0.0.1")])  # noqa: S104
def test_app_is_registered_at_the_real_idp_as_a_public_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, host: str
) -> None:
    asked: list[list[str]] = []

    def run(command: list[str], **_: object) -> "subprocess.CompletedProcess[str]":
        asked.append([Path(command[0]).name, *command[1:]])
        return subprocess.CompletedProcess(command, 0, stdout=f"{mode}\n", stderr="")

    idp, port = Flask("idp"), free_port()
    idp.add_url_rule("/healthz", view_func=lambda: "ok")
    monkeypatch.setattr(live, "IDP_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setattr(subprocess, "run", run)
    copy_once(tmp_path / "receiver.py")
    made = live.Live(tmp_path / "receiver.py", tmp_path)
    made.app.url = f"http://receiver.localhost:{free_port()}"
    try:
        with served(idp, "127.0.0.1", port):
            assert made.start().startswith("Your app also runs at the real IdP")
            made.start()
    finally:
        made.app.stop()
    assert made.app.host == host
    ((*command, metadata), _mode) = asked
    assert command == ["service", "cli", "idp", "client", "register", "pickup-receiver"]
    values = json.loads(metadata)
    assert values["token_endpoint_auth_method"] == "none"
    assert values["backchannel_logout_uri"] == f"{live.URL}/bclogout"


class Terminal:
    """``make receiver`` in a process group of its own."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "output"
        with self._file.open("wb") as output:
            command = ["make", "-s", "receiver", f"ARGS=--folder {folder}"]
            no_stack = {**os.environ, "PICKUP_IDP_URL": f"http://127.0.0.1:{free_port()}"}
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=no_stack, stdout=output, stderr=output, start_new_session=True
            )

    def shows(self, words: str) -> bool:
        """Whether it shows the words within a minute."""
        deadline = time.monotonic() + 60
        while words not in self.text:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)  # between two looks
        return True

    @property
    def text(self) -> str:
        """Everything so far."""
        return self._file.read_text("utf-8")

    def end(self, number: int) -> None:
        """The signal goes to all of its processes, as with Ctrl-C."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
        self._process.wait(20)


@pytest.mark.thorough
def test_make_receiver_checks_after_each_save_until_it_is_interrupted(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    try:
        assert terminal.shows("to check again"), terminal.text
        assert "step 1 of 10" in terminal.text
        (tmp_path / "receiver.py").write_text(solved(1), "utf-8")
        assert terminal.shows("step 2 of 10"), terminal.text
        terminal.end(signal.SIGINT)
    finally:
        terminal.end(signal.SIGKILL)
    assert "The stack is not running." in terminal.text
    assert "Your progress is kept." in terminal.text
    assert "Traceback" not in terminal.text
    assert Progress.read(tmp_path / "progress-receiver.json").reached == 2
