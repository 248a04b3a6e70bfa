"""What an operator can do. The console and the admin API call the same functions.

Each function does one thing in one transaction, and commits it together with its event.
``by`` is the username or client id of the caller.
"""


class OperationError(Exception):
    """The operation was refused and changed nothing. The text is a sentence for the caller."""


class NotFoundError(OperationError):
    """The object does not exist, or no longer exists."""


class InvalidError(OperationError):
    """Invalid input. ``fields``: a sentence for each invalid field."""

    def __init__(self, fields: dict[str, str]) -> None:
        super().__init__(" ".join(fields.values()))
        self.fields = fields
