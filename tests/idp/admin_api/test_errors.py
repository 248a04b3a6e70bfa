"""All errors have the same format, and say how to correct the request."""

from typing import Any

import pytest
from sqlalchemy import Connection

from pickup_web.database import engine_of
from tests.idp.admin_api.conftest import ACCOUNT, PREFIX, SESSIONS, Program, problem
from tests.idp.conftest import Provider
from tests.statements import at_statement


@pytest.mark.parametrize(
    ("path", "entity"),
    [
        ("/identityStores/other/accounts", "identityStore"),
        (f"/identityStores/other/accounts/{ACCOUNT[-12:]}/sessions", "identityStore"),
        ("/identityStores/people/accounts/nobody", "account"),
        ("/identityStores/people/accounts/nobody/sessions", "account"),
        ("/identityStores/people/accounts/nobody/sessions/x", "account"),
        (f"{SESSIONS}/x", "session"),
        ("/clients/x", "client"),
        ("/deliveries/x", "delivery"),
        ("/clients/%00", "client"),
        ("/deliveries/%00", "delivery"),
        (f"{SESSIONS}/%00", "session"),
        ("/identityStores/people/accounts/%00", "account"),
    ],
)
def test_missing_object_is_named(path: str, entity: str, program: Program) -> None:
    """404: names the missing object of the path."""
    assert problem(program.get(path), 404, "notFound")["entityName"] == entity


def test_error_repeats_the_request(program: Program) -> None:
    """All members of the body."""
    assert problem(program.get("/clients/unknown"), 404, "notFound") == {
        "title": "Not Found",
        "status": 404,
        "detail": "No application of this id is registered.",
        "path": f"{PREFIX}/clients/unknown",
        "message": "error.notFound",
        "errorKey": "notFound",
        "entityName": "client",
        "params": {"clientId": "unknown"},
        "fieldErrors": [],
    }


@pytest.mark.parametrize("path", ["/", "/nothing", "/clients/", "/clients//x", "/clients/a/b", "/identityStores"])
def test_unknown_path_has_the_same_error_format(path: str, program: Program) -> None:
    """No HTML page, no redirect; with or without a token."""
    problem(program.get(path), 404, "notFound")
    problem(Program(program.provider).get(path), 404, "notFound")


def test_unknown_version_has_the_same_error_format(provider: Provider) -> None:
    """A client written for a later version gets the error in the format it expects."""
    problem(provider.browser().get("/admin/api/v2/clients"), 404, "notFound")


def test_control_other_paths_return_a_page(provider: Provider) -> None:
    """Only the API uses this format."""
    assert provider.browser().get("/administration").mimetype == "text/html"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_unsupported_method_is_rejected(method: str, program: Program) -> None:
    """RFC 9110 §15.5.6: 405, with the allowed methods; no CSRF token is required."""
    answer = program.call(method, "/deliveries")
    problem(answer, 405, "methodNotAllowed")
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD"}


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("media_type", ["application/json", "application/x-www-form-urlencoded", "text/plain"])
def test_body_is_rejected(method: str, media_type: str, program: Program) -> None:
    """RFC 9110 §15.5.16: 415, because the client expects an effect of the body. Nothing was done."""
    problem(program.call(method, SESSIONS, data="{}", content_type=media_type), 415, "unsupportedMediaType")
    assert program.provider.session().ended_at is None


@pytest.mark.parametrize("options", [{"data": b"x" * 300_000}, {"headers": {"Transfer-Encoding": "chunked"}}])
def test_body_is_not_read(options: dict[str, Any], program: Program) -> None:
    """Of any length, with or without a Content-Length."""
    problem(program.delete(SESSIONS, **options), 415, "unsupportedMediaType")


def test_control_content_type_without_a_body_is_accepted(program: Program) -> None:
    """Many programs always send one."""
    assert program.get("/clients", content_type="application/json").status_code == 200


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("page=-1", ["page"]),
        ("page=1000001", ["page"]),
        ("size=0", ["size"]),
        ("size=201", ["size"]),
        ("size=ten", ["size"]),
        ("size=", ["size"]),
        ("page=0&page=1", ["page"]),
        ("state=lost", ["state"]),
        ("since=99999999999999999999", ["since"]),
        ("clientID=x", ["clientID"]),
        ("client_id=x", ["client_id"]),
        ("size=x&page=y", ["page", "size"]),
        ("clientId=" + 256 * "x", ["clientId"]),
    ],
)
def test_invalid_query_is_rejected_by_field(query: str, fields: list[str], program: Program) -> None:
    """400: each field with a message. A typo must not return everything."""
    errors = problem(program.get(f"/deliveries?{query}"), 400, "invalidQuery")["fieldErrors"]
    assert sorted(error["field"] for error in errors) == fields
    for error in errors:
        assert set(error) == {"field", "message", "objectName"}
        assert error["objectName"] == "query"
        assert error["message"].endswith(".")


def test_operation_without_a_query_rejects_one(program: Program) -> None:
    """``?dryRun=true`` is not supported."""
    problem(program.delete(f"{SESSIONS}?dryRun=true"), 400, "invalidQuery")
    assert program.provider.session().ended_at is None


def test_internal_error_discloses_nothing(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """500, in the same format."""

    def fails(_: Connection) -> None:
        raise RuntimeError("a secret detail")

    monkeypatch.setitem(program.provider.app.config, "TESTING", False)
    with at_statement(engine_of(program.provider.app), "FROM delivery", fails):
        answer = program.get("/deliveries")
    problem(answer, 500, "error")
    assert "secret" not in answer.text
