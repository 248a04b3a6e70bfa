"""Receivers with one mistake each, and receivers that are right in another way."""

import json
import math
import threading
import time
import traceback
from typing import Any, ClassVar

import jwt
from flask import Flask, Response, request
from flask.typing import ResponseReturnValue

from tests.attack.careful_receiver import FORM, LEEWAY, CarefulReceiver, Refused


class AnyAlgorithm(CarefulReceiver):
    """Believes the list in the provider's metadata, instead of what the client registered."""

    ALGORITHMS = ("RS256", "RS512", "PS256", "ES256")
    KEY_TYPES: ClassVar = {"RSA", "EC"}


class FollowsJku(CarefulReceiver):
    """Takes the key from where the token says it is."""

    def key(self, kid: str | None) -> jwt.PyJWK:
        header = jwt.get_unverified_header(request.form["logout_token"])
        if "jku" in header:
            return jwt.PyJWK(self.http.get(header["jku"]).json()["keys"][0])
        return super().key(kid)


class LooseIssuer(CarefulReceiver):
    """Is content when the issuer begins as it should."""

    def check(self, claims: dict[str, Any]) -> None:
        is_ours = claims["iss"].startswith(self.issuer)
        super().check({**claims, "iss": self.issuer if is_ours else ""})


class EarlyMark(CarefulReceiver):
    """Writes down the jti before it has looked at the rest."""

    def check(self, claims: dict[str, Any]) -> None:
        with self.lock:
            if claims["jti"] in self.seen:
                raise Refused
            self.seen.add(claims["jti"])
        super().check(claims)

    def mark(self, jti: str) -> None:
        """Done already."""


class LooksThenWrites(CarefulReceiver):
    """Leaves time between looking whether the jti was seen and writing it down."""

    def __init__(self, *settings: str) -> None:
        super().__init__(*settings)
        self.pause = threading.Barrier(2)

    def mark(self, jti: str) -> None:
        if jti in self.seen:
            raise Refused
        try:
            self.pause.wait(0.5)  # until another one has looked, too
        except threading.BrokenBarrierError:
            self.pause.reset()
        self.seen.add(jti)

    def carry_out(self, claims: dict[str, Any]) -> None:
        self.mark(claims["jti"])
        self.end(claims)


class AsksEachTime(CarefulReceiver):
    """Fetches the keys whenever a token names one that it does not know."""

    def fetch_keys(self) -> None:
        self.fetches_left = 1
        super().fetch_keys()


class EndsThePerson(CarefulReceiver):
    """Ends all sessions of the person, whichever was meant."""

    def end(self, claims: dict[str, Any]) -> None:
        meant = {session["sub"] for session in self.sessions.values() if self.is_meant(claims, session)}
        for sub in meant:
            super().end({"sub": sub})
        super().end(claims)


class EndsBySub(CarefulReceiver):
    """Ends all sessions of ``sub``, although the token has a ``sid``."""

    def is_meant(self, claims: dict[str, Any], session: dict[str, Any]) -> bool:
        name = "sub" if "sub" in claims else "sid"
        return bool(claims[name] == session[name])


class EndsOneSession(CarefulReceiver):
    """Ends one session, although ``sub`` alone means all of them; and answers 204."""

    def end(self, claims: dict[str, Any]) -> None:
        meant = [cookie for cookie, session in self.sessions.items() if self.is_meant(claims, session)]
        for cookie in meant[:1]:
            del self.sessions[cookie]

    def bclogout(self) -> Response:
        return no_content(super().bclogout())


class Revives(CarefulReceiver):
    """Notes the logout for the next request with the session's cookie, and forgets the note then."""

    def __init__(self, *settings: str) -> None:
        super().__init__(*settings)
        self.notes: set[str] = set()

    def end(self, claims: dict[str, Any]) -> None:
        self.notes |= {cookie for cookie, session in self.sessions.items() if self.is_meant(claims, session)}

    def page(self) -> ResponseReturnValue:
        cookie = request.cookies.get("session", "")
        if cookie in self.notes:
            self.notes.remove(cookie)
            return "who are you?", 401
        return super().page()


