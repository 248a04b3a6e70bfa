"""The identity providers under test: what each can do, and how a person uses it. docs/regression.md adds one."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from playwright.sync_api import BrowserContext, Page, expect

from e2e.operator import Operator
from e2e.plain import http

if TYPE_CHECKING:
    from e2e.apps import App
    from e2e.stack import StackControl

# The people of the stories. A provider has them with these names and one password for all.
PEOPLE = {"cameron": "Cameron Reyes", "alex": "Alex Okafor"}


class Provider(ABC):
    """A provider at ``issuer``, where the people of the stories have the password ``password``."""

    can: ClassVar[frozenset[str]] = frozenset()  # names of e2e.capabilities.OF_PROVIDER
    version: ClassVar[str] = ""  # for the table of results
    issuer_path: ClassVar[str] = ""  # of a provider that the tests start: behind http://idp.localhost:PORT
    is_quiet: ClassVar[bool] = False  # whether its pages must log no error on the browser's console
    settings: ClassVar[Mapping[str, str]] = {"PICKUP_OTHER_IDP": "true", "PICKUP_DRIVERS_SCOPE": "none"}  # of our apps

    def __init__(self, issuer: str, password: str) -> None:
        self.issuer, self.password = issuer, password

    # --- how a person uses it ---

    @abstractmethod
    def expect_sign_in(self, tab: Page) -> None:
        """It asks for a password."""

    @abstractmethod
    def sign_in(self, tab: Page, user: str, password: str) -> None:
        """Fill in the form and send it; consent, if it asks for that."""

    def expect_refused(self, tab: Page) -> None:
        """It refused user name or password. Needed with ``checks_passwords``."""
        raise NotImplementedError("A provider with checks_passwords must define expect_refused (docs/regression.md).")

    def consent(self, tab: Page) -> None:
        """Say yes if it asks, in a session, for consent to another app. Also called when it does not ask."""
        del tab

    def confirm_logout(self, tab: Page) -> None:
        """Answer the question whether to log out. Also called when it does not ask, as after the session's end."""
        del tab

    def sign_in_browser(
        self, context: BrowserContext, urls: Sequence[str], user: str, password: str, user_agent: str
    ) -> None:
        """For stories that are not about signing in: sign in on the way to the first page, then open the others."""
        del user_agent  # the browser's own
        tab = context.new_page()
        tab.goto(urls[0])
        self.sign_in(tab, user, password)
        expect(tab, f"{user} is signed in").to_have_url(re.compile("^" + re.escape(urls[0])))
        for url in urls[1:]:
            tab.goto(url)
            self.consent(tab)
            expect(tab, f"{user} is signed in").to_have_url(re.compile("^" + re.escape(url)))
        tab.close()

    # --- what a test may do with it, if it can ---

    def operator(self) -> Operator:
        """A person who may change clients and people, and end sessions."""
        return Operator()

    def signing_key(self, hands: StackControl) -> dict[str, Any]:
        """The private key it signs with, as a JWK. Needed with ``signs``."""
        raise NotImplementedError("A provider with signs must define signing_key (docs/regression.md).")

    def start(self, folder: Path, port: int, apps: Sequence[App]) -> None:
        """Start one on that port that knows these apps and :data:`PEOPLE`. ``folder`` is for its data and its log."""
        raise NotImplementedError("This provider has no start: use BASE=running (docs/regression.md).")

    def end(self) -> None:  # noqa: B027 # nothing was started
        """The end of :meth:`start`."""

    # --- what its metadata says ---

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """OpenID Connect Discovery §4."""
        answer = http.get(f"{self.issuer.rstrip('/')}/.well-known/openid-configuration")
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def public_keys(self) -> list[dict[str, Any]]:
        """Its public keys."""
        keys: list[dict[str, Any]] = http.get(self.metadata["jwks_uri"]).json()["keys"]
        return keys
