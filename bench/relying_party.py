"""Figures of the relying party: tokens per second, session lookups and ends, and the cost of an open tab."""

import gc
import itertools
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jwt
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from flask import Flask
from jwt import PyJWK
from jwt.algorithms import RSAAlgorithm
from sqlalchemy import Engine, event, func, insert, select
from sqlalchemy.orm import Session

from relying_party import RelyingParty
from relying_party.clock import now
from relying_party.database import open_engine
from relying_party.encryption import Encryption
from relying_party.errors import RelyingPartyError
from relying_party.logout_token import LOGOUT_EVENT, LogoutToken, validate_logout_token
from relying_party.models import Base, StoredSession, make_tables
from relying_party.sessions import AppSession, SessionStore, hash_of
from relying_party.state import State

ISSUER, CLIENT_ID, BASE_URL = "https://op.example", "bench", "https://bench.example"
ENCRYPTION = Encryption([secrets.token_hex()])
BATCH = 5000  # rows of one INSERT

KEY = rsa.generate_private_key(65537, 2048)
OTHER_KEY = rsa.generate_private_key(65537, 2048)
JWK = PyJWK({**RSAAlgorithm.to_jwk(KEY.public_key(), as_dict=True), "kid": "k"}, "RS256")


@dataclass(frozen=True)
class Figure:
    """A row of the table."""

    name: str
    value: str


def per_second(act: Callable[[], Any], seconds: float) -> float:
    """How many times per second ``act`` runs, after a short warm-up."""
    act()
    gc.collect()
    done, start = 0, time.perf_counter()
    while (passed := time.perf_counter() - start) < seconds:
        act()
        done += 1
    return done / passed


