"""A disposable identity provider as a child process, and its admin API."""

import os
import re
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import requests

from pickup_testing.browser import Browser

START_SECONDS = 30.0  # usually one or two; a busy machine needs longer
POLL_SECONDS = 0.02
PASSWORD = "a password for tests"  # noqa: S105 # of people that are added without one
ACCOUNTS = "/identityStores/people/accounts"


class IdpError(Exception):
    """The IdP did not start, or refused a request. The text says why."""


@dataclass(frozen=True)
class Person:
    """A person who can sign in. ``sub`` is the same in every token."""

    sub: str
    username: str
    password: str


@dataclass(frozen=True)
class Session:
    """A session of one browser, which all apps in it share. ``sid``: as in ID tokens and logout tokens."""

    sid: str
    sub: str


@dataclass(frozen=True)
class Delivery:
    """A line of the IdP's ledger: the notification of one app about one ended session."""

    client_id: str
    username: str | None
    sid: str
    state: str
    """``delivered``, ``refused`` (for good), ``pending`` (it will be tried again), ``given_up`` (not reached before
    the retry deadline) or ``not_sent`` (for example, because the app has no back-channel logout URL)."""
    why: str
    """Why it is in this state: the last answer or error, or the IdP's note. Empty if it was delivered."""
    tries: int
    status: int | None
    """The HTTP status of the app's last answer, if any."""

    def __str__(self) -> str:
        return f"{self.client_id}: {self.state} after {self.tries} tries" + (f" ({self.why})" if self.why else "")


class NotDeliveredError(AssertionError):
    """An app was not notified in time. ``deliveries``: the ledger's lines, if there are any."""

    def __init__(self, deliveries: Sequence[Delivery], seconds: float) -> None:
        lines = "; ".join(map(str, deliveries)) or "the ledger has no line: no app took part, or no session ended"
        super().__init__(f"Not delivered within {seconds:g} s. {lines}")
        self.deliveries = list(deliveries)


