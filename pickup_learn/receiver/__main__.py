"""``make receiver``: checks the learner's app after each save, and shows the first request it answers wrongly.

The bench's provider runs all the time, so that a check takes no longer than its requests.
"""

import argparse
import os
import select
import shutil
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from attack import __main__ as attack
from attack.bench import Bench
from attack.browser import SignInFailed, Target
from attack.cases import CASES
from attack.pickup import free_port
from attack.provider import Provider, served
from attack.report import Report, summary
from pickup_learn.receiver.check import Hooks, Outcome, Round
from pickup_learn.receiver.compare import compare
from pickup_learn.receiver.display import Screen
from pickup_learn.receiver.live import Live
from pickup_learn.receiver.process import App, CannotStart
from pickup_learn.receiver.progress import Progress
from pickup_learn.receiver.steps import Step

TEMPLATE = Path(__file__).with_name("template.py")
CLIENT_ID = "my-receiver"
PATIENCE = 2.0  # seconds within which the app must find a new key
LOOK_SECONDS = 0.2  # between two looks at the file
SETTLE_SECONDS = 0.05  # for which a saved file must stay the same
LEARN_URL = os.environ.get("PICKUP_LEARN_URL", "http://learn.localhost:8082")

State = tuple[int, int]


class Course:
    """One app, its progress, and the bench that checks it."""

    def __init__(self, name: str, target: Target, provider: Provider, folder: Path, patience: float) -> None:
        self.name, self.target, self.provider, self.patience = name, target, provider, patience
        self.screen = Screen()
        self._suspect = ""
        self._file = folder / f"progress-{Path(name).stem}.json"
        self.progress = Progress.read(self._file)
        self.progress.write(self._file)

    def check(self, app: App | None = None) -> Outcome | None:
        """One round, and what it shows. None if nobody can sign in. ``app``: if this program runs it."""
        self.screen.clear()
        self.screen.say(f"Checking step {self.progress.reached} …", "weak")
        before, started = self.progress.reached, time.monotonic()
        passed: list[Step] = []
        hooks = Hooks(passed.append, app.error, app.start) if app else Hooks(passed.append)
        try:
            outcome = Round(self._bench(), before, hooks, self._suspect).run()
        except SignInFailed as failed:
            details = f"{failed}\n{hooks.error()}"
            self.show_trouble("Nobody can sign in at your app, so the bench cannot check it.", details)
            return None
        for step in passed:
            self.progress.note(step.number)
        self._suspect = outcome.failure.case.id if outcome.failure else ""
        self.progress.reached = outcome.reached
        self.progress.write(self._file)
        self.screen.clear()
        self.screen.overview(outcome, self.name)
        for step in passed:
            self.screen.done(step)
        if outcome.failure:
            self.screen.failure(outcome, outcome.failure, shown(app.log) if app else "")
        self.screen.say(f"\n  Checked in {time.monotonic() - started:.1f} seconds.", "weak")
        return outcome

    def full_run(self) -> bool:
        """Every case of the bench, in its own order. Whether none failed."""
        self.screen.say("\nAll ten steps pass. Now the whole bench:", "strong")
        bench, started = self._bench(), time.monotonic()
        bench.prepare()
        report = Report.of(bench, list(bench.run(CASES)), time.monotonic() - started)
        for line in summary(report):
            self.screen.say(line)
        if report.with_verdict("fail"):
            return False
        self.progress.note("all")
        self.progress.write(self._file)
        minutes = self.progress.minutes
        self.screen.say(f"\nFull marks, {minutes} minute{'' if minutes == 1 else 's'} after you started.", "good")
        return True

    def show_trouble(self, sentence: str, details: str) -> None:
        """The app cannot be checked at all."""
        self.screen.clear()
        self.screen.say(f"Write the receiver: step {self.progress.reached} of 10   {self.name}\n", "strong")
        self.screen.say(f"  {sentence}\n", "bad")
        self.screen.row("", details.strip())

    def _bench(self) -> Bench:
        return Bench(self.target, self.provider, self.patience)


