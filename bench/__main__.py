"""``python -m bench [--million] [--database URL]``: prints one table, in a minute or two."""

import argparse
import tempfile
from collections.abc import Iterable
from pathlib import Path

from bench.deliveries import deliveries
from bench.passwords import many_passwords
from bench.provider import flow
from bench.relying_party import Figure, route, sessions, tokens
from bench.tabs import open_tabs

SIZES = [1_000, 100_000]


def show(title: str, figures: Iterable[Figure]) -> None:
    """A part of the table, line by line as they come."""
    print(f"\n{title}")
    for figure in figures:
        print(f"  {figure.name:<36}{figure.value}", flush=True)


def main() -> None:
    """All parts."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Figures of the relying party and of the provider."
    )
    parser.add_argument("--million", action="store_true", help="also with 10⁶ stored sessions (a minute, 1 GB)")
    parser.add_argument("--database", default="", metavar="URL", help="of an empty database, instead of a SQLite file")
    parser.add_argument("--seconds", type=float, default=1.0, help="for each rate")
    options = parser.parse_args()
    sizes = [*SIZES, 1_000_000] if options.million else SIZES
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        show("Logout tokens checked, one thread", tokens(options.seconds))
        show("Requests answered, one thread, no network", route(Path(folder) / "route", options.seconds))
        show("One sign-in at the provider, one thread, no network, on the disk", flow(Path(folder) / "provider", 200))
        show("Stored sessions, median of an act", sessions(options.database, Path(folder) / "sessions", sizes, 200))
    show("Memory", open_tabs())
    show("Passwords at the provider, with its two workers", many_passwords())
    show("The last app is asked, after a session ended; apps that take 20 ms", deliveries())


if __name__ == "__main__":
    main()