class Idp:
    """A running identity provider.

    ``issuer``: its address, as in the configuration of the app under test. ``admin_secret``: of its client
    ``pickup-admin``. ``password``: of the people admin, cameron and alex.
    :func:`start_idp` makes one; construct it yourself for one that runs in a container.
    """

    def __init__(self, issuer: str, admin_secret: str, password: str = "") -> None:
        self.issuer, self._admin_secret = issuer, admin_secret
        self._passwords = {name: password for name in ("admin", "cameron", "alex") if password}
        self._http = requests.Session()
        self._http.trust_env = False  # no proxy between a test and its own machine
        self._token = ""

    # --- people and clients ---

    def add_person(
        self,
        username: str,
        password: str = PASSWORD,
        *,
        sub: str | None = None,
        role: str = "user",
        claims: Mapping[str, Any] | None = None,
    ) -> Person:
        """Add a person. ``sub``: random if None. ``claims``: any that JSON can express, such as
        ``{"email": "zoe@example.com", "email_verified": True, "groups": ["night"]}``.

        :class:`IdpError` if the username or the sub is taken, or a value breaks a rule; the password needs 8
        characters.
        """
        body = {"username": username, "password": password, "role": role, "claims": dict(claims or {})}
        made = self.admin("POST", ACCOUNTS, body if sub is None else {**body, "id": sub})
        self._passwords[made["username"]] = password
        return Person(made["id"], made["username"], password)

    def change_person(self, username: str, **changes: Any) -> None:
        """Change ``claims`` (a value None removes one), ``role``, ``disabled`` (a bool) or ``password``.

        Disabling, and a new password, end all sessions.
        """
        self.admin("PATCH", f"{ACCOUNTS}/{self.sub_of(username)}", changes)
        if "password" in changes:
            self._passwords[username] = changes["password"]

    def remove_person(self, username: str) -> None:
        """Remove a person and end their sessions."""
        self.admin("DELETE", f"{ACCOUNTS}/{self.sub_of(username)}")

    def add_client(self, client_id: str, secret: str | None = None, **settings: Any) -> None:
        """Register a client. ``settings``: those of docs/console.md, such as ``redirect_uris=["…"]`` (a list),
        ``backchannel_logout_uri="…"``, ``post_logout_redirect_uris``, ``require_pkce=False``,
        ``claims_in_id_token=True``, ``scopes=["openid", "email"]`` (by default all about the person).

        Without ``secret``: a public client (``token_endpoint_auth_method="none"``), unless the settings say otherwise.
        :class:`IdpError` if the id was ever used, or a value breaks a rule.
        """
        values = {"name": client_id, **settings, "client_id": client_id}
        if secret is None:
            values.setdefault("token_endpoint_auth_method", "none")
        else:
            values["client_secret"] = secret
        self.admin("POST", "/clients", in_camel_case(values))

    def change_client(self, client_id: str, **settings: Any) -> None:
        """Change settings of a client; ``client_secret`` too."""
        self.admin("PATCH", f"/clients/{client_id}", in_camel_case(settings))

    def remove_client(self, client_id: str) -> None:
        """Remove a client and end its part in all sessions. Its id can never be used again."""
        self.admin("DELETE", f"/clients/{client_id}")

    # --- sessions ---

    def browser(self) -> Browser:
        """A new browser, without cookies."""
        return Browser(self)

    def sessions(self, username: str) -> list[Session]:
        """The active sessions of a person, last used first."""
        found = self.admin("GET", f"{ACCOUNTS}/{self.sub_of(username)}/sessions?size=200")
        return [Session(session["id"], session["accountId"]) for session in found]

    def end_session(self, session: Session, *, timeout: float = 5.0) -> list[Delivery]:
        """End a session, as an operator, and wait until each app has answered: :meth:`wait_for_logout`.

        :class:`IdpError` if it has ended already.
        """
        self.admin("DELETE", f"{ACCOUNTS}/{session.sub}/sessions/{session.sid}")
        return self.wait_for_logout(session, timeout=timeout)

    def wait_for_logout(self, session: Session, *, timeout: float = 5.0) -> list[Delivery]:
        """Wait until no notification of this session's end is pending; returns the ledger's lines, one for each app.

        A line is ``delivered``, ``refused``, ``given_up`` or ``not_sent``: check its ``state``.
        :class:`NotDeliveredError` if a line is still pending after ``timeout`` seconds, or if there is none.
        """
        deadline = time.monotonic() + timeout
        while True:
            lines = self.deliveries(session)
            if lines and not any(line.state == "pending" for line in lines):
                return lines
            if time.monotonic() > deadline:
                raise NotDeliveredError(lines, timeout)
            time.sleep(POLL_SECONDS)

    def deliveries(self, session: Session) -> list[Delivery]:
        """The ledger's lines of a session as they are now, oldest first. Empty while it is active."""
        found = self.admin("GET", f"/deliveries?sessionId={session.sid}&size=200")
        return [self._line(row["id"]) for row in reversed(found)]

    # --- the admin API ---

    def admin(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """A request to the admin API (docs/admin-api.md); returns the JSON of the response, or None if it is empty.

        :class:`IdpError` for every other status than 2xx.
        """
        for _ in range(2):
            self._token = self._token or self._new_token()
            headers = {"Authorization": f"Bearer {self._token}"}
            url = f"{self.issuer}/admin/api/v1{path}"
            response = self._http.request(method, url, json=body, headers=headers, timeout=30)
            if response.status_code != requests.codes.unauthorized:
                break
            self._token = ""  # it expired, or the IdP was started again
        if not response.ok:
            problem = response.json()
            fields = [f"{one['field']}: {one['message']}" for one in problem["fieldErrors"]]
            raise IdpError(f"{method} {path}: {' '.join(fields) or problem['detail']}")
        return response.json() if response.content else None

    def sub_of(self, username: str) -> str:
        """The ``sub`` of a person; :class:`IdpError` if there is none with this username."""
        for account in self.admin("GET", f"{ACCOUNTS}?size=200&search={username}"):
            if account["username"] == username:
                return str(account["id"])
        raise IdpError(f"There is no person {username!r}.")

    def password_of(self, username: str) -> str:
        """The password of a person that this object added, or of admin, cameron or alex."""
        if username not in self._passwords:
            raise IdpError(f"The password of {username!r} is not known here: pass it.")
        return self._passwords[username]

    def _new_token(self) -> str:
        """RFC 6749 §4.4.2."""
        response = self._http.post(
            f"{self.issuer}/oauth2/token",
            {"grant_type": "client_credentials"},
            auth=("pickup-admin", self._admin_secret),
            timeout=30,
        )
        if not response.ok:
            raise IdpError(f"The secret of pickup-admin is wrong: {response.text}")
        return str(response.json()["access_token"])

    def _line(self, delivery_id: str) -> Delivery:
        row = self.admin("GET", f"/deliveries/{delivery_id}")
        nothing: dict[str, Any] = {"status": None, "answer": ""}
        last = row["attempts"][-1] if row["attempts"] else nothing
        seen = f"{row['outcome']}: HTTP {last['status']}" if last["status"] else row["outcome"]
        why = row["note"] or " ".join(filter(None, [seen, last["answer"]]))
        return Delivery(
            client_id=row["clientId"],
            username=row["username"],
            sid=row["sessionId"],
            state=row["state"],
            why="" if row["state"] == "delivered" else why,
            tries=row["tries"],
            status=last["status"],
        )


def in_camel_case(values: Mapping[str, Any]) -> dict[str, Any]:
    """``redirect_uris`` → ``redirectUris``; tuples become lists."""
    words = {name: name.split("_") for name in values}
    return {first + "".join(map(str.capitalize, more)): values[name] for name, (first, *more) in words.items()}


@contextmanager
def start_idp(
    *,
    port: int = 0,
    seed: str | Path | None = None,
    deterministic: bool = False,
    settings: Mapping[str, str] | None = None,
) -> Iterator[Idp]:
    """Start an IdP and stop it at the end of the block. It is ready at the beginning of the block.

    ``port``: 0 takes a free port of localhost. ``seed``: a TOML file with people and clients (docs/running.md).
    ``deterministic``: the same secrets and signing keys at every start. ``settings``: PICKUP_… variables
    (docs/running.md), such as ``{"PICKUP_LOGOUT_WAIT": "0"}``. :class:`IdpError` with its output if it does not start.
    """
    command = [sys.executable, "-P", "-m", "idp", "--port", str(port), "--stop-with-stdin"]
    command += ["--seed", str(seed)] if seed else []
    command += ["--deterministic"] if deterministic else []
    others = {name: value for name, value in os.environ.items() if not name.startswith("PICKUP_")}
    names = ("PICKUP_ADMIN_CLIENT_SECRET", "PICKUP_DEMO_PASSWORD")
    given = {name: "for-tests-only" if deterministic else secrets.token_urlsafe(24) for name in names}
    given |= settings or {}
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        process = subprocess.Popen(  # noqa: S603 # our own program
            command,
            env={**others, **given},
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            yield Idp(
                wait_until_ready(process, output), given["PICKUP_ADMIN_CLIENT_SECRET"], given["PICKUP_DEMO_PASSWORD"]
            )
        finally:
            process.terminate()
            process.communicate()


def wait_until_ready(process: "subprocess.Popen[bytes]", output: IO[str]) -> str:
    """The issuer, once the IdP has printed it."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        output.seek(0)
        lines = output.read()
        if ready := re.search(r"^ready: (\S+)\n", lines, re.MULTILINE):
            return ready[1]
        if process.poll() is not None or time.monotonic() > deadline:
            raise IdpError(f"The IdP did not start. Its output:\n{lines}")
        time.sleep(POLL_SECONDS)
