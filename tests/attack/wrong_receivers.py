"""Receivers that are careful but for one thing; and some that are right, in another way."""

import threading
import traceback
from typing import Any, ClassVar

import jwt
from flask import Flask, Response, request
from flask.typing import ResponseReturnValue

from tests.attack.careful_receiver import CarefulReceiver, Refused


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
        del answer.headers["Cache-Control"]
        return answer


class Crashes(CarefulReceiver):
    """Shows what went wrong in its inside."""

    def refusal(self, error: Exception) -> Response:
        is_ours = isinstance(error, Refused)
        return super().refusal(error) if is_ours else Response(traceback.format_exc(), 500, mimetype="text/plain")


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
