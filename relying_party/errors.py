"""The exceptions of this package.

``error`` is the error code in the response (RFC 6749 §5.2). ``str(exception)`` is a sentence in the response: after a
logout token for the developer of the identity provider, after a failed sign-in for the user. ``evidence`` is for our
own log only.
"""


class RelyingPartyError(Exception):
    """Base class."""

    error = "invalid_request"

    def __init__(self, description: str, evidence: object = None) -> None:
        super().__init__(description)
        self.evidence = evidence


class InvalidToken(RelyingPartyError):
    """An ID token or a logout token did not pass one of its checks."""


class UnknownKey(InvalidToken):
    """No known key of the issuer fits the token. Fetching the issuer's current keys may help."""


class ReplayedToken(InvalidToken):
    """This logout token was applied before."""


class ProviderError(RelyingPartyError):
    """The identity provider (IdP) did not answer, or its answer does not follow the specification."""


class GrantRefused(ProviderError):
    """A code or token of the IdP is no longer valid: it has expired, was used or was revoked."""


class LoginFailed(RelyingPartyError):
    """Signing in did not lead to a session."""


class TokenUnavailable(RelyingPartyError):
    """The session has no valid access token."""

    error = "invalid_token"
