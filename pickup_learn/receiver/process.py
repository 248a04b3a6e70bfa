"""The learner's app in a process of its own, which is started again after each save."""

import multiprocessing
import os
import re
import runpy
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

from werkzeug.serving import WSGIRequestHandler, make_server

from pickup_web import localhost

START_SECONDS = 15.0
STOP_SECONDS = 3.0
# Each process is a copy of one that has imported the libraries already, which saves a second at each save.
WARM = multiprocessing.get_context("forkserver")
WARM.set_forkserver_preload([__name__, "attack.__main__", "flask", "jwt", "requests", "sqlite3"])


class CannotStart(Exception):
    """The text names the line of the learner's file."""


@dataclass
class App:
    """The app, for one provider."""

    file: Path
    issuer: str
    client_id: str
    url: str
    database: Path
    log: Path
    host: str = "127.0.0.1"

    def __post_init__(self) -> None:
        self._process: BaseProcess | None = None

    def start(self) -> None:
        """Stop the old process, and start one with the saved file. Raises :class:`CannotStart`."""
        self.stop()
        check_syntax(self.file)
        settings = {
            "RECEIVER_ISSUER": self.issuer,
            "RECEIVER_CLIENT_ID": self.client_id,
            "RECEIVER_URL": self.url,
            "RECEIVER_DATABASE": str(self.database),
        }
        port = int(self.url.rpartition(":")[2])
        if answers(port):
            raise CannotStart(f"Port {port} is in use by another program.")
        self._process = WARM.Process(target=serve, args=(self.file, self.host, port, settings, self.log), daemon=True)
        self._process.start()
        deadline = time.monotonic() + START_SECONDS
        while not answers(port):
            if not self._process.is_alive() or time.monotonic() > deadline:
                raise CannotStart(
                    self.error() or "The app ends, or does not answer. Does it end with a call of its own?"
                )
            time.sleep(0.02)  # between two attempts to connect

    def stop(self) -> None:
        """Ask it to stop; kill it if it does not."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        process.join(STOP_SECONDS)
        if process.is_alive():
            process.kill()
            process.join()

    def error(self) -> str:
        """The newest exception in its log, with the line of the learner's file; empty if there is none."""
        with suppress(OSError):
            return newest_error(self.log.read_text("utf-8", "replace"), self.file)
        return ""


class Quiet(WSGIRequestHandler):
    """Logs no requests, so that the log has only the learner's own output."""

    def log(self, type: str, message: str, *args: object) -> None:
        """Nothing."""


def serve(file: Path, host: str, port: int, settings: dict[str, str], log: Path) -> None:
    """The process: the app of the learner's file, a thread for each request."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the terminal's program, which ends this one
    threading.Thread(target=end_with_parent, daemon=True).start()
    os.environ.update(settings)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(output, sys.stdout.fileno())
    os.dup2(output, sys.stderr.fileno())
    localhost.install()  # so that idp.localhost is found
    app = runpy.run_path(str(file), run_name="receiver")["app"]
    make_server(host, port, app, threaded=True, request_handler=Quiet).serve_forever()


def end_with_parent() -> None:
    """Ends this process when the terminal's program is gone, even if that was killed."""
    if parent := multiprocessing.parent_process():
        parent.join()
    os._exit(0)


def check_syntax(file: Path) -> None:
    """Raises :class:`CannotStart` with the line."""
    try:
        compile(file.read_text("utf-8"), str(file), "exec")
    except SyntaxError as error:
        text = (error.text or "").strip()
        raise CannotStart(f"line {error.lineno}: {error.msg}" + (f"\n{text}" if text else "")) from error
    except (OSError, ValueError) as error:
        raise CannotStart(f"The file cannot be read: {error}") from error


def newest_error(log: str, file: Path) -> str:
    """The last traceback in ``log``: the line of the learner's file, and the exception."""
    _, found, traceback = log.rpartition("Traceback (most recent call last):\n")
    if not found:
        return ""
    places = re.findall(rf'File "{re.escape(str(file))}", line (\d+).*\n\s+(.*)', traceback)
    exceptions = re.findall(r"^[\w.]+(?:: .*)?$", traceback, re.MULTILINE)
    lines = [f"line {places[-1][0]}: {places[-1][1]}"] if places else []
    return "\n".join([*lines, *exceptions[:1]])


def answers(port: int) -> bool:
    """Whether something listens there."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
