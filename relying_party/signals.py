"""Signals for the app; see "Signals" in Flask's documentation.

``protocol_event`` is sent at each step, with ``name``, ``sid``, ``jti``, ``outcome`` and a few details, never a token.

``session_ended`` is sent once for each session that a back-channel logout, "Log out" or a new sign-in ended, with
``ended`` (an :class:`EndedSession`) and ``reason``. Use it for the app's own clean-up. It is not sent for a session
that expires.

``request_sending`` is sent before each request to the provider or an API, with ``request``. A receiver may add headers,
such as ``traceparent``. ``request_sent`` is sent after it, with ``response`` or ``error``. The response's body has not
been read at that time. All of these are objects of the library requests and hold secrets.
"""

from dataclasses import dataclass
from typing import Any

from blinker import NamedSignal, Namespace
from flask import Flask, current_app


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
request_sending = _signals.signal("relying-party.request-sending")
request_sent = _signals.signal("relying-party.request-sent")


def send_signal(signal: NamedSignal, **values: Any) -> None:
    """Call each receiver. An error in one must not undo a logout, nor keep the others from being called."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined] # a signal's sender must not be a proxy
    for receiver in signal.receivers_for(app):
        try:
            receiver(app, **values)
        except Exception:
            app.logger.exception("A receiver of %s failed.", signal.name)
