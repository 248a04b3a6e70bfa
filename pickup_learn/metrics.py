"""Pickup Learn's Prometheus metrics (docs/watching.md): what the collector has read, and who is looking."""

import time
from collections.abc import Iterator

from flask import Flask
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Engine, func, select

from pickup_learn import collector
from pickup_learn.practice.models import PracticeSession
from pickup_learn.stream import PLACES
from pickup_web import metrics
from pickup_web.database import engine_of


class Figures(Collector):
    """Asks the one collector and the database for each answer. Learn has one process, so nothing is added up."""

    def __init__(self, read: collector.Collector, engine: Engine) -> None:
        self._read, self._engine = read, engine

    def collect(self) -> Iterator[Metric]:
        """The collector's sources, the open streams, and Practice."""
        yield from self._sources()
        yield gauge("pickup_learn_open_streams", "Event streams of open pages.", self._read.streams)
        yield gauge("pickup_learn_stream_places", "Event streams that can be open at once.", PLACES)
        query = select(func.count()).select_from(PracticeSession).where(PracticeSession.ended_at.is_(None))
        with self._engine.connect() as connection:
            signed_in = connection.execute(query).scalar_one()
        yield gauge("pickup_learn_practice_sessions", "Browsers that are signed in to Practice.", signed_in)

    def _sources(self) -> Iterator[Metric]:
        rows = CounterMetricFamily(
            "pickup_learn_collected",
            "Rows read from the services' records, by service and kind. A message between two services has two rows.",
            labels=["source", "kind"],
        )
        up = GaugeMetricFamily("pickup_learn_source_up", "1 if the service answered last time.", labels=["source"])
        age = GaugeMetricFamily(
            "pickup_learn_source_age_seconds",
            "Time since all that the service had recorded was read.",
            labels=["source"],
        )
        for source in self._read.sources:
            for kind, number in source.collected.items():
                rows.add_metric([source.name, kind], number)
            up.add_metric([source.name], source.is_up)
            age.add_metric([source.name], time.monotonic() - source.read_at)
        yield from (rows, up, age)

    def describe(self) -> list[Metric]:
        """Registering must not ask the database."""
        return []


def gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    """A gauge with one value."""
    return GaugeMetricFamily(name, text, value=value)


def init_app(app: Flask) -> None:
    """Count from now on. Without the demo switch there is no collector, and nothing to show."""
    shown = metrics.init_app(app)
    if "collector" in app.extensions:
        shown.registry.register(Figures(app.extensions["collector"], engine_of(app)))
