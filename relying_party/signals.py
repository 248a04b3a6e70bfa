"""Signals for the app; see "Signals" in Flask's documentation.

``protocol_event`` is sent at each step, with ``name``, ``sid``, ``jti``, ``outcome`` and a few details, never a token.

``session_ended`` is sent once for each session that a back-channel logout, "Log out" or a new sign-in ended, with
``ended`` (an :class:`EndedSession`) and ``reason``. Use it for the app's own clean-up. It is not sent for a session
that expires.
"""

from dataclasses import dataclass

from blinker import Namespace


@dataclass(frozen=True)
class EndedSession:
    """A session that has ended. ``key`` is what :func:`relying_party.session_key` returned while it was active."""

    key: str
    iss: str
    sub: str
    sid: str | None


_signals = Namespace()
protocol_event = _signals.signal("relying-party.protocol-event")
session_ended = _signals.signal("relying-party.session-ended")
