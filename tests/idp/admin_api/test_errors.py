"""Whatever goes wrong has one shape, and says what to do about it."""

from typing import Any

import pytest

from tests.idp.admin_api.conftest import ACCOUNT, PREFIX, SESSIONS, Program, problem
from tests.idp.conftest import Provider


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
def test_what_is_not_there_is_named(path: str, entity: str, program: Program) -> None:
    """404: which of the things in the path it is."""
    assert problem(program.get(path), 404, "notFound")["entityName"] == entity


def test_an_error_repeats_what_was_asked_for(program: Program) -> None:
    """The members of the body, all of them."""
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
def test_a_path_that_is_none_is_an_error_of_the_same_shape(path: str, program: Program) -> None:
    """No page for people, no redirect; with a token or without."""
    problem(program.get(path), 404, "notFound")
    problem(Program(program.provider).get(path), 404, "notFound")


def test_below_another_version_there_is_nothing(provider: Provider) -> None:
    """A program that was written for a later one is told so in the shape it expects."""
    problem(provider.browser().get("/admin/api/v2/clients"), 404, "notFound")


def test_control_elsewhere_people_get_a_page(provider: Provider) -> None:
    """The shape is the API's own."""
    assert provider.browser().get("/administration").mimetype == "text/html"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_a_method_that_there_is_not(method: str, program: Program) -> None:
    """RFC 9110 §15.5.6: 405, with those that there are; and no form's token is asked for."""
    answer = program.call(method, "/clients")
    problem(answer, 405, "methodNotAllowed")
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD"}


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("media_type", ["application/json", "application/x-www-form-urlencoded", "text/plain"])
def test_a_body_is_refused(method: str, media_type: str, program: Program) -> None:
    """RFC 9110 §15.5.16: 415; whoever sends one thinks that it does something. Nothing was done."""
    problem(program.call(method, SESSIONS, data="{}", content_type=media_type), 415, "unsupportedMediaType")
    assert program.provider.session().ended_at is None


@pytest.mark.parametrize("options", [{"data": b"x" * 300_000}, {"headers": {"Transfer-Encoding": "chunked"}}])
def test_a_body_is_not_even_read(options: dict[str, Any], program: Program) -> None:
    """However long it is, or says nothing about it."""
    problem(program.delete(SESSIONS, **options), 415, "unsupportedMediaType")


def test_control_a_type_without_a_body_is_no_offence(program: Program) -> None:
    """Many programs send one always."""
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
def test_a_query_that_cannot_be_is_refused_by_name(query: str, fields: list[str], program: Program) -> None:
    """400: each field with a sentence. A slip of the pen must not find everything."""
    errors = problem(program.get(f"/deliveries?{query}"), 400, "invalidQuery")["fieldErrors"]
    assert sorted(error["field"] for error in errors) == fields
    for error in errors:
        assert set(error) == {"field", "message", "objectName"}
        assert error["objectName"] == "query"
        assert error["message"].endswith(".")


def test_an_operation_without_a_query_takes_none(program: Program) -> None:
    """``?dryRun=true`` would not be one."""
    problem(program.delete(f"{SESSIONS}?dryRun=true"), 400, "invalidQuery")
    assert program.provider.session().ended_at is None


def test_a_fault_of_our_own_says_nothing_about_itself(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """500, in the same shape."""

    def fails(*_: object) -> None:
        raise RuntimeError("a secret detail")

    monkeypatch.setattr("idp.operations.applications.get_application", fails)
    monkeypatch.setitem(program.provider.app.config, "TESTING", False)
    answer = program.get("/clients/x")
    problem(answer, 500, "error")
    assert "secret" not in answer.text
