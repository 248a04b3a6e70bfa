"""Receivers that are careful but for one thing."""

from typing import Any

import jwt
from flask import request

from tests.attack.careful_receiver import CarefulReceiver


class AnyAlgorithm(CarefulReceiver):
    """Believes the list in the provider's metadata, instead of what the client registered."""

    ALGORITHMS = ("RS256", "RS512", "PS256", "ES256")  # type: ignore[assignment] # that is the point

    def key_types(self) -> set[str]:
        return {"RSA", "EC"}


class EarlyMark(CarefulReceiver):
    """Writes down the jti before it has looked at the rest."""

    def check(self, claims: dict[str, Any]) -> None:
        with self.lock:
            if claims["jti"] in self.seen:
                raise ValueError
            self.seen.add(claims["jti"])
        super().check(claims)

    def carry_out(self, claims: dict[str, Any]) -> None:
        self.seen.discard(claims["jti"])
        super().carry_out(claims)


class AsksEachTime(CarefulReceiver):
    """Fetches the keys for each token, as often as somebody sends one."""

    def key(self, kid: str | None) -> jwt.PyJWK:
        self.fetches_left = 2
        self.fetch_keys()
        return super().key(kid)


class EndsThePerson(CarefulReceiver):
    """Ends all sessions of the person, whichever was meant."""

    def is_meant(self, claims: dict[str, Any], session: dict[str, Any]) -> bool:
        meant = {other["sub"] for other in self.sessions.values() if super(EndsThePerson, self).is_meant(claims, other)}
        return session["sub"] in meant


class FollowsJku(CarefulReceiver):
    """Takes the key from where the token says it is."""

    def key(self, kid: str | None) -> jwt.PyJWK:
        header = jwt.get_unverified_header(request.form["logout_token"])
        if "jku" in header:
            return jwt.PyJWK(self.http.get(header["jku"]).json()["keys"][0])
        return super().key(kid)


class Echoes(CarefulReceiver):
    """Says what it was sent, and lets it be cached."""

    def bclogout(self) -> Any:
        response = super().bclogout()
        if response.status_code == 400:
            response.headers.pop("Cache-Control")
            response.data = b"cannot read " + request.get_data()[:5000]
        return response
