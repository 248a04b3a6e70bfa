"""``python -m attack``: the arguments, and the order of the run.

the provider starts → the application answers → users sign in → every case → report
"""

import argparse
import functools
import json
import signal
import socket
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from attack import pickup
from attack.bench import PATIENCE, Bench, Case
from attack.browser import LIKE_A_BROWSER, SignInFailed, Target
from attack.cases import CASES, GROUPS
from attack.provider import Provider, served
from attack.report import Report, progress, say, summary, table
from attack.tokens import ALGORITHMS
from attack.wire import Request, Wire
from pickup_web import localhost

FAILED, CANNOT = 1, 2  # exit codes: a case failed; the attack could not run
WAIT_SECONDS = 60

EPILOG = """\
the application under test is started with these settings:
  issuer                the address of --issuer (http://localhost:9400); it must be able to reach that
  client id, secret     any, the same as --client-id and --client-secret here
  redirect URI          anything: the bench's provider accepts each
  signing algorithm     RS256, or what --alg says

example:
  python -m attack --logout-url http://localhost:5001/bclogout --login-url http://localhost:5001/login \\
      --page-url http://localhost:5001/profile --client-id my-app --client-secret my-secret

The same names, without the dashes before them, may stand in a TOML file: python -m attack my-app.toml
Exit code: 0 nothing failed, 1 something did, 2 the attack could not be made. More: docs/attack.md
"""

Options = argparse.Namespace


class CannotAttack(Exception):
    """A message that names what is missing."""


