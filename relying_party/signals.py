"""Signals an application may listen to; see Flask's documentation on signals.

``protocol_event`` fires at every step: ``name``, ``sid``, ``jti``, ``outcome`` and a few details, never
a token. ``session_ended`` fires once for each session that somebody ended, over the back channel, here or by
signing in anew: ``ended`` (an :class:`EndedSession`) and ``reason``. It is the place for an application's own
clean-up. A session that merely expires ends by the clock, when nobody is there to tell.
"""

from dataclasses import dataclass

from blinker import Namespace


@dataclass(frozen=True)
class EndedSession:
    """A session that is over. ``key`` is what :func:`relying_party.session_key` returned while it lived."""

    key: str
    iss: str
    sub: str
    sid: str | None


_signals = Namespace()
protocol_event = _signals.signal("relying-party.protocol-event")
session_ended = _signals.signal("relying-party.session-ended")
