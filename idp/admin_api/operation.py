"""One operation of the API: a row of the route map, and what follows from its view's signature."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_args, get_origin, get_type_hints

from flask import Response

from idp.admin_api.paging import Listing
from idp.admin_api.queries import Query
from idp.admin_api.resources import Resource, as_response


@dataclass(frozen=True)
class Operation:
    """``view`` takes what ``path`` names and perhaps a ``query``; it returns a resource, a :class:`Listing` or None."""

    method: str
    path: str  # as OpenAPI writes it
    scope: str
    view: Callable[..., Any]
    status: int = 200

    @property
    def name(self) -> str:
        """What it is called, here and in the document."""
        return self.view.__name__

    @property
    def rule(self) -> str:
        """The path as Flask writes it, with our own kind of names in it."""
        return re.sub(r"\{(\w+)\}", lambda name: f"<{snake(name[1])}>", self.path)

    @property
    def names(self) -> list[str]:
        """What stands in the path."""
        return re.findall(r"\{(\w+)\}", self.path)

    @cached_property
    def query(self) -> type[Query]:
        """What may stand in the query."""
        hint: type[Query] = get_type_hints(self.view).get("query", Query)
        return hint

    @property
    def resource(self) -> type[Resource] | None:
        """What it answers with, or each item of a listing; None: nothing."""
        hint = get_type_hints(self.view)["return"]
        (kind,) = get_args(hint) or (hint,)
        return kind if issubclass(kind, Resource) else None

    @property
    def is_listing(self) -> bool:
        """Whether it answers page by page."""
        return get_origin(get_type_hints(self.view)["return"]) is Listing

    def answer(self, result: Resource | Listing[Any] | None) -> Response:
        """What the view returned, on the wire."""
        if isinstance(result, Listing):
            return result.response()
        return as_response(result.as_json(), self.status) if result else Response(status=self.status)


def snake(name: str) -> str:
    """``accountId`` → ``account_id``."""
    return re.sub(r"(?=[A-Z])", "_", name).lower()
