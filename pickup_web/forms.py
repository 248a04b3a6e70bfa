"""Small forms: fields described as data, each with a function that reads its text or says what is wrong."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, TypeVar

from werkzeug.datastructures import MultiDict

Value = TypeVar("Value")


class Wrong(ValueError):
    """What is wrong with a field, in a sentence for the person who filled it in."""


@dataclass(frozen=True)
class Field:
    """One field. ``read`` makes the value of the trimmed text, or raises :class:`Wrong`."""

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
        """Whether the value, such as a number or a date, stays on one line in a table."""
        return self.name == "id" or self.kind in ("tel", "date", "number")


class Form:
    """What was typed, what it means, and what is wrong with it."""

    def __init__(self, fields: Sequence[Field], given: Mapping[str, Any] | None = None) -> None:
        """A form to show; ``given`` is what stands in it already."""
        self.fields = fields
        self.given = {} if given is None else {name: str(value) for name, value in given.items()}
        self.values: dict[str, Any] = {}
        self.errors: dict[str, str] = {}

    @classmethod
    def read(cls, fields: Sequence[Field], given: Mapping[str, str]) -> "Form":
        """Read a form that was sent. Unknown fields are ignored; ``errors`` is empty when all is well."""
        form = cls(fields, {field.name: typed(field, given) for field in fields})
        for field in fields:
            try:
                form.values[field.name] = field.read(form.given[field.name])
            except Wrong as wrong:
                form.errors[field.name] = str(wrong)
        return form


def typed(field: Field, given: Mapping[str, str]) -> str:
    """The trimmed text. Lines stay lines where there can be several; each ticked box is one."""
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
    """A contact number with its country code: ITU-T E.164 allows 15 digits, and no country has under 8."""
    number = text("a contact number", 30)(given)
    digits = re.sub(r"[ ().-]", "", number)
    if not re.fullmatch(r"\+[1-9][0-9]{7,14}", digits):
        raise Wrong("Enter the number with + and the country code, such as +1 202 555 0143.")
    return number


def email(given: str) -> str:
    """An address that looks like one; whether it exists only a message to it can tell."""
    address = text("an email address", 254)(given)
    if not re.fullmatch(r"[^\s@]+@[^\s@.]+(\.[^\s@.]+)+", address):
        raise Wrong("Enter an email address, such as name@example.com.")
    return address


def day(given: str) -> date:
    """A date, as ``<input type="date">`` sends it."""
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
    """Text of a fixed shape; capitals are made for the person."""

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
    """A number, perhaps with a decimal point; whoever takes it knows its bounds."""
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", given):
        raise Wrong("Enter a number, such as 2.5.")
    return float(given)


def is_ticked(given: str) -> bool:
    """A checkbox."""
    return bool(given)