def median_us(act: Callable[[int], Any], numbers: Iterable[int]) -> float:
    """The median of single runs, in microseconds, so that one slow disk access does not count."""
    taken = []
    for number in numbers:
        start = time.perf_counter()
        act(number)
        taken.append(time.perf_counter() - start)
    return sorted(taken)[len(taken) // 2] * 1e6


# --- tokens ---


def logout_token(key: rsa.RSAPrivateKey = KEY, kid: str = "k", **claims: Any) -> str:
    """A logout token as providers create it."""
    at = now()
    good = {"iss": ISSUER, "aud": CLIENT_ID, "iat": at, "exp": at + 120, "events": {LOGOUT_EVENT: {}}, "sub": "u"}
    return jwt.encode({**good, "sid": "s", **claims}, key, "RS256", headers={"kid": kid, "typ": "logout+jwt"})


def tokens(seconds: float) -> Iterator[Figure]:
    """The pure check, compared with the cryptography alone."""
    good, signature = logout_token(jti="j"), KEY.sign(b"x" * 600, padding.PKCS1v15(), SHA256())
    public = KEY.public_key()
    bare = per_second(lambda: public.verify(signature, b"x" * 600, padding.PKCS1v15(), SHA256()), seconds)
    yield Figure("bare RSA-2048 verification", rate(bare))
    head, body, tail = good.split(".")
    cases = {
        "good logout token": good,
        "forged: signed with another key": logout_token(OTHER_KEY, jti="j"),
        "forged: signature cut short": f"{head}.{body}.{tail[:-8]}",
        "forged: unknown key id": logout_token(kid="unknown", jti="j"),
        "forged: no token at all": "x" * 1000,
    }
    for name, raw in cases.items():
        count = per_second(lambda raw=raw: check(raw), seconds)  # type: ignore[misc] # a lambda's default
        yield Figure(name, f"{rate(count)}   {count / bare:.0%} of bare RSA")


def check(raw: str) -> LogoutToken | None:
    """Whether it is valid."""
    try:
        return validate_logout_token(raw, [JWK], issuer=ISSUER, client_id=CLIENT_ID, algorithm="RS256", now=now())
    except RelyingPartyError:
        return None


# --- the route ---


def make_app(folder: Path, **config: Any) -> Flask:
    """An application with the extension and one route; its provider's keys are cached."""
    app = Flask("bench", instance_path=str(folder))
    app.secret_key = secrets.token_hex()
    app.config.update(
        RELYING_PARTY_ISSUER=ISSUER,
        RELYING_PARTY_CLIENT_ID=CLIENT_ID,
        RELYING_PARTY_BASE_URL=BASE_URL,
    )
    app.config.update(config)
    app.add_url_rule("/bare", "home", lambda: "")
    RelyingParty().init_app(app)
    state: State = app.extensions["relying_party"]
    state.provider._keys = (now(), [JWK])
    return app


def post(app: Flask, path: str, **form: str) -> str:
    """A request without a socket; returns the status."""
    body = urlencode(form).encode()
    environ = {
        "REQUEST_METHOD": "POST" if form else "GET", "PATH_INFO": path, "SERVER_NAME": "bench", "SERVER_PORT": "443",
        "wsgi.url_scheme": "https", "wsgi.input": BytesIO(body), "wsgi.multithread": True, "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_TYPE": "application/x-www-form-urlencoded", "CONTENT_LENGTH": str(len(body)), "wsgi.errors": BytesIO(),
    }  # fmt: skip
    told: list[str] = []

    def start_response(status: str, _headers: Any, _error: Any = None) -> Any:
        told.append(status)

    list(app.wsgi_app(environ, start_response))
    return told[0]


def route(folder: Path, seconds: float) -> Iterator[Figure]:
    """``POST /bclogout`` compared with a bare route of the same application, one request at a time."""
    app = make_app(folder)
    bare = per_second(lambda: post(app, "/bare"), seconds)
    yield Figure("a bare Flask route", rate(bare))
    forged = logout_token(OTHER_KEY, jti="j")
    count = per_second(lambda: post(app, "/bclogout", logout_token=forged), seconds)
    yield Figure("POST /bclogout, forged", f"{rate(count)}   {count / bare:.0%} of bare Flask")
    numbers = itertools.count()
    ready = (logout_token(jti=str(next(numbers))) for _ in itertools.count())
    signing = per_second(lambda: next(ready), seconds)
    both = per_second(lambda: post(app, "/bclogout", logout_token=next(ready)), seconds)
    count = 1 / (1 / both - 1 / signing)  # without creating the tokens
    yield Figure("POST /bclogout, good, on the disk", f"{rate(count)}   {count / bare:.0%} of bare Flask")


# --- stored sessions ---


def stored(numbers: range) -> Iterator[dict[str, Any]]:
    """Rows of signed-in users."""
    at = now()
    encrypted = ENCRYPTION.encrypt({"claims": {"iss": ISSUER}, "userinfo": {"name": "N"}, "id_token": "x" * 200})
    for n in numbers:
        yield {
            "id_hash": hash_of(f"cookie {n}"), "created_at": at, "last_seen_at": at, "expires_at": at + 28_800,
            "data": "", "iss": ISSUER, "sub": f"user {n}", "sid": f"sid {n}", "login": encrypted,
        }  # fmt: skip


def fill(engine: Engine, count: int) -> None:
    """Add sessions until there are ``count``."""
    with Session(engine) as db:
        present = db.scalar(select(func.count()).select_from(StoredSession)) or 0
    for start in range(present, count, BATCH):
        with engine.begin() as connection:
            connection.execute(insert(StoredSession), list(stored(range(start, min(start + BATCH, count)))))
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("ANALYZE rp_session")


def sessions(database: str, folder: Path, sizes: list[int], acts: int) -> Iterator[Figure]:
    """Looking a session up and ending it, by (iss, sid) and by (iss, sub), in tables of growing size."""
    engine = open_engine(database, str(folder))
    if engine.dialect.name == "sqlite":  # to measure the query, not the disk
        event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous = OFF"))
    Base.metadata.drop_all(engine)
    make_tables(engine)
    store = SessionStore(engine, ENCRYPTION)
    for size in sizes:
        fill(engine, size)
        yield Figure(f"{size:>9,} sessions", "   ".join(acts_among(store, size, acts)))
    engine.dispose()


def acts_among(store: SessionStore, size: int, acts: int) -> Iterator[str]:
    """Each kind of operation, on sessions spread over the table."""
    step = size // (2 * acts + 1) or 1
    some = [n * step for n in range(2 * acts) if n * step < size]
    kinds: dict[str, tuple[list[int], Callable[[int], Any]]] = {
        "look up": (some, lambda n: store.load(f"cookie {n}")),
        "end by sid": (some[::2], lambda n: store.apply_logout(token(size, n, sid=f"sid {n}"))),
        "end by sub": (some[1::2], lambda n: store.apply_logout(token(size, n, sub=f"user {n}"))),
        "sign in": (some[:50], lambda n: store.sign_in(AppSession(), fresh(n))),
    }
    for name, (numbers, act) in kinds.items():
        yield f"{name} {median_us(act, numbers):5.0f} µs"


def token(size: int, number: int, sid: str | None = None, sub: str | None = None) -> LogoutToken:
    """A new one for each operation."""
    return LogoutToken(ISSUER, sub, sid, f"{size} {number} {sid}", now(), now() + 120, None)


def fresh(number: int) -> dict[str, Any]:
    """A login."""
    claims = {"iss": ISSUER, "sub": f"new {number}", "sid": f"new {number}", "iat": now()}
    return {"claims": claims, "userinfo": {}}


def rate(value: float) -> str:
    """Operations per second."""
    return f"{value:>9,.0f} /s"
