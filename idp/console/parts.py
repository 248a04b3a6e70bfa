"""What the console's sections share: long lists in pages, and questions before an act."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from idp.operations import NotFoundError, OperationError

ROWS = 50  # a page
MOST_PAGES = 10_000_000  # beyond it no database counts


@dataclass
class Page:
    """One page of a long list, as the address asks for it: ``?page=2``."""

    total: int = 0
    number: int = field(default_factory=lambda: max(1, min(request.args.get("page", 1, type=int), MOST_PAGES)))

    @property
    def offset(self) -> int:
        """How many rows come before it."""
        return (self.number - 1) * ROWS

    @property
    def count(self) -> int:
        """How many pages there are; one at least."""
        return max(1, -(-self.total // ROWS))

    @property
    def previous(self) -> str:
        """Address of the page before, with the rest of the query as it is; empty if there is none."""
        return self._address(min(self.number - 1, self.count)) if self.number > 1 else ""

    @property
    def next(self) -> str:
        """Address of the page after; empty if there is none."""
        return self._address(self.number + 1) if self.number < self.count else ""

    def _address(self, number: int) -> str:
        asked = [(name, value) for name, value in request.args.items() if name != "page"]
        return f"{request.script_root}{request.path}?{urlencode([*asked, ('page', number)])}"


def ask(
    title: str, text: str, button: str, keep: str, *, facts: Mapping[str, Any] | None = None, danger: bool = True
) -> str:
    """The page that asks before something is done; its form posts to its own address. ``keep``: the way back."""
    return render_template(
        "console/ask.html", title=title, text=text, button=button, keep=keep, facts=facts or {}, danger=danger
    )


def done(sentence: str, endpoint: str, **values: Any) -> ResponseReturnValue:
    """On to the page that shows what has become of it, under a sentence that says so."""
    flash(sentence)
    return redirect(url_for(endpoint, **values), 303)


def refused(error: OperationError) -> ResponseReturnValue:
    """What was asked for was not done: 404 when there is no such thing, else 409, with the reason."""
    status = 404 if isinstance(error, NotFoundError) else 409
    return render_template("console/refused.html", text=str(error), status=status), status


def only_printable() -> None:
    """Before each request: an address with a character that cannot be printed is nothing's, and not every database
    can be asked for it."""
    if not all(str(value).isprintable() for value in (request.view_args or {}).values()):
        raise NotFoundError("No id has such characters.")
