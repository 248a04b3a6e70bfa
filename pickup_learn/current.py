"""What the views ask: the record, the collector and the seats of the application that answers."""

from flask import current_app

from pickup_learn.collector import Collector
from pickup_learn.record import Record
from pickup_learn.seats import Seats


def current_record() -> Record:
    record: Record = current_app.extensions["record"]
    return record


def current_collector() -> Collector:
    collector: Collector = current_app.extensions["collector"]
    return collector


def current_seats() -> Seats:
    seats: Seats = current_app.extensions["seats"]
    return seats
