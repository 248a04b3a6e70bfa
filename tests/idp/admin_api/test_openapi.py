"""Schemathesis sends requests of every kind and compares the responses with ``openapi.json``."""

import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from flask import Flask
from schemathesis.engine import Status, events, from_schema

from idp import admin_api
from tests.idp.admin_api.conftest import CAMERON, PREFIX, SESSIONS, Program, add_program
from tests.idp.conftest import Provider
from tests.thorough import examples

LISTING = "GET /identityStores/{identityStoreName}/accounts/{accountId}/sessions"


@pytest.fixture
def description(provider: Provider) -> dict[str, Any]:
    """The public document."""
    response = Program(provider).get("/openapi.json")
    assert (response.status_code, response.mimetype) == (200, "application/json")
    return dict(response.get_json())


ACCEPTED = ["2xx", "401", "403", "404", "409", "422"]
GONE = ("/clients/{clientId}", "/identityStores/{identityStoreName}/accounts/{accountId}")


def with_body(description: dict[str, Any]) -> list[str]:
    """The operations that take a body."""
    return [
        f"{method.upper()} {path}"
        for path, operations in description["paths"].items()
        for method, operation in operations.items()
        if "requestBody" in operation
    ]


@dataclass
class Findings:
    """The result of a schemathesis run."""

    statuses: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    checks: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)


def examine(app: Flask, description: dict[str, Any], token: str | None, found: Findings) -> None:
    """Runs all phases of schemathesis, reproducibly: examples, edge cases, random requests, sequences."""
    settings = {
        "seed": 1,
        "analysis": {"constants": {"enabled": False}},  # words of our own code are no better than others
        "headers": {"Authorization": f"Bearer {token}"},
        "generation": {"max-examples": examples(2, 10), "deterministic": True, "database": "none"},
        # All sessions of an account are ended, and the list of them is still there, and empty.
        "operations": [
            {"include-name": LISTING, "checks": {"use_after_free": {"enabled": False}}},
            # 422: a body of the right form breaks a rule that JSON Schema cannot express, such as an id that is taken.
            *(
                {"include-name": name, "checks": {"positive_data_acceptance": {"expected-statuses": ACCEPTED}}}
                for name in with_body(description)
            ),
        ],
    }
    schema = schemathesis.openapi.from_dict(description, config=schemathesis.Config.from_dict(settings))
    schema.app = app
    for event in from_schema(schema).execute():
        if isinstance(event, events.NonFatalError):
            found.faults.append(f"{event.label}: {event.value}")
        if isinstance(event, events.FatalError):
            raise event.exception
        if isinstance(event, events.ScenarioFinished):
            note(event, found)


def note(event: events.ScenarioFinished, found: Findings) -> None:
    """What came of a number of requests."""
    for interaction_id, interaction in event.recorder.interactions.items():
        if interaction.response is not None:
            case = event.recorder.cases[interaction_id].value
            found.statuses[case.operation.label].add(interaction.response.status_code)
    for case_id, checks in event.recorder.checks.items():
        for check in checks:
            found.checks.add(check.name)
            if check.status is Status.FAILURE and check.failure_info:
                case = event.recorder.cases[case_id].value
                found.faults.append(f"{check.name}: {case.as_curl_command()}\n{check.failure_info.failure}")


def add_names(description: dict[str, Any], **names: str) -> None:
    """Adds existing ids to the generated ones."""
    for operations in description["paths"].values():
        for operation in operations.values():
            for parameter in operation["parameters"]:
                if known := names.get(parameter["name"]):
                    parameter["schema"] = {"anyOf": [{"enum": [known]}, {"type": "string"}]}
                    parameter["example"] = known


@pytest.mark.thorough
def test_every_operation_matches_the_document(program: Program, description: dict[str, Any]) -> None:
    """Status, media type, headers and format of each response. Invalid requests are rejected."""
    assert program.delete(SESSIONS).status_code == 204
    program.provider.sign_in()
    (session,) = program.get(SESSIONS).get_json()
    delivery = program.get("/deliveries").get_json()[0]
    add_names(
        description, accountId=CAMERON, sessionId=session["id"], clientId="pickup-manager", deliveryId=delivery["id"]
    )

    # The session first by itself: before somebody has the idea to end all that there are.
    one_session = {path: item for path, item in description["paths"].items() if "{sessionId}" in path}
    found = Findings()
    # Removals last, so that the others see the client and the account.
    in_order = {path: item for path, item in description["paths"].items() if path not in GONE}
    in_order |= {path: dict(description["paths"][path]) for path in GONE}
    for path in GONE:
        in_order[path]["delete"] = in_order[path].pop("delete")
    for paths in (one_session, in_order):
        examine(program.provider.app, {**description, "paths": paths}, program.token, found)

    assert found.faults == []
    assert found.checks >= {
        "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
        "response_schema_conformance", "negative_data_rejection", "positive_data_acceptance", "use_after_free",
        "unsupported_method", "ignored_auth",
    }  # fmt: skip
    succeeded = {label for label, statuses in found.statuses.items() if statuses & {200, 201, 202, 204}}
    assert succeeded == {
        f"{method.upper()} {path}" for path, operations in description["paths"].items() for method in operations
    }, "each was seen to work"


@pytest.mark.thorough
@pytest.mark.parametrize("lie", ["status", "shape", "scope"])
def test_control_wrong_document_is_detected(lie: str, provider: Provider, description: dict[str, Any]) -> None:
    """A wrong status, member or permission."""
    operation = description["paths"]["/clients"]["get"]
    description["paths"] = {"/clients": {"get": operation}}
    if lie == "status":
        operation["responses"]["201"] = operation["responses"].pop("200")
    if lie == "shape":
        description["components"]["schemas"]["RegisteredClient"]["required"].append("secret")
    program = add_program(provider, scopes=["account:read"] if lie == "scope" else ["client:read"])
    if lie == "scope":
        del operation["responses"]["403"]
    found = Findings()
    examine(provider.app, description, program.take_token(), found)
    assert found.faults


def test_document_describes_exactly_the_routes(provider: Provider, description: dict[str, Any]) -> None:
    """Except itself; each operation has a name and its scope."""
    described = {(method, path) for path, operations in description["paths"].items() for method in operations}
    routes = {
        (method.lower(), re.sub(r"<(\w+)>", lambda name: f"{{{camel(name[1])}}}", rule.rule.removeprefix(PREFIX)))
        for rule in provider.app.url_map.iter_rules()
        if rule.rule.startswith(PREFIX) and rule.endpoint != "admin_api.openapi"
        for method in (rule.methods or set()) - {"HEAD"}
    }
    assert described == routes
    operations = [operation for methods in description["paths"].values() for operation in methods.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    known = description["components"]["securitySchemes"]["clientCredentials"]["flows"]["clientCredentials"]["scopes"]
    used = {operation["security"][0]["clientCredentials"][0] for operation in operations}
    assert used == set(known)


def camel(name: str) -> str:
    """``account_id`` → ``accountId``."""
    return re.sub(r"_(\w)", lambda letter: letter[1].upper(), name)


def test_page_lists_every_operation_with_its_scope() -> None:
    """docs/admin-api.md, in the order of the route map."""
    page = Path("docs/admin-api.md").read_text("utf-8")
    rows = re.findall(r"^\| `([A-Z]+)` \| `(\S+)` \| `(\S+)` \|$", page, re.MULTILINE)
    assert rows == [(operation.method, operation.path, operation.scope) for operation in admin_api.OPERATIONS]
