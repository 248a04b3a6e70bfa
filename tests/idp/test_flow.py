"""The cost of a sign-in flow in statements and commits, so that an increase is noticed."""

from pathlib import Path

import pytest
from sqlalchemy import event

from bench import provider as bench
from pickup_web.database import engine_of
from tests.conftest import SiteClient
from tests.idp.conftest import Provider


def test_single_sign_on_takes_ten_statements_and_two_commits(provider: Provider, cameron: SiteClient) -> None:
    """They take more than half of a flow's time."""
    provider.tokens(cameron)  # loads the keys
    sent: list[str] = []

    def note(sql: str) -> None:
        if (word := sql.split()[0]) not in ("BEGIN", "PRAGMA"):
            sent.append(word)

    event.listen(engine_of(provider.app), "checkout", lambda driver, *_: driver.set_trace_callback(note))
    code = provider.code(cameron)
    assert sent == ["SELECT", "SELECT", "INSERT", "INSERT", "COMMIT"]
    sent.clear()
    assert provider.redeem(code).status_code == 200
    assert sorted(sent) == ["COMMIT", "INSERT", "INSERT", "INSERT", "SELECT", "UPDATE", "UPDATE"]


def test_bench_signs_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``python -m bench`` keeps working. Its figures are informative only."""
    figures = list(bench.flow(tmp_path, 1))
    assert [figure.value.split()[2:] for figure in figures[:2]] == [["4", "statements"], ["6", "statements"]]
    assert capsys.readouterr().out == ""
    flow = bench.Flow(tmp_path)
    flow.sign_in()
    assert '"id_token"' in flow.redeem(flow.code())
