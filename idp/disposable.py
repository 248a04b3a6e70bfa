"""An identity provider for tests: one process, one port, no settings file. ``python -m idp --help`` lists the options.

It is the same application as in production. Different are only the server (threads, no worker processes), the secrets
(random, unless given) and where the data is: in a temporary folder, in memory where the system has such a folder.
"""

import base64
import json
import math
import os
import random
import secrets
import signal
import socket
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any, NoReturn

import click
from cryptography.hazmat.primitives.asymmetric import ec
from flask import Flask
from joserfc.jwk import ECKey
from sqlalchemy import delete
from sqlalchemy.orm import Session
from werkzeug.serving import WSGIRequestHandler, make_server

from idp import create_app
from idp.models import AppliedSetting, SigningKey
from idp.seed import PASSWORD
from idp.seed_file import SeedFile, SeedFileError, app_of, person_of
from idp.tokens.signing_keys import RSA_BITS, add_keys
from pickup_web.clock import now
from pickup_web.database import engine_of
from pickup_web.settings import cannot_start, load_settings

SECRETS = ("PICKUP_SECRET_KEY", "PICKUP_DEMO_PASSWORD", "PICKUP_ADMIN_CLIENT_SECRET")
IN_MEMORY = Path("/dev/shm")  # noqa: S108 # a folder in memory on Linux; tempfile makes an unpredictable name in it
PRIME_SEEDS = (114, 1261)  # the first two that give primes, found once by trial


@click.command(help="Start an identity provider for tests. Settings PICKUP_… in the environment apply too.")
@click.option("--port", default=9000, show_default=True, help="0 takes a free port.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--url", help="The issuer, if apps reach it by another name. [default: http://localhost:PORT]")
@click.option("--data", type=click.Path(path_type=Path), help="Keep the data in this folder. [default: in memory]")
@click.option("--seed", type=click.Path(path_type=Path), help="A TOML file with people and clients (docs/running.md).")
@click.option("--person", "people", multiple=True, help="A person: JSON with the members of [[people]]. Repeatable.")
@click.option("--client", "clients", multiple=True, help="A client: JSON with the members of [[clients]]. Repeatable.")
@click.option("--password", help="Password of admin, cameron and alex. [default: random]")
@click.option("--admin-secret", help="Secret of the client pickup-admin, for the admin API. [default: random]")
@click.option("--deterministic", is_flag=True, help="The same secrets and signing keys at every start.")
@click.option("--stop-with-stdin", is_flag=True, help="Stop when standard input is closed.")
def main(
    port: int,
    host: str,
    url: str | None,
    data: Path | None,
    seed: Path | None,
    people: tuple[str, ...],
    clients: tuple[str, ...],
    password: str | None,
    admin_secret: str | None,
    *,
    deterministic: bool,
    stop_with_stdin: bool,
) -> None:
    """Runs until SIGINT or SIGTERM."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    listener = listen(host, port)
    issuer = url or f"http://localhost:{listener.getsockname()[1]}"
    given = {
        "PICKUP_IDP_URL": issuer,
        "PICKUP_SEED": str(seed or ""),
        "PICKUP_DEMO_PASSWORD": password or "",
        "PICKUP_ADMIN_CLIENT_SECRET": admin_secret or "",
    }
    with tempfile.TemporaryDirectory(
        prefix="pickup-", dir=IN_MEMORY if os.access(IN_MEMORY, os.W_OK) else None
    ) as temp:
        set_environment(given, data, Path(temp), deterministic=deterministic)
        own = read_options(people, clients)
        app = create_app(load_settings("disposable"))
        add(app, own)
        if deterministic:
            use_fixed_keys(app)
        try:
            for start in app.extensions["after_fork"]:
                start()
            announce(issuer)
            if stop_with_stdin:
                threading.Thread(target=wait_for_end_of_input, daemon=True).start()
            make_server(host, port, app, threaded=True, request_handler=Quiet, fd=listener.fileno()).serve_forever()
        finally:
            for finish in app.extensions["before_exit"]:
                finish()


class Quiet(WSGIRequestHandler):
    """The application logs its own events."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nothing."""


def stop(_number: int, _frame: object) -> NoReturn:
    """Ends the process, and removes the temporary folder."""
    sys.exit(0)


def wait_for_end_of_input() -> None:
    """A test run that is killed must not leave its provider behind."""
    while os.read(sys.stdin.fileno(), 4096):  # not buffered: at exit, Python would wait for its lock, and abort
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, made first: its port is part of the issuer."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        raise cannot_start([f"{host}, port {port}: {error.strerror}"]) from error


