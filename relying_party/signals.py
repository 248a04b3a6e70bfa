"""Signals an application may listen to; see Flask's documentation on signals.

``protocol_event`` fires at every step: ``name``, ``sid``, ``jti``, ``outcome`` and a few details, never
a token. ``session_ended`` fires after sessions ended over the back channel: ``token``, ``count``.
"""

from blinker import Namespace

_signals = Namespace()
protocol_event = _signals.signal("relying-party.protocol-event")
session_ended = _signals.signal("relying-party.session-ended")