class OneNote(CarefulReceiver):
    """Keeps one note for each user, and looks at it when one of their sessions is used."""

    def __init__(self, *settings: str) -> None:
        super().__init__(*settings)
        self.notes: dict[str, dict[str, Any]] = {}

    def end(self, claims: dict[str, Any]) -> None:
        for session in self.sessions.values():
            if self.is_meant(claims, session):
                self.notes[session["sub"]] = claims

    def page(self) -> ResponseReturnValue:
        cookie = request.cookies.get("session", "")
        if session := self.sessions.get(cookie):
            note = self.notes.pop(session["sub"], None)
            if note and self.is_meant(note, session):
                del self.sessions[cookie]
        return super().page()


class TenNotes(CarefulReceiver):
    """Keeps at most ten logouts until their sessions are used, and forgets all of them when there are more."""

    def __init__(self, *settings: str) -> None:
        super().__init__(*settings)
        self.notes: set[str] = set()

    def end(self, claims: dict[str, Any]) -> None:
        if len(self.notes) == 10:
            self.notes.clear()
        self.notes |= {cookie for cookie, session in self.sessions.items() if self.is_meant(claims, session)}

    def page(self) -> ResponseReturnValue:
        cookie = request.cookies.get("session", "")
        if cookie in self.notes:
            self.notes.remove(cookie)
            del self.sessions[cookie]
        return super().page()


class TimesIfPresent(CarefulReceiver):
    """Checks iat and exp, and requires neither, which is the default of many JWT libraries."""

    def check(self, claims: dict[str, Any]) -> None:
        now = time.time()
        super().check({"iat": now, "exp": now + LEEWAY, **claims})


class Rigid(CarefulReceiver):
    """Knows one form of the request, of the token and of the key set, and rejects every other."""

    def token(self) -> str:
        if request.headers.get("Content-Type") != FORM or set(request.form) != {"logout_token"}:
            raise Refused
        return super().token()

    def verified(self, token: str) -> dict[str, Any]:
        if set(jwt.get_unverified_header(token)) != {"alg", "kid"}:
            raise Refused
        return super().verified(token)

    def fetch_keys(self) -> None:
        self.keys = {jwk["kid"]: jwt.PyJWK(jwk) for jwk in self.http.get(f"{self.issuer}/jwks").json()["keys"]}

    def check(self, claims: dict[str, Any]) -> None:
        super().check(claims)
        if len(claims["events"]) != 1 or "sub" not in claims:
            raise Refused

    def end(self, claims: dict[str, Any]) -> None:
        if not any(self.is_meant(claims, session) for session in self.sessions.values()):
            raise Refused
        super().end(claims)


class OnlyTyped(CarefulReceiver):
    """Rejects tokens without ``typ: logout+jwt``, which most providers do not send."""

    def verified(self, token: str) -> dict[str, Any]:
        if jwt.get_unverified_header(token).get("typ") != "logout+jwt":
            raise Refused
        return super().verified(token)


class FirstCounts(CarefulReceiver):
    """Of two members with the same name it uses the first."""

    def read(self, payload: str) -> dict[str, Any]:
        return dict(json.loads(payload, object_pairs_hook=lambda pairs: dict(reversed(pairs))))


class OneAtATime(CarefulReceiver):
    """Reads one body after the other."""

    def token(self) -> str:
        with self.lock:
            return super().token()


class Dawdles(CarefulReceiver):
    """Answers late."""

    SECONDS = 0.4

    def bclogout(self) -> Response:
        time.sleep(self.SECONDS)
        return super().bclogout()


