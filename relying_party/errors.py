"""What can go wrong, as one family.

``error`` is the word that goes on the wire (RFC 6749 §5.2), ``str(exception)`` a sentence for the
developer on the other side. ``evidence`` is for our own log and never leaves it.
"""


class RelyingPartyError(Exception):
    """Base of the family."""

    error = "invalid_request"

    def __init__(self, description: str, evidence: object = None) -> None:
        super().__init__(description)
        self.evidence = evidence


class InvalidToken(RelyingPartyError):
    """An ID token or a logout token did not pass one of its checks."""


class UnknownKey(InvalidToken):
    """No known key of the issuer fits the token: worth one look at the issuer's current keys."""


class ReplayedToken(InvalidToken):
    """This logout token was carried out before."""


class ProviderError(RelyingPartyError):
    """The OpenID Provider did not answer, or not as the specification says."""


class GrantRefused(ProviderError):
    """A code or token that the provider issued is good no more: it has expired, was used or was revoked."""


class LoginFailed(RelyingPartyError):
    """The login ended without a session."""


class TokenUnavailable(RelyingPartyError):
    """There is no access token for this session (any more)."""

    error = "invalid_token"
