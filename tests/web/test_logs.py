"""The log: one JSON line an event, with the evidence of a fault, and without what nobody may read there."""

import json

import pytest
import structlog

from pickup_web import logs


def test_a_fault_is_logged_without_the_values_it_happened_with(capsys: pytest.CaptureFixture[str]) -> None:
    """Among them are the database's password, keys and tokens. Where it happened is there."""

    def connect(password: str) -> None:
        raise RuntimeError(f"no connection, after {len(password)} letters")

    before = structlog.get_config()
    logs.init("idp")
    try:
        connect("correct horse")
    except RuntimeError:
        structlog.get_logger().exception("op.outbox.failed")
    finally:
        structlog.configure(**before)
    written = capsys.readouterr().out
    (fault,) = json.loads(written)["exception"]
    assert (fault["exc_type"], fault["exc_value"]) == ("RuntimeError", "no connection, after 13 letters")
    assert fault["frames"][-1]["name"] == "connect"
    assert "correct horse" not in written