class BehindLogin(CarefulReceiver):
    """Asks the provider to sign in, as an application does that protects all its pages with one rule."""

    def bclogout(self) -> Response:
        return Response(status=302, headers={"Location": "/login?next=/bclogout"})


class EndsTheCookie(CarefulReceiver):
    """Ends the session whose cookie comes along, as one does when a person clicks."""

    def end(self, claims: dict[str, Any]) -> None:
        super().end(claims)
        self.sessions.pop(request.cookies.get("session", ""), None)


class Echoes(CarefulReceiver):
    """Says what it was sent, as text, and lets that be cached."""

    def refusal(self, error: Exception) -> Response:  # noqa: ARG002 # the others look at it
        return Response(b"cannot read " + request.get_data()[:5000], 400)

    def bclogout(self) -> Response:
        answer = super().bclogout()
        answer.headers["Cache-Control"] = "max-age=60"
        return answer


class Crashes(CarefulReceiver):
    """Shows what went wrong in its inside."""

    def refusal(self, error: Exception) -> Response:
        is_ours = isinstance(error, Refused)
        return super().refusal(error) if is_ours else Response(traceback.format_exc(), 500, mimetype="text/plain")


class TrustsTheKeySet(Crashes):
    """Crashes when the key set has a key that it does not know."""

    def fetch_keys(self) -> None:
        self.keys = {jwk["kid"]: jwt.PyJWK(jwk) for jwk in self.http.get(f"{self.issuer}/jwks").json()["keys"]}


def no_content(answer: Response) -> Response:
    """204 in place of 200, as some frameworks do for an empty body."""
    if answer.status_code == 200:
        answer.status_code = 204
    return answer


class NoContent(CarefulReceiver):
    """Answers 204."""

    def bclogout(self) -> Response:
        return no_content(super().bclogout())


class LooksAtTheTypeFirst(CarefulReceiver):
    """Answers 415 to what is not a form in UTF-8."""

    def bclogout(self) -> Response:
        if request.mimetype != FORM or request.mimetype_params.get("charset", "utf-8").lower() != "utf-8":
            return Response(status=415)
        return super().bclogout()


class ReadsMultipart(CarefulReceiver):
    """Takes the token from each kind of form that its framework reads, and does not look at ``typ``."""

    def token(self) -> str:
        tokens = request.form.getlist("logout_token")
        if "logout_token" in request.args or len(tokens) != 1:
            raise Refused
        return tokens[0]

    def verified(self, token: str) -> dict[str, Any]:
        key = self.key(jwt.get_unverified_header(token).get("kid"))
        claims = self.read(jwt.PyJWS().decode(token, key, algorithms=list(self.ALGORITHMS)).decode())
        self.check(claims)
        return claims


class CoolsDown(CarefulReceiver):
    """Waits between two key fetches, as key libraries do."""

    SECONDS: float = 0.5
    fetched_at = -math.inf

    def fetch_keys(self) -> None:
        if time.monotonic() < self.fetched_at + self.SECONDS:
            raise Refused
        super().fetch_keys()
        self.fetched_at = time.monotonic()


class FetchesOnce(CoolsDown):
    """Keeps the keys for a day."""

    SECONDS = 86_400


class Elliptic(CarefulReceiver):
    """Registered for ES256."""

    ALGORITHMS = ("ES256",)
    KEY_TYPES: ClassVar = {"EC"}


class Edwards(CarefulReceiver):
    """Registered for EdDSA."""

    ALGORITHMS = ("EdDSA",)
    KEY_TYPES: ClassVar = {"OKP"}


class AnsweredByForm(CarefulReceiver):
    """Gets its code in a form that the browser posts."""

    PARAMETERS: ClassVar = {"response_mode": "form_post"}

    def app(self) -> Flask:
        app = super().app()
        app.add_url_rule("/callback", "posted", self.callback, methods=["POST"])
        return app

    def callback(self) -> ResponseReturnValue:
        if request.method == "GET":
            return "a form was asked for", 400
        return super().callback()
