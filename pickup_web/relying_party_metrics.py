"""An app's Prometheus metrics (docs/watching.md), from the extension's signal ``protocol_event``."""

from typing import Any

from flask import Flask, Response, request, request_finished

from pickup_web import metrics
from relying_party import protocol_event

SIGN_INS = {"rp.session.created": "succeeded", "rp.login.failed": "failed"}
ENDINGS = {  # all but the first say in their outcome how many sessions ended: a logout token may find none
    "rp.session.ended": "user",
    "rp.logout_token.accepted": "logout_token",
    "rp.frontchannel_logout.accepted": "frontchannel",
}
LOGOUT_TOKENS = {"rp.logout_token.accepted": "accepted", "rp.logout_token.rejected": "rejected"}


class EventCounter:
    """Counts events and open tabs."""

    def __init__(self, shown: metrics.Metrics) -> None:
        self._sign_ins = shown.counter(
            "pickup_app_sign_ins_total", "Users who came back from the IdP, by result.", "result", SIGN_INS.values()
        )
        self._ended = shown.counter(
            "pickup_app_sessions_ended_total", "Sessions ended, by what ended them.", "by", ENDINGS.values()
        )
        self._tokens = shown.counter(
            "pickup_app_logout_tokens_total", "Logout requests received, by result.", "result", LOGOUT_TOKENS.values()
        )
        self._tabs = shown.gauge("pickup_app_open_tabs", "Event streams of open tabs. The tabs of a browser share one.")

    def protocol_event(self, _app: Flask, *, name: str, outcome: str | None, **_: Any) -> None:
        """Receiver for the extension's signal."""
        if name in SIGN_INS:
            self._sign_ins.labels(SIGN_INS[name]).inc()
        if name in LOGOUT_TOKENS:
            self._tokens.labels(LOGOUT_TOKENS[name]).inc()
        if name in ENDINGS:
            number = 1 if ENDINGS[name] == "user" else int((outcome or "").partition(" ")[0])
            self._ended.labels(ENDINGS[name]).inc(number)

    def request_finished(self, _app: Flask, *, response: Response, **_: Any) -> None:
        """Receiver for Flask's signal: count a stream while it is open."""
        if request.endpoint == "relying_party.live" and response.is_streamed:
            self._tabs.inc()
            response.call_on_close(self._tabs.dec)


def init_app(app: Flask) -> None:
    """Count from now on."""
    counter = EventCounter(metrics.init_app(app))
    protocol_event.connect(counter.protocol_event, app, weak=False)
    request_finished.connect(counter.request_finished, app, weak=False)
