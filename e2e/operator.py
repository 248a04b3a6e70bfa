"""What an operator of a provider can do. A provider overrides what it can; the rest is not applicable there."""

from contextlib import AbstractContextManager
from dataclasses import dataclass

from e2e.capabilities import not_applicable


@dataclass(frozen=True)
class Person:
    """A user of the IdP."""

    sub: str
    username: str
    name: str
    password: str


# ruff: noqa: ARG002 # the methods of the class that can do nothing ignore what they get
class Operator:
    """An operator without any rights."""

    def add_person(self, name: str) -> Person:
        """A new user, whose user name no earlier run has used."""
        not_applicable("adds_people")

    def reset_password(self, person: Person) -> None:
        """Replace the user's password."""
        not_applicable("resets_passwords")

    def sign_out(self, person: Person) -> None:
        """End all sessions of the user."""
        not_applicable("signs_out_people")

    def disable(self, person: Person) -> None:
        """Disable the account."""
        not_applicable("disables_people")

    def remove(self, person: Person) -> None:
        """Remove the account."""
        not_applicable("removes_people")

    def end_session(self, sid: str) -> None:
        """End that session only."""
        not_applicable("ends_sessions")

    def client_setting(self, client_id: str, **changes: str | bool | list[str]) -> AbstractContextManager[None]:
        """Change members of the client's metadata; restore the earlier values afterwards, also after an error."""
        not_applicable("changes_clients")
