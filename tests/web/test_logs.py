"""The log: one JSON line per event, with the location of an error, and without secrets."""

import json

import pytest
import structlog

from pickup_web import logs


def test_error_is_logged_without_local_variables(capsys: pytest.CaptureFixture[str]) -> None:
    """Local variables hold the database's password, keys and tokens. The log has the traceback only."""

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
