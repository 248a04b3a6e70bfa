"""An authorization request that waits while a person signs in or consents.

It travels through the page, signed, together with the time it came in: so two tabs never mix up their
requests, nothing is stored for people who walk away, and nobody can change what was asked.
"""

from dataclasses import dataclass

from flask import url_for
from itsdangerous import BadSignature, URLSafeTimedSerializer
from werkzeug.datastructures import MultiDict

from idp.state import current_state

PENDING_SECONDS = 3600  # how long the login page may stay open


@dataclass(frozen=True)
class Pending:
    """The request's parameters, and when it came in (seconds since the epoch)."""

    parameters: MultiDict[str, str]
    asked_at: int
    person: str | None = None  # whom the consent page asked
    denied: bool = False  # and whether they said no

    def signed(self) -> str:
        """As a hidden field of a form."""
        parameters = list(self.parameters.items(multi=True))
        answer = {"person": self.person, "denied": self.denied} if self.person else {}
        return _signer().dumps({"at": self.asked_at, "parameters": parameters, **answer})

    @classmethod
    def read(cls, signed: str) -> "Pending | None":
        """What came back; None if it is not ours or too old."""
        try:
            content = _signer().loads(signed, max_age=PENDING_SECONDS)
        except BadSignature:
            return None
        parameters = MultiDict([(name, value) for name, value in content["parameters"]])
        return cls(parameters, content["at"], content.get("person"), content.get("denied", False))

    def resume_url(self) -> str:
        """Where the request goes on."""
        return url_for("authorize", resume=self.signed())


def _signer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(current_state().settings.secret_key.get_secret_value(), salt="authorization-request")
