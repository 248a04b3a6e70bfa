"""An application that has nothing to do with Pickup: the one of docs/relying-party.md, as it stands there."""

import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from e2e.apps.plain import Plain
from e2e.stack import Stack, free_ports, healthy, last_lines

ROOT = Path(__file__).parent.parent
SECONDS = 30  # to start


class Shop(Plain):
    """What a story needs to know of it."""

    title = "The shop"
    front, front_heading = "/orders", "Orders"


def source() -> str:
    """The page's diff, with its new lines."""
    page = (ROOT / "docs/relying-party.md").read_text("utf-8")
    (diff,) = re.findall(r"^```diff\n(.*?)^```$", page, re.M | re.S)
    return "".join(line[1:] for line in diff.splitlines(keepends=True))


class StrangersApp:
    """Started by Flask's own command, with the settings that the page names, and no client id: it registers itself.

    Unless it is ``given`` settings, and so a client id, for the ``port`` that it was registered with.
    """

    def __init__(
        self,
        folder: Path,
        stack: Stack,
        registration_token: str = "",
        *,
        given: Mapping[str, str] | None = None,
        port: int | None = None,
    ) -> None:
        self._port = port or free_ports(1)[0]
        self.app = Shop("shop", stack.provider, f"http://shop.localhost:{self._port}")
        self._log = folder / "shop.log"
        (folder / "shop.py").write_text(source(), "utf-8")
        others = {name: value for name, value in os.environ.items() if not name.startswith("FLASK_")}
        settings = given or {
            "FLASK_RELYING_PARTY_ISSUER": stack.idp_url,
            "FLASK_RELYING_PARTY_BASE_URL": self.app.url,
            "FLASK_RELYING_PARTY_REGISTRATION_TOKEN": f'"{registration_token}"',
            "FLASK_RELYING_PARTY_ALLOW_PLAIN_HTTP": "true",
        }
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "flask", "--app", "shop", "run", "--port", str(self._port)],
                cwd=folder,
                env={**others, "FLASK_SECRET_KEY": f'"{secrets.token_hex()}"', **settings, "PYTHONPATH": str(ROOT)},
                stdout=output,
                stderr=output,
            )
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"The stranger's app did not start:\n{last_lines(self._log)}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        return healthy(f"127.0.0.1:{self._port}", path="/logged-out")

    def end(self) -> None:
        """Stop it."""
        self._process.terminate()
        self._process.wait(SECONDS)
