"""Each worker's background thread: ends expired sessions, sends due deliveries, deletes rows no longer needed."""

import threading
import time

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from idp.background.clean_up import clean_up, unfinished_removals
from idp.flow.delivery import spread
from idp.flow.session_ending import end_participations, expired_sessions, mark_ended, queue_deliveries
from idp.models import SsoSession
from idp.outbox.ledger import claim_due
from idp.outbox.reasons import Reason
from idp.outbox.sender import IN_HAND, Outbox
from pickup_web import events

POLL_SECONDS = 1.0  # how often a worker looks for due deliveries
MAINTENANCE_SECONDS = 60  # how often it cleans up
BUSY_POLL_SECONDS = 0.1  # pause while more is due than a worker can send at a time

LOG = structlog.get_logger()


class Background:
    """One thread per worker process. The workers share the tables and divide the due deliveries among themselves."""

    def __init__(self, engine: Engine, outbox: Outbox, policy: str) -> None:
        self._engine, self.outbox, self._policy = engine, outbox, policy

    def start(self) -> None:
        """Called in each worker after gunicorn's fork."""
        threading.Thread(target=self._run_forever, name="background", daemon=True).start()

    def _run_forever(self) -> None:
        next_maintenance = 0.0
        while True:
            time.sleep(spread(POLL_SECONDS))
            try:
                while self.poll():
                    time.sleep(BUSY_POLL_SECONDS)
                if next_maintenance <= time.monotonic():
                    next_maintenance = time.monotonic() + spread(MAINTENANCE_SECONDS)
                    self.run_maintenance()
            except OperationalError as error:  # the database is unavailable, such as PostgreSQL while it restarts
                LOG.error("op.outbox.failed", reason=str(error.orig))  # noqa: TRY400 # no traceback each second
            except Exception:  # the thread must continue: the next round may succeed
                LOG.exception("op.outbox.failed")

    def poll(self) -> bool:
        """End expired sessions, send due deliveries, delete old events. Returns whether more may be due."""
        room, full_hosts = self.outbox.room()
        with Session(self._engine) as db:
            for reason, sids in expired_sessions(db, IN_HAND).items():
                ended = mark_ended(db, SsoSession.sid.in_(sids), reason, self._policy)
                self.outbox.send_later(queue_deliveries(db, ended, reason, self._policy))
            due = claim_due(db, room, full_hosts) if room > 0 else []
            events.prune(db)
            db.commit()
        self.outbox.send_later(due)
        return room > 0 and len(due) == room

    def run_maintenance(self) -> None:
        """End the remaining participations of removed clients, and delete rows that are no longer needed."""
        with Session(self._engine) as db:
            for client in unfinished_removals(db):
                self.outbox.send_later(end_participations(db, client, Reason.CLIENT_REMOVED, self._policy))
            clean_up(db)
