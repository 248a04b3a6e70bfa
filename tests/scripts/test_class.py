"""``make class``: accounts and passwords go from the IdP to one sheet, and to no other place."""

import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
# The containers: the IdP adds the accounts that $EXISTING does not name; Learn prints its lines in a page.
DOCKER = """#!/bin/sh
echo "$*" >>"$CALLS"
case "$*" in
    *service=nginx*) ;;
    ps*) echo id ;;
    version*) echo 27.0 ;;
    *"person add") echo '{"event": "op.user.added"}'; while read -r name password; do
        case " $EXISTING " in *" $name "*) ;; *) echo "$name" ;; esac; done ;;
    *"class open"*) [ -z "${BROKEN:-}" ] || exit 1
        echo '{"event": "log"}'; grep . >"$CALLS.in" || exit 0
        echo '<!doctype html>'; cat "$CALLS.in"; echo '</html>' ;;
    *"person end-sessions"*) echo "${*##* }: 2 sessions ended" ;;
    *"class reset"*) echo "${*##* }: its ticks are cleared" ;;
esac
"""


class Room:
    """A folder with the scripts and a fake ``docker``."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._calls = folder, folder / "calls"
        shutil.copytree(ROOT / "scripts", folder / "scripts")
        shutil.copy(ROOT / ".env.example", folder / ".env")
        (folder / "bin").mkdir()
        (folder / "bin/docker").write_text(DOCKER, "utf-8")
        (folder / "bin/docker").chmod(0o755)

    def run(self, **variables: str) -> subprocess.CompletedProcess[str]:
        """``make class``, in an environment with these variables."""
        self._calls.write_text("", "utf-8")
        path = f"{self.folder}/bin:/usr/bin:/bin"
        environment = {"PATH": path, "CALLS": str(self._calls), "EXISTING": "", **variables}
        command = [str(self.folder / "scripts/class")]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def calls(self) -> list[str]:
        """How ``docker exec`` was called."""
        return [call for call in self._calls.read_text("utf-8").splitlines() if call.startswith("exec")]

    def files(self) -> list[str]:
        """What is in the folder of the sheets."""
        return sorted(path.name for path in (self.folder / ".run/class").iterdir())

    def passwords(self, sheet: str) -> dict[str, str]:
        """The lines of a sheet of the fake."""
        text = (self.folder / ".run/class" / sheet).read_text("utf-8")
        return dict(re.findall(r"^(seat\d\d) ([a-z]+-[a-z]+-\d{4})$", text, re.MULTILINE))


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


def test_sheet_has_an_own_password_for_each_seat(room: Room) -> None:
    result = room.run(SEATS="12")
    assert result.returncode == 0, result.stderr
    assert room.files() == ["seat01-seat12.html"]
    passwords = room.passwords("seat01-seat12.html")
    assert list(passwords) == [f"seat{number:02}" for number in range(1, 13)]
    assert len(set(passwords.values())) == 12
    assert "http://learn.localhost:8082/board" in result.stdout


def test_passwords_are_in_the_sheet_only_and_only_the_user_may_read_it(room: Room) -> None:
    result = room.run(SEATS="2")
    sheet = room.folder / ".run/class/seat01-seat02.html"
    assert stat.S_IMODE(sheet.stat().st_mode) == 0o600
    assert stat.S_IMODE(sheet.parent.stat().st_mode) == 0o700
    for password in room.passwords(sheet.name).values():
        assert password not in result.stdout + result.stderr
        assert not any(password in call for call in room.calls()), "other users can see the arguments of a process"


def test_more_seats_get_a_sheet_of_their_own(room: Room) -> None:
    room.run(SEATS="2")
    room.run(SEATS="4", EXISTING="seat01 seat02")
    assert room.files() == ["seat01-seat02.html", "seat03-seat04.html"]
    assert list(room.passwords("seat03-seat04.html")) == ["seat03", "seat04"]
    assert room.calls()[-1].endswith("class open seat01 seat02 seat03 seat04")


def test_second_run_changes_nothing(room: Room) -> None:
    room.run(SEATS="2")
    before = room.passwords("seat01-seat02.html")
    again = room.run(SEATS="2", EXISTING="seat01 seat02")
    assert "exist already" in again.stdout
    assert room.passwords("seat01-seat02.html") == before


def test_no_password_is_lost_when_the_sheet_fails(room: Room) -> None:
    failed = room.run(SEATS="2", BROKEN="yes")
    assert failed.returncode != 0
    assert "run the command again" in failed.stderr
    assert room.run(SEATS="2", EXISTING="seat01 seat02").returncode == 0
    assert list(room.passwords("seat01-seat02.html")) == ["seat01", "seat02"]


def test_reset_ends_the_sessions_first_and_names_one_seat(room: Room) -> None:
    result = room.run(RESET="7")
    assert [call.partition("flask ")[2] for call in room.calls()] == [
        "--app idp person end-sessions seat07",
        "--app pickup_learn class reset seat07",
    ]
    assert "seat07: 2 sessions ended" in result.stdout


@pytest.mark.parametrize("given", ["0", "100", "-1", "3;ls", "all"])
def test_seat_is_a_number_up_to_99(room: Room, given: str) -> None:
    for name in ("SEATS", "RESET"):
        result = room.run(**{name: given})
        assert result.returncode != 0
        assert f"{name} is '{given}'" in result.stderr
        assert room.calls() == []


def test_without_a_number_the_command_says_what_it_does(room: Room) -> None:
    result = room.run()
    assert result.returncode == 2
    assert "make class SEATS=30" in result.stderr
