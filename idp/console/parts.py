"""What the console's sections share: long lists in pages, questions before an act, words for times and numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from markupsafe import Markup

from idp.operations import NotFoundError, OperationError
from pickup_web.clock import now

ROWS = 50  # a page
MOST_PAGES = 10_000_000  # beyond it no database counts
PERIODS = ((86400, "day"), (3600, "hour"), (60, "minute"))


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


def many(number: int, one: str, several: str = "") -> str:
    """ "1 session", "3 sessions"."""
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def ago(seconds: int) -> Markup:
    """A moment as people say it, "5 minutes ago" or "in 2 hours", with the exact time in the element."""
    moment, distance = datetime.fromtimestamp(seconds, UTC), now() - seconds
    size, name = next((period for period in PERIODS if abs(distance) >= period[0]), (1, "second"))
    amount = many(abs(distance) // size, name)
    words = "now" if not distance else f"{amount} ago" if distance > 0 else f"in {amount}"
    exact = moment.strftime("%Y-%m-%d %H:%M:%S UTC")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(moment.isoformat(), exact, words)
