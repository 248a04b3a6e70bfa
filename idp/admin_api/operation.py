"""One operation of the API: a row of the route map. The rest is derived from its view's signature."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_args, get_origin, get_type_hints

from flask import Response

from idp.admin_api.bodies import Body
from idp.admin_api.paging import Listing
from idp.admin_api.queries import Query
from idp.admin_api.resources import Resource, as_response


@dataclass(frozen=True)
class Operation:
    """``view`` takes the path parameters, and maybe ``query`` and ``body``.

    It returns a resource, a :class:`Listing` or None.
    """

    method: str
    path: str  # in OpenAPI's syntax
    scope: str
    view: Callable[..., Any]
    status: int = 200

    @property
    def name(self) -> str:
        """The endpoint and the operationId."""
        return self.view.__name__

    @property
    def rule(self) -> str:
        """The path in Flask's syntax, with snake_case names."""
        return re.sub(r"\{(\w+)\}", lambda name: f"<{snake(name[1])}>", self.path)

    @property
    def names(self) -> list[str]:
        """The path parameters."""
        return re.findall(r"\{(\w+)\}", self.path)

    @cached_property
    def query(self) -> type[Query]:
        """The model of the query."""
        hint: type[Query] = get_type_hints(self.view).get("query", Query)
        return hint

    @cached_property
    def body(self) -> type[Body]:
        """The model of the body."""
        hint: type[Body] = get_type_hints(self.view).get("body", Body)
        return hint

    @property
    def can_conflict(self) -> bool:
        """Whether the current state can forbid it: a delivery that is being sent, the last operator."""
        return self.status == 202 or (self.scope == "account:manage" and "accountId" in self.names)

    @property
    def resource(self) -> type[Resource] | None:
        """The resource it returns, or the items of its listing; None: an empty response."""
        hint = get_type_hints(self.view)["return"]
        (kind,) = get_args(hint) or (hint,)
        return kind if issubclass(kind, Resource) else None

    @property
    def is_listing(self) -> bool:
        """Whether it returns a page of a list."""
        return get_origin(get_type_hints(self.view)["return"]) is Listing

    def answer(self, result: Resource | Listing[Any] | None) -> Response:
        """The view's result as a response."""
        if isinstance(result, Listing):
            return result.response()
        return as_response(result.as_json(), self.status) if result else Response(status=self.status)


def snake(name: str) -> str:
    """``accountId`` → ``account_id``."""
    return re.sub(r"(?=[A-Z])", "_", name).lower()
