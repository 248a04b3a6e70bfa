"""What the views ask: the record and the collector of the application that answers."""

from flask import current_app

from pickup_learn.collector import Collector
from pickup_learn.record import Record


def current_record() -> Record:
    record: Record = current_app.extensions["record"]
    return record


def current_collector() -> Collector:
    collector: Collector = current_app.extensions["collector"]
    return collector
