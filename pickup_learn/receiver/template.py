"""Your receiver: a small app that signs users in at an OpenID Provider, and that you teach to end their sessions.

Everything is written except /bclogout, at the end of this file. `make receiver` checks this file after each save.
"""

import os
import secrets
import sqlite3
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

import jwt
import requests
from flask import Flask, Response, jsonify, redirect, render_template_string, request
from flask.typing import ResponseReturnValue

ISSUER = os.environ["RECEIVER_ISSUER"]  # the provider that this app trusts
CLIENT_ID = os.environ["RECEIVER_CLIENT_ID"]  # the name of this app at the provider
BASE_URL = os.environ["RECEIVER_URL"]  # the address of this app
ALGORITHM = "RS256"  # with which the provider signs for this app: its id_token_signed_response_alg
DATABASE = os.environ["RECEIVER_DATABASE"]  # a SQLite file

TABLES = """
CREATE TABLE IF NOT EXISTS sign_in (state TEXT PRIMARY KEY, nonce TEXT, verifier TEXT);
CREATE TABLE IF NOT EXISTS session (cookie TEXT PRIMARY KEY, sub TEXT NOT NULL, sid TEXT);
CREATE TABLE IF NOT EXISTS used_jti (jti TEXT PRIMARY KEY);  -- for step 8
CREATE TABLE IF NOT EXISTS ended_sid (sid TEXT PRIMARY KEY);  -- for step 10
"""

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>My receiver</title>
<meta name="viewport" content="width=device-width"><body style="font: 1.1rem system-ui; margin: 2rem">
<h1>My receiver</h1>
{% if session %}<p>You are signed in. <code>sub</code> {{ session.sub }}, <code>sid</code> {{ session.sid }}</p>
<p>Log out of another app, then reload this page.</p>
{% else %}<p>You are not signed in.</p><p><a href="/login">Sign in</a></p>{% endif %}"""

app = Flask(__name__)
http = requests.Session()
http.trust_env = False  # no proxy between this app and its provider


# --- The database ---


@contextmanager
def transaction() -> Iterator[sqlite3.Connection]:
    """One transaction: a second one waits until this one has ended. An exception inside undoes everything."""
    db = sqlite3.connect(DATABASE, timeout=10, isolation_level=None)
    db.row_factory = sqlite3.Row
    try:
        db.execute("BEGIN IMMEDIATE")
        yield db
        db.execute("COMMIT")
    finally:
        db.close()


with sqlite3.connect(DATABASE) as tables:
    tables.executescript(TABLES)


# --- The provider ---


def metadata(name: str) -> str:
    """The provider's metadata, such as jwks_uri (Discovery §4). It is read once."""
    if not PROVIDER:
        PROVIDER.update(get_json(f"{ISSUER.rstrip('/')}/.well-known/openid-configuration"))
    return str(PROVIDER[name])


PROVIDER: dict[str, Any] = {}


def get_json(url: str) -> Any:
    """The JSON at an address. Raises requests.RequestException if there is none."""
    response = http.get(url, timeout=5)
    response.raise_for_status()
    return response.json()


# --- Pages and sign-in ---


@app.get("/")
def front() -> ResponseReturnValue:
    """For everyone."""
    return render_template_string(PAGE, session=current_session())


@app.get("/profile")
def profile() -> ResponseReturnValue:
    """For signed-in users. The bench looks here whether a session is active: 200 or 401."""
    session = current_session()
    return render_template_string(PAGE, session=session), 200 if session else 401


def current_session() -> sqlite3.Row | None:
    """The session of the browser's cookie."""
    with transaction() as db:
        row = db.execute("SELECT sub, sid FROM session WHERE cookie = ?", [request.cookies.get("session", "")])
        return row.fetchone()  # type: ignore[no-any-return] # sqlite3 has no types for rows


@app.get("/login")
def login() -> ResponseReturnValue:
    """Sends the browser to the provider (Core §3.1.2.1), with PKCE (RFC 7636)."""
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    with transaction() as db:
        db.execute("INSERT INTO sign_in VALUES (?, ?, ?)", [state, nonce, verifier])
    query = {
        "response_type": "code",
        "client_id": CLIENT_ID,
        "redirect_uri": f"{BASE_URL}/callback",
        "scope": "openid",
        "state": state,
        "nonce": nonce,
        "code_challenge": urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }
    response = redirect(f"{metadata('authorization_endpoint')}?{urlencode(query)}")
    response.set_cookie("state", state, httponly=True, samesite="Lax")
    return response


