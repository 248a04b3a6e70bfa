"""Small forms: a field is data, with a function that converts its text or raises an error."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, TypeVar

from werkzeug.datastructures import MultiDict

Value = TypeVar("Value")


class Wrong(ValueError):
    """An invalid field, with a sentence for the user."""


@dataclass(frozen=True)
class Field:
    """One field. ``read`` converts the trimmed text to the value, or raises :class:`Wrong`."""

    name: str
    label: str
    read: Callable[[str], Any]
    hint: str = ""
    kind: str = "text"  # the type of <input>, or "select", "textarea", "checkbox", "checkboxes"
    autocomplete: str = "off"
    choices: Sequence[tuple[str, str]] = ()
    optional: bool = False

    @property
    def unbroken(self) -> bool:
        """Whether a table should keep the value on one line, as for numbers and dates."""
        return self.name == "id" or self.kind in ("tel", "date", "number")


class Form:
    """The typed text, the values and the errors."""

    def __init__(self, fields: Sequence[Field], given: Mapping[str, Any] | None = None) -> None:
        """A form to show; ``given`` has the initial values."""
        self.fields = fields
        self.given = {} if given is None else {name: str(value) for name, value in given.items()}
        self.values: dict[str, Any] = {}
        self.errors: dict[str, str] = {}

    @classmethod
    def read(cls, fields: Sequence[Field], given: Mapping[str, str]) -> "Form":
        """Read a submitted form. Unknown fields are ignored; ``errors`` is empty if the form is valid."""
        form = cls(fields, {field.name: typed(field, given) for field in fields})
        for field in fields:
            try:
                form.values[field.name] = field.read(form.given[field.name])
            except Wrong as wrong:
                form.errors[field.name] = str(wrong)
        return form


def typed(field: Field, given: Mapping[str, str]) -> str:
    """The trimmed text. A text area keeps its lines; each ticked box is a line."""
    if field.kind == "checkboxes":
        return "\n".join(
            given.getlist(field.name) if isinstance(given, MultiDict) else given.get(field.name, "").split()
        )
    if field.kind == "textarea":
        return "\n".join(filter(None, (line.strip() for line in given.get(field.name, "").splitlines())))
    return " ".join(given.get(field.name, "").split())


def text(what: str, most: int = 80) -> Callable[[str], str]:
    """Some text; ``what`` completes "Enter …"."""

    def read(given: str) -> str:
        if not given:
            raise Wrong(f"Enter {what}.")
        if len(given) > most:
            raise Wrong(f"Use {most} characters at most; these are {len(given)}.")
        if not given.isprintable():
            raise Wrong("Leave out invisible characters.")
        return given

    return read


def phone(given: str) -> str:
    """A phone number with country code: at most 15 digits (ITU-T E.164), at least 8."""
    number = text("a contact number", 30)(given)
    digits = re.sub(r"[ ().-]", "", number)
    if not re.fullmatch(r"\+[1-9][0-9]{7,14}", digits):
        raise Wrong("Enter the number with + and the country code, such as +1 202 555 0143.")
    return number


def email(given: str) -> str:
    """Text in the form of an email address. Does not check whether it exists."""
    address = text("an email address", 254)(given)
    if not re.fullmatch(r"[^\s@]+@[^\s@.]+(\.[^\s@.]+)+", address):
        raise Wrong("Enter an email address, such as name@example.com.")
    return address


def day(given: str) -> date:
    """A date in the format of ``<input type="date">``."""
    try:
        return date.fromisoformat(given)
    except ValueError as error:
        raise Wrong("Enter a date as year-month-day, such as 2026-03-14.") from error


def number(low: int, high: int) -> Callable[[str], int]:
    """A whole number within bounds."""

    def read(given: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", given) or not low <= int(given) <= high:
            raise Wrong(f"Enter a whole number from {low} to {high}.")
        return int(given)

    return read


def pattern(regex: str, sentence: str) -> Callable[[str], str]:
    """Text that matches ``regex`` once it is in upper case."""

    def read(given: str) -> str:
        if not re.fullmatch(regex, given.upper(), re.ASCII):
            raise Wrong(sentence)
        return given.upper()

    return read


def choice(choices: Sequence[tuple[str, str]], sentence: str) -> Callable[[str], str]:
    """One of ``choices`` (value and label), by its value."""

    def read(given: str) -> str:
        if not given or given not in dict(choices):
            raise Wrong(sentence)
        return given

    return read


def optional(read: Callable[[str], Value]) -> Callable[[str], Value | None]:
    """The value, or None where nothing was typed."""
    return lambda given: read(given) if given else None


def decimal(given: str) -> float:
    """A number, perhaps with a decimal point. The operation checks its bounds."""
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", given):
        raise Wrong("Enter a number, such as 2.5.")
    return float(given)


def is_ticked(given: str) -> bool:
    """A checkbox."""
    return bool(given)
