"""An operator who uses the console's forms over HTTP, for stories that need an action but not the page for it."""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape

import requests

from e2e.operator import Operator, Person
from e2e.plain_browser import PlainBrowser, form_of


class ConsoleOperator(Operator):
    """Signed in to the console as ``admin``."""

    def __init__(self, issuer: str, password: str) -> None:
        self._console = f"{issuer}/console"
        self._browser = PlainBrowser()
        self._browser.sign_in(self._console, "admin", password)

    def add_person(self, name: str) -> Person:
        """A new user, whose user name no earlier run has used."""
        username = f"{name.split()[0].lower()}-{secrets.token_hex(4)}"
        page = self._submit("/people/add", username=username, name=name)
        (sub,) = re.findall(r'href="[^"]*/people/([^"/]+)"', page.text)
        return Person(sub, username, name, shown_password(page))

    def reset_password(self, person: Person) -> None:
        """Replace the user's password."""
        shown_password(self._submit(f"/people/{person.sub}/password"))

    def sign_out(self, person: Person) -> None:
        """End all sessions of the user."""
        self._submit(f"/people/{person.sub}/sign-out")

    def disable(self, person: Person) -> None:
        """Disable the account."""
        self._submit(f"/people/{person.sub}/disable")

    def remove(self, person: Person) -> None:
        """Remove the account."""
        self._submit(f"/people/{person.sub}/remove")

    def end_session(self, sid: str) -> None:
        """End that session only."""
        self._submit(f"/sessions/{sid}/end")

    @contextmanager
    def client_setting(self, client_id: str, **changes: str | bool | list[str]) -> Iterator[None]:
        """Change the application's settings; restore the earlier values afterwards, also after an error."""
        path = f"/applications/{client_id}/edit"
        earlier = form_of(self._browser.open(self._console + path)).fields
        self._submit(path, **{name: as_field(value) for name, value in changes.items()})
        try:
            yield
        finally:
            self._submit(path, **{name: earlier.get(name, []) for name in changes})  # a box that was not ticked

    def _submit(self, path: str, **changes: str | list[str]) -> requests.Response:
        page = self._browser.send(self._browser.open(self._console + path), **changes)
        assert page.ok, f"the console refused {path}: status {page.status_code}"
        return page


def as_field(value: str | bool | list[str]) -> str | list[str]:
    """What the form sends for it. A box that is not ticked is not sent."""
    return ("on" if value else []) if isinstance(value, bool) else value


def shown_password(page: requests.Response) -> str:
    """The password that the page of the console shows."""
    (password,) = re.findall(r'id="password"[^>]*>([^<]+)<', page.text)
    return unescape(password)
