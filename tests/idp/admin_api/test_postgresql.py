"""The admin API with PostgreSQL, which rejects some values that a URL can contain."""

import pytest

from tests.idp.admin_api.conftest import ACCOUNT, SESSIONS, Program, add_program, problem
from tests.idp.conftest import Provider


@pytest.fixture
def on_postgres(provider_on_postgres: Provider) -> Program:
    """A service client of an IdP with a PostgreSQL database."""
    program = add_program(provider_on_postgres)
    program.provider.sign_in()
    program.take_token()
    return program


def test_nul_in_a_name_finds_nothing(on_postgres: Program) -> None:
    """In the path: 404. In the query: no results."""
    for path in ["/clients/%00", "/deliveries/%00", f"{SESSIONS}/%00", ACCOUNT[:-12] + "%00"]:
        problem(on_postgres.get(path), 404, "notFound")
    for query in ["sessionId", "clientId", "accountId", "outcome"]:
        assert on_postgres.get(f"/deliveries?{query}=%00").get_json() == []
    for path in ["/identityStores/people/accounts", "/clients"]:
        assert on_postgres.get(f"{path}?search=%00").get_json() == []


def test_sessions_and_pages_work_with_postgresql(on_postgres: Program) -> None:
    """Listing, ending, and the remaining sessions."""
    listed = on_postgres.get(SESSIONS)
    assert listed.headers["X-Total-Count"] == "1"
    path = f"{SESSIONS}/{listed.get_json()[0]['id']}"
    assert [on_postgres.delete(path).status_code for _ in range(2)] == [204, 404]
    assert on_postgres.get(f"{SESSIONS}?page=1000000&size=200").get_json() == []