def parser() -> argparse.ArgumentParser:
    """All arguments. Each can also be set in the TOML file."""
    made = argparse.ArgumentParser(
        prog="python -m attack",
        description="Acts as a hostile OpenID Provider against a relying party, over HTTP only, and "
        "scores how its back-channel logout endpoint takes it.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("settings", nargs="?", metavar="FILE.toml", help="a file with these settings")
    about = made.add_argument_group("the application under test")
    about.add_argument("--logout-url", metavar="URL", help="its back-channel logout URI")
    about.add_argument("--login-url", metavar="URL", help="GET redirects to the provider, and then back")
    about.add_argument("--page-url", metavar="URL", help="a page with status 200 only for signed-in users")
    about.add_argument(
        "--signed-in-text",
        metavar="TEXT",
        default="",
        help="if that page is always 200: a text that only signed-in users see",
    )
    about.add_argument("--client-id", metavar="ID", help="its client id")
    about.add_argument("--client-secret", metavar="SECRET", default="", help="its client secret; not checked if empty")
    about.add_argument("--alg", default="RS256", help="the algorithm it expects: RS256 (default), ES256, EdDSA, …")
    about.add_argument("--ca-file", metavar="FILE", help="certificates to trust for its https address")
    about.add_argument("--pickup", action="store_true", help="start both Pickup apps, and attack them")
    own = made.add_argument_group("the bench's own provider")
    own.add_argument(
        "--issuer", metavar="URL", default="http://localhost:9400", help="its address, as the application sees it"
    )
    own.add_argument(
        "--listen", metavar="HOST:PORT", help="where it listens (default: 127.0.0.1 and the issuer's port)"
    )
    own.add_argument("--certificate", metavar="FILE", help="its certificate, if the issuer is https without a proxy")
    own.add_argument("--private-key", metavar="FILE", help="the certificate's key")
    run = made.add_argument_group("the run")
    run.add_argument("--only", metavar="IDS", help="some cases, such as V01,K08")
    run.add_argument("--json", metavar="FILE", help="also write the report to this file")
    run.add_argument(
        "--wait", metavar="SECONDS", type=float, default=WAIT_SECONDS, help="for the application to start (default 60)"
    )
    run.add_argument(
        "--patience", metavar="SECONDS", type=float, default=PATIENCE, help="until it must find a new key (default 40)"
    )
    run.add_argument("--serve", action="store_true", help="only run the provider, to try the application by hand")
    run.add_argument("--list", action="store_true", help="print the table of cases, and exit")
    return made


def read_options(arguments: list[str] | None = None) -> Options:
    """The arguments, with the file's settings as defaults."""
    made = parser()
    file = made.parse_args(arguments).settings
    if file:
        values = {name.replace("-", "_"): value for name, value in read_toml(Path(file)).items()}
        known = vars(made.parse_args([]))
        if unknown := sorted(set(values) - set(known)):
            raise CannotAttack(f"{file} has settings that nobody knows: {', '.join(unknown)}")
        made.set_defaults(**values)
    options = made.parse_args(arguments)
    if options.alg not in ALGORITHMS:
        raise CannotAttack(f"alg is {options.alg!r}; it must be one of {', '.join(ALGORITHMS)}")
    return options


def read_toml(file: Path) -> dict[str, Any]:
    """The file's settings."""
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise CannotAttack(f"{file} cannot be read: {error}") from error


def main(arguments: list[str] | None = None) -> int:
    """The exit code."""
    try:
        options = read_options(arguments)
        if options.list:
            say(table(GROUPS))
            return 0
        target = None if options.pickup or options.serve else target_of(options)
        look_names_up_once()
        with provider_of(options) as provider, ExitStack() as running:
            if options.serve:
                return serve(provider)
            targets = [target] if target else running.enter_context(pickup.both_apps(provider.issuer))
            reports = [attack(each, provider, options) for each in targets]
        return conclude(reports, options)
    except (CannotAttack, SignInFailed, pickup.NotStarted, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return CANNOT


def look_names_up_once() -> None:
    """Avoids slow resolvers. Names under .localhost are this machine, as for the apps."""
    localhost.install()
    socket.getaddrinfo = functools.cache(socket.getaddrinfo)


@contextmanager
def provider_of(options: Options) -> Iterator[Provider]:
    """The provider runs as long as the block does."""
    issuer = f"http://localhost:{pickup.free_port()}" if options.pickup else options.issuer
    parts = urlsplit(issuer)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    host, _, listen_port = (options.listen or f"127.0.0.1:{port}").rpartition(":")
    tls = (options.certificate, options.private_key) if options.certificate else None
    provider = Provider(issuer, options.client_id or "", options.client_secret, options.alg)
    with served(provider.app(), host, int(listen_port), tls):
        say(f"The provider is {issuer} (listening on {host}:{listen_port}).")
        yield provider


def serve(provider: Provider) -> int:
    """Runs until Ctrl-C."""
    say(f"Client: {provider.client_id!r}. Every user is signed in immediately. Press Ctrl-C to stop.")
    try:
        while True:
            time.sleep(3600)  # the server has its own thread; Ctrl-C ends this one
    except KeyboardInterrupt:
        return 0


def target_of(options: Options) -> Target:
    """The application described by the arguments."""
    missing = [name for name in ("logout_url", "login_url", "page_url", "client_id") if not getattr(options, name)]
    if missing:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in missing)
        raise CannotAttack(f"Missing: {names}. See python -m attack --help.")
    return Target(
        logout_url=options.logout_url,
        login_url=options.login_url,
        page_url=options.page_url,
        client_id=options.client_id,
        client_secret=options.client_secret,
        alg=options.alg,
        signed_in_text=options.signed_in_text,
        ca_file=options.ca_file,
    )


def attack(target: Target, provider: Provider, options: Options) -> Report:
    """Every case against one application."""
    say(f"\nAttacking {target.logout_url} (client {target.client_id}, {target.alg})")
    wait_for(target, options.wait)
    bench = Bench(target, provider, options.patience)
    started = time.monotonic()
    bench.prepare()
    chosen, results = chosen_cases(options.only), []
    for title, cases in GROUPS:
        rows = [case for case in cases if case in chosen]
        if rows:
            say(f"\n{title}")
        for result in bench.run(rows):
            results.append(result)
            say(progress(result))
    report = Report.of(bench, results, time.monotonic() - started)
    for line in summary(report):
        say(line)
    return report


def chosen_cases(only: str | None) -> list[Case]:
    """The cases with these ids, or all."""
    wanted = {name.strip().upper() for name in only.split(",")} if only else {case.id for case in CASES}
    if unknown := wanted - {case.id for case in CASES}:
        raise CannotAttack(f"There is no case {', '.join(sorted(unknown))}. See --list.")
    return [case for case in CASES if case.id in wanted]


def wait_for(target: Target, seconds: float) -> None:
    """Many applications read the provider's metadata when they start, so the provider starts first."""
    wire, deadline, told = Wire(target.page_url, target.ca_file), time.monotonic() + seconds, False
    while not (answer := wire.send(Request(method="GET", headers=LIKE_A_BROWSER), timeout=5)).status:
        if time.monotonic() > deadline:
            raise CannotAttack(f"{target.page_url} does not answer: {answer.error}")
        if not told:
            say(f"{target.page_url} does not answer yet. Start the application now; I wait {seconds:.0f} seconds.")
        told = True
        time.sleep(0.2)  # between two attempts to connect


def conclude(reports: list[Report], options: Options) -> int:
    """Write the JSON file; returns the exit code."""
    if options.json:
        whole = {"apps": [report.as_json() for report in reports]}
        Path(options.json).write_text(json.dumps(whole, indent=2) + "\n")
    if len(reports) > 1:
        say("\n" + "\n".join(f"{report.score:>10}  {report.target.client_id}" for report in reports))
    return FAILED if any(report.with_verdict("fail") for report in reports) else 0


if __name__ == "__main__":
    # If CI terminates it, it ends the processes it started: the signal becomes an exception, so every clean-up runs.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    sys.exit(main())
