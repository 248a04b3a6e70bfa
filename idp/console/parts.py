"""What the sections share: paging, and asking before an action."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from idp.operations import NotFoundError, OperationError

ROWS = 50  # a page
MOST_PAGES = 10_000_000  # larger offsets overflow in the database


@dataclass
class Page:
    """One page of a long list, from ``?page=2``."""

    total: int = 0
    number: int = field(default_factory=lambda: max(1, min(request.args.get("page", 1, type=int), MOST_PAGES)))

    @property
    def offset(self) -> int:
        """How many rows come before this page."""
        return (self.number - 1) * ROWS

    @property
    def count(self) -> int:
        """The number of pages, at least one."""
        return max(1, -(-self.total // ROWS))

    @property
    def previous(self) -> str:
        """URL of the previous page, with the other parameters unchanged; empty if there is none."""
        return self._address(min(self.number - 1, self.count)) if self.number > 1 else ""

    @property
    def next(self) -> str:
        """URL of the next page; empty if there is none."""
        return self._address(self.number + 1) if self.number < self.count else ""

    def _address(self, number: int) -> str:
        asked = [(name, value) for name, value in request.args.items() if name != "page"]
        return f"{request.script_root}{request.path}?{urlencode([*asked, ('page', number)])}"


def ask(
    title: str, text: str, button: str, keep: str, *, facts: Mapping[str, Any] | None = None, danger: bool = True
) -> str:
    """The page that asks before an action; its form posts to its own URL. ``keep``: URL of the cancel link."""
    return render_template(
        "console/ask.html", title=title, text=text, button=button, keep=keep, facts=facts or {}, danger=danger
    )


def done(sentence: str, endpoint: str, **values: Any) -> ResponseReturnValue:
    """Redirect to the page that shows the result, with a message."""
    flash(sentence)
    return redirect(url_for(endpoint, **values), 303)


def refused(error: OperationError) -> ResponseReturnValue:
    """The error page: 404 if the object does not exist, else 409."""
    status = 404 if isinstance(error, NotFoundError) else 409
    return render_template("console/refused.html", text=str(error), status=status), status


def only_printable() -> None:
    """Before each request: 404 for an id with unprintable characters, because PostgreSQL refuses NUL."""
    if not all(str(value).isprintable() for value in (request.view_args or {}).values()):
        raise NotFoundError("An ID cannot have such characters.")
