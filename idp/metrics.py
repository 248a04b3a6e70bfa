"""The IdP's Prometheus metrics (docs/watching.md): what happened, from the log; what is waiting, from the database."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from flask import Flask
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import Engine, case, func, select

from idp.models import Delivery
from idp.outbox.reasons import Reason
from pickup_web import logs, metrics
from pickup_web.clock import now
from pickup_web.database import engine_of

SIGN_INS = {
    "op.session.created": "succeeded",
    "op.session.reauthenticated": "succeeded",
    "op.login.failed": "failed",
    "op.login.throttled": "throttled",
}
DELIVERIES = {
    f"op.logout.{outcome}": outcome for outcome in ("delivered", "refused", "retrying", "given_up", "not_sent")
}
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600, 36000)
MAX_WAITING = 100_000  # deliveries whose exact start a worker remembers


class LineCounter:
    """Counts lines of the log. A line is written after its transaction, so only what happened is counted."""

    def __init__(self, shown: metrics.Metrics) -> None:
        self._sign_ins = shown.counter(
            "pickup_idp_sign_ins_total", "Passwords entered, by result.", "result", sorted(set(SIGN_INS.values()))
        )
        self._ended = shown.counter(
            "pickup_idp_sessions_ended_total", "Sessions ended, by reason.", "reason", ended_reasons()
        )
        self._deliveries = shown.counter(
            "pickup_idp_logout_deliveries_total",
            "Attempts to notify an app of a logout, by outcome. Each retry counts.",
            "outcome",
            DELIVERIES.values(),
        )
        self._delay = shown.histogram(
            "pickup_idp_logout_delivery_seconds",
            "Time from the end of a session until the IdP has recorded that the app accepted the logout token.",
            SECONDS,
        )
        self._queued_at: dict[tuple[str, str], float] = {}

    def count(self, line: Mapping[str, Any]) -> None:
        """Receiver for :func:`pickup_web.logs.on_each_line`."""
        name = line["event"]
        if name in SIGN_INS:
            self._sign_ins.labels(SIGN_INS[name]).inc()
        elif name == "op.session.ended":
            self._ended.labels(line["outcome"]).inc()
        elif name == "op.logout.queued":
            self._remember((line["sid"], line["client_id"]))
        elif name in DELIVERIES:
            self._deliveries.labels(DELIVERIES[name]).inc()
            self._observe(line)

    def _remember(self, delivery: tuple[str, str]) -> None:
        if len(self._queued_at) >= MAX_WAITING:  # other workers have sent these
            self._queued_at.clear()
        self._queued_at[delivery] = time.monotonic()

    def _observe(self, line: Mapping[str, Any]) -> None:
        """The ledger has whole seconds. A worker that also queued the delivery knows the time exactly."""
        if line["event"] == "op.logout.retrying":
            return
        queued_at = self._queued_at.pop((line["sid"], line["client_id"]), None)
        if line["event"] == "op.logout.delivered":
            self._delay.observe(line["waited"] if queued_at is None else time.monotonic() - queued_at)


def ended_reasons() -> list[str]:
    """Why a session ends. A removed client ends only its own part in a session."""
    return [str(reason) for reason in Reason if reason is not Reason.CLIENT_REMOVED]


class Ledger(Collector):
    """Asks the database for each answer. So the values survive a restart, and each replica shows the same."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """What is pending in the outbox."""
        claimed = func.sum(case((Delivery.taken_until > now(), 1), else_=0))
        query = select(func.count(), claimed, func.min(Delivery.created_at)).where(Delivery.state == "pending")
        with self._engine.connect() as connection:
            pending, in_hand, oldest = connection.execute(query).one()
        yield gauge("pickup_idp_logouts_pending", "Logout notifications that are not delivered yet.", pending)
        yield gauge("pickup_idp_logouts_in_hand", "Those of them that a worker is sending now.", in_hand or 0)
        age = max(0, now() - oldest) if oldest is not None else 0
        yield gauge("pickup_idp_oldest_pending_logout_seconds", "Age of the oldest of them, or 0 if none is.", age)

    def describe(self) -> list[GaugeMetricFamily]:
        """Registering must not ask the database."""
        return []


def gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    """A gauge with one value."""
    return GaugeMetricFamily(name, text, value=value)


def init_app(app: Flask) -> None:
    """Count from now on."""
    shown = metrics.init_app(app)
    shown.registry.register(Ledger(engine_of(app)))
    logs.on_each_line(LineCounter(shown).count)