def set_environment(given: dict[str, str], data: Path | None, temporary: Path, *, deterministic: bool) -> None:
    """The settings: options first, then the environment, then what suits a test."""
    folder = data or temporary
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.update({name: value for name, value in given.items() if value})
    defaults = {name: "for-tests-only" if deterministic else secrets.token_urlsafe(24) for name in SECRETS}
    if data and not deterministic:
        defaults["PICKUP_SECRET_KEY"] = kept_secret(folder / "secret_key")
    defaults |= {
        "PICKUP_DEMO_PLAIN_HTTP": "true",
        "PICKUP_DEMO_PRIVATE_ADDRESSES": "true",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    os.environ["PICKUP_DATA_DIR"] = str(folder)  # the image sets it, for services that keep their data


def kept_secret(path: Path) -> str:
    """The key that encrypts the signing keys in a folder that is kept."""
    if not path.exists():
        path.touch(0o600)
        path.write_text(secrets.token_urlsafe(32))
    return path.read_text()


def read_options(people: tuple[str, ...], clients: tuple[str, ...]) -> tuple[list[Any], list[Any]]:
    """The JSON of ``--person`` and ``--client``."""
    try:
        return [json.loads(text) for text in people], [json.loads(text) for text in clients]
    except ValueError as error:
        raise cannot_start([f"--person and --client take JSON: {error}"]) from error


def add(app: Flask, own: tuple[list[Any], list[Any]]) -> None:
    """Adds the people and clients of the options, by the rules of the seed file."""
    with app.app_context(), Session(engine_of(app)) as db:
        try:
            file = SeedFile([person_of(entry) for entry in own[0]], [app_of(entry) for entry in own[1]])
        except (SeedFileError, TypeError, AttributeError) as error:
            raise cannot_start([f"--person or --client: {error}"]) from error
        file.add_new(db, db.get_one(AppliedSetting, PASSWORD).value)
        db.commit()


def announce(issuer: str) -> None:
    """Standard output: one line for programs, then the accounts. Standard error: what this must not be used for."""
    sys.stderr.write("This identity provider is for tests only: it allows http, and its data is disposable.\n")
    sys.stdout.write(f"ready: {issuer}\n")
    sys.stdout.write(f"  people admin, cameron, alex: password {os.environ['PICKUP_DEMO_PASSWORD']}\n")
    sys.stdout.write(f"  client pickup-admin, for the admin API: secret {os.environ['PICKUP_ADMIN_CLIENT_SECRET']}\n")
    sys.stdout.flush()


# --- fixed keys ---


def use_fixed_keys(app: Flask) -> None:
    """Replaces the random signing keys. Anyone can compute these, so they protect nothing."""
    with app.app_context(), Session(engine_of(app)) as db:
        db.execute(delete(SigningKey))
        fixed = {"RS256": fixed_rsa_jwk(), "ES256": fixed_ec_jwk()}
        keys = [
            SigningKey(kid=f"fixed-{alg.lower()}-key", alg=alg, private_jwk=jwk, created_at=now(), signs_from=now())
            for alg, jwk in fixed.items()
        ]
        add_keys(db, keys)
        db.commit()


def fixed_rsa_jwk() -> dict[str, Any]:
    """RFC 7518 §6.3: an RSA key of two fixed primes."""
    e, (p, q) = 65537, map(fixed_prime, PRIME_SEEDS)
    d = pow(e, -1, math.lcm(p - 1, q - 1))
    members = {"n": p * q, "e": e, "d": d, "p": p, "q": q, "dp": d % (p - 1), "dq": d % (q - 1), "qi": pow(q, -1, p)}
    return {"kty": "RSA", **{name: base64url(value) for name, value in members.items()}}


def fixed_prime(seed: int) -> int:
    """The number that Python's generator gives for this seed, made odd and of full length."""
    bits = RSA_BITS // 2
    return random.Random(seed).getrandbits(bits) | 3 << (bits - 2) | 1  # noqa: S311 # not secret


def fixed_ec_jwk() -> dict[str, Any]:
    """RFC 7518 §6.2: a P-256 key of a fixed number."""
    scalar = random.Random("pickup").getrandbits(255)  # noqa: S311 # not secret
    return dict(ECKey(ec.derive_private_key(scalar, ec.SECP256R1()), None).as_dict(private=True))


def base64url(number: int) -> str:
    """RFC 7518 §2: Base64urlUInt."""
    return base64.urlsafe_b64encode(number.to_bytes((number.bit_length() + 7) // 8)).rstrip(b"=").decode()
