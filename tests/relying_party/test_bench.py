"""``python -m bench`` keeps working. Its figures are informative only."""

from pathlib import Path

import pytest

from bench import relying_party as bench
from bench.relying_party import Figure
from tests.postgres import Postgres

MOMENT = 0.002  # seconds


@pytest.fixture(autouse=True)
def real_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """One repetition is enough here."""
    monkeypatch.setattr(bench, "per_second", lambda act, _seconds: (act(), 1000.0)[1])


def test_valid_tokens_pass_and_forged_tokens_fail() -> None:
    """The measured requests behave as their labels say."""
    assert bench.check(bench.logout_token(jti="j"))
    assert bench.check(bench.logout_token(bench.OTHER_KEY, jti="j")) is None
    assert next(bench.tokens(MOMENT)).name.startswith("bare RSA")


def test_requests_reach_the_route(tmp_path: Path) -> None:
    """200 for valid tokens, 400 for forged ones."""
    app = bench.make_app(tmp_path)
    assert bench.post(app, "/bare").startswith("200")
    assert bench.post(app, "/bclogout", logout_token=bench.logout_token(jti="j")).startswith("200")
    assert bench.post(app, "/bclogout", logout_token=bench.logout_token(bench.OTHER_KEY, jti="k")).startswith("400")


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_sessions_are_stored_and_ended(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """On both databases, with growing tables."""
    url = ""
    if kind == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        url = server.new_database().render_as_string(hide_password=False)
    figures = list(bench.sessions(url, tmp_path, [10, 50], 2))
    assert [figure.name.split()[0] for figure in figures] == ["10", "50"]
    assert all(isinstance(figure, Figure) and "look up" in figure.value for figure in figures)