@app.get("/callback")
def callback() -> ResponseReturnValue:
    """The browser is back with a code. The app exchanges it for an ID token, and starts a session."""
    state = request.args.get("state", "")
    with transaction() as db:
        find = "DELETE FROM sign_in WHERE state = ? RETURNING nonce, verifier"
        sign_in = db.execute(find, [state]).fetchone()
    if sign_in is None or state != request.cookies.get("state") or request.args.get("iss", ISSUER) != ISSUER:
        return "This sign-in was not started here, or it is already finished. Please sign in again.", 400
    if "code" not in request.args:
        return "The provider did not sign you in. Please sign in again.", 400
    claims = exchange(request.args["code"], sign_in["verifier"])
    if claims["nonce"] != sign_in["nonce"]:
        return "The ID token belongs to another sign-in. Please sign in again.", 400
    cookie = secrets.token_urlsafe(32)
    with transaction() as db:
        # Step 10 has a part here: the provider may have ended this session while the browser was on its way.
        db.execute("INSERT INTO session VALUES (?, ?, ?)", [cookie, claims["sub"], claims.get("sid")])
    response = redirect("/")
    response.set_cookie("session", cookie, httponly=True, samesite="Lax")
    return response


def exchange(code: str, verifier: str) -> dict[str, Any]:
    """The ID token's claims. Core §3.1.3.7 (6): it comes directly from the provider, so we may skip its signature."""
    form = {
        "grant_type": "authorization_code",
        "client_id": CLIENT_ID,
        "code": code,
        "code_verifier": verifier,
        "redirect_uri": f"{BASE_URL}/callback",
    }
    response = http.post(metadata("token_endpoint"), data=form, timeout=5)
    response.raise_for_status()
    claims = jwt.decode(response.json()["id_token"], options={"verify_signature": False})
    if claims["iss"] != ISSUER or claims["aud"] not in (CLIENT_ID, [CLIENT_ID]) or claims["exp"] < time.time():
        raise jwt.InvalidTokenError("The ID token is not for this app.")
    return dict(claims)


# ======================================================================================================================
# Your part. The terminal shows the current step, the first request that your app answered wrongly, and a hint.
# Until step 9, a request that passes all checks so far gets 501 from the last line.
# ======================================================================================================================


class Refused(Exception):
    """Raise it with a sentence. The provider gets 400 and the sentence, and nothing has changed."""


@app.errorhandler(Refused)
def refusal(error: Refused) -> Response:
    """BCL §2.8: 400. The body, if there is one, is JSON with error and error_description."""
    response = jsonify(error="invalid_request", error_description=str(error))
    response.status_code = 400
    return response


# Write functions and variables of your own here.


@app.route("/bclogout", methods=["GET", "POST"])
def bclogout() -> ResponseReturnValue:
    """BCL §2.5: the provider's server posts a logout token here."""
    # Step 1: take the POST. BCL §2.5: POST only, the body is application/x-www-form-urlencoded.
    # Refuse other content types. §2.8: answers have Cache-Control: no-store.

    # Step 2: one parameter. BCL §2.5: logout_token, in the body, exactly once.
    # It is a signed JWT: three parts of base64url with dots in between, and its header can be read. Read at most 64 kB.

    # Step 3: signature and key. BCL §2.6 (2): verify the signature with a key of the provider.
    # Find the key by the header's kid at metadata("jwks_uri"). Keep the keys; fetch them again for an unknown kid.

    # Step 4: algorithm. BCL §2.6 (3): never none. Core §3.1.3.7 (7): only the registered one, ALGORITHM.

    # Step 5: iss and aud. BCL §2.6 (4), Core §3.1.3.7 (2) and (3): exactly this issuer, and no audience besides us.

    # Step 6: times. BCL §2.4: iat and exp are required, and they are numbers. Not expired, not from the future.

    # Step 7: events, typ, no nonce. BCL §2.6 (6) and (7), §2.4: this is a logout token, and no other kind of JWT.

    # Step 8: jti. BCL §2.4: it is required. §2.6 (8): the same token is not accepted twice.

    # Step 9: end by sid, by sub. BCL §2.6 (5), §2.7: end the sessions that match sid, sub, or both if both are given.
    # Store the jti of step 8 in the same transaction. Otherwise, if the app crashes between the two and a load balancer
    # sends the request again, step 8 refuses it and the session stays.

    # Step 10: the race. Two deliveries at once; and a logout that overtakes its sign-in (see also callback).

    return "This receiver is not finished.", 501
