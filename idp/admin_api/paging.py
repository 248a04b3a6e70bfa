"""Paging: the body has the items of one page, the headers the total and the URLs of the other pages."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import quote, urlencode

from flask import Response, request
from pydantic import Field

from idp.admin_api.queries import Query
from idp.admin_api.resources import Resource, as_response
from idp.provider import current_provider

R = TypeVar("R", bound=Resource)


class PageQuery(Query):
    """Which page. The bounds keep offsets within the database's integers."""

    page: int = Field(default=0, ge=0, le=1_000_000, description="The first page is 0.")
    size: int = Field(default=50, ge=1, le=200, description="Items on a page.")

    @property
    def offset(self) -> int:
        """How many items come before this page."""
        return self.page * self.size


@dataclass(frozen=True)
class Listing(Generic[R]):
    """The items of one page; ``total`` counts those of all pages."""

    items: Sequence[R]
    total: int
    query: PageQuery

    def response(self) -> Response:
        """A JSON array, ``X-Total-Count``, and ``Link`` (RFC 8288) to first, prev, next and last."""
        response = as_response([item.as_json() for item in self.items])
        response.headers["X-Total-Count"] = str(self.total)
        response.headers["Link"] = ", ".join(
            f'<{self.address(page)}>; rel="{relation}"' for relation, page in self.pages()
        )
        return response

    def pages(self) -> list[tuple[str, int]]:
        """The other pages by relation."""
        page, last = self.query.page, max(0, (self.total - 1) // self.query.size)
        return [
            ("first", 0),
            *([("prev", min(page - 1, last))] if page else []),
            *([("next", page + 1)] if page < last else []),
            ("last", last),
        ]

    def address(self, page: int) -> str:
        """The same URL for another page."""
        asked = {**request.args.to_dict(), "page": str(page), "size": str(self.query.size)}
        return f"{current_provider().issuer}{quote(request.path)}?{urlencode(asked)}"
