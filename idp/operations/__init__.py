"""What an operator can do, one file a noun. The console's pages and the admin API call the same functions.

Each function does one thing, in one transaction, and commits it together with its event.
``by`` names who asked for it: a person's user name, or a client's id.
"""


class OperationError(Exception):
    """It was not done, and nothing has changed. The text is a sentence for whoever asked."""


class NotFoundError(OperationError):
    """There is no such thing, or not any more."""


class InvalidError(OperationError):
    """What was given is not right. ``fields``: a sentence for each field that is to blame."""

    def __init__(self, fields: dict[str, str]) -> None:
        super().__init__(" ".join(fields.values()))
        self.fields = fields