def main(arguments: list[str] | None = None) -> int:
    """The exit code."""
    options = parser().parse_args(arguments)
    attack.look_names_up_once()
    folder = Path(options.folder).resolve()
    try:
        return teach_any(Path(options.app), folder) if options.app else teach(folder)
    except KeyboardInterrupt:
        sys.stdout.write("\nYour progress is kept. To continue: make receiver\n")
        return 0
    except (attack.CannotAttack, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return attack.CANNOT


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    made = argparse.ArgumentParser(prog="make receiver", description=(__doc__ or "").partition("\n")[0])
    made.add_argument("--app", metavar="FILE.toml", help="an app of yours in any language, which you start (attack.md)")
    made.add_argument("--folder", metavar="FOLDER", default="my_receiver", help="where your app is (my_receiver)")
    return made


def teach(folder: Path) -> int:
    """The app in the learner's folder: started again and checked after each save, until Ctrl-C."""
    file = folder / "receiver.py"
    copy_once(file)
    data = folder / "data"
    data.mkdir(exist_ok=True)
    provider = Provider(f"http://localhost:{free_port()}", CLIENT_ID, "", "RS256")
    url = f"http://localhost:{free_port()}"
    (data / "bench.sqlite").unlink(missing_ok=True)
    app = App(file, provider.issuer, CLIENT_ID, url, data / "bench.sqlite", data / "bench.log")
    target = Target(f"{url}/bclogout", f"{url}/login", f"{url}/profile", CLIENT_ID)
    with ExitStack() as running:
        running.enter_context(served(provider.app(), "127.0.0.1", int(provider.issuer.rpartition(":")[2])))
        live = Live(file, data)
        running.callback(app.stop)
        running.callback(live.app.stop)
        course = Course(shown(file), target, provider, folder, PATIENCE)
        while True:
            saved = state_of(file)
            check_file(course, app)
            course.screen.say(f"  {live.start()}", "weak")
            course.screen.say(f"  Save {course.name} to check again. Ctrl-C ends; your progress is kept.", "weak")
            wait_for_change(file, saved)


def check_file(course: Course, app: App) -> None:
    """Start the saved file, and check it."""
    try:
        app.start()
    except CannotStart as error:
        course.show_trouble("Your file does not run yet. No case was checked.", str(error))
        return
    outcome = course.check(app)
    if outcome is None or outcome.failure:
        return
    app.start()  # a full run begins with an app that has seen nothing
    if course.full_run():
        compare(course.screen, app.file, LEARN_URL)


def teach_any(settings: Path, folder: Path) -> int:
    """An app that the learner starts: checked after each Enter."""
    options = attack.read_options([str(settings)])
    target = attack.target_of(options)
    folder.mkdir(exist_ok=True)
    with attack.provider_of(options) as provider:
        course = Course(str(settings), target, provider, folder, options.patience)
        while True:
            attack.wait_for(target, options.wait)
            outcome = course.check()
            is_done = bool(outcome and not outcome.failure and course.full_run())
            if is_done:
                compare(course.screen, None, LEARN_URL)
            course.screen.say(
                "  Change your app, start it again, and press Enter. Ctrl-C ends; your progress is kept.", "weak"
            )
            if not sys.stdin.readline():  # no terminal: one check
                return 0 if is_done else attack.FAILED


def copy_once(file: Path) -> None:
    """The template becomes the learner's file. An existing file is never changed."""
    file.parent.mkdir(exist_ok=True)
    if not file.exists():
        shutil.copyfile(TEMPLATE, file)


def wait_for_change(file: Path, saved: State) -> None:
    """Until the file was saved and is complete, or Enter was pressed."""
    has_keys = sys.stdin.isatty()
    while (now := state_of(file)) == saved:
        if not has_keys:
            time.sleep(LOOK_SECONDS)
        elif select.select([sys.stdin], [], [], LOOK_SECONDS)[0]:
            sys.stdin.readline()
            return
    while True:  # an editor may empty the file first, or replace it
        time.sleep(SETTLE_SECONDS)
        before, now = now, state_of(file)
        if before == now and now[1]:
            return


def state_of(file: Path) -> State:
    """The time of the last change, and the size."""
    try:
        stat = file.stat()
    except FileNotFoundError:
        return (0, 0)
    return (stat.st_mtime_ns, stat.st_size)


def shown(path: Path) -> str:
    """A path as the learner types it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also when a shell started it in the background
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    sys.exit(main())
