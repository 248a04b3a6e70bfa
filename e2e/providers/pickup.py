"""Pickup's own IdP."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from playwright.sync_api import BrowserContext, Page, expect

from e2e.capabilities import OF_PROVIDER
from e2e.plain_browser import PlainBrowser
from e2e.providers import Provider
from e2e.providers.pickup_console import ConsoleOperator

if TYPE_CHECKING:
    from e2e.stack import StackControl

# Runs where the provider runs. A forgery that is refused for its audience must have the right signature.
PRINT_SIGNING_KEY = """
import json
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session
from idp.encryption import decrypt_jwk, use_key
from idp.models import SigningKey
from pickup_web.settings import load_settings
settings = load_settings("idp")
engine = create_engine(settings.idp_database_url)
use_key(engine, settings.secret_key.get_secret_value())
with Session(engine) as db:
    rs256 = select(SigningKey).where(SigningKey.alg == "RS256")
    key = db.scalars(rs256.order_by(SigningKey.signs_from.desc())).first()
print(json.dumps({**decrypt_jwk(engine, key.private_jwk), "kid": key.kid}))
"""


class Pickup(Provider):
    """It can do everything that a story asks for."""

    can: ClassVar[frozenset[str]] = frozenset(OF_PROVIDER)
    is_quiet = True
    settings: ClassVar[Mapping[str, str]] = {}

    def expect_sign_in(self, tab: Page) -> None:
        expect(tab.get_by_label("Password")).to_be_visible()
        expect(tab.get_by_label("Username"), "no user's name is filled in").to_be_empty()

    def sign_in(self, tab: Page, user: str, password: str) -> None:
        tab.get_by_label("Username").fill(user)
        tab.get_by_label("Password").fill(password)
        tab.get_by_role("button", name="Sign in").click()

    def expect_refused(self, tab: Page) -> None:
        expect(tab.get_by_role("alert")).to_contain_text("Wrong username or password")

    def sign_in_browser(
        self, context: BrowserContext, urls: Sequence[str], user: str, password: str, user_agent: str
    ) -> None:
        """Over HTTP, which is ten times as fast; then copies the cookies to the browser."""
        browser = PlainBrowser(user_agent)
        browser.sign_in(urls[0], user, password)
        for url in urls[1:]:
            browser.open(url)
        browser.give_cookies(context)

    def operator(self) -> ConsoleOperator:
        return ConsoleOperator(self.issuer, self.password)

    def signing_key(self, hands: "StackControl") -> dict[str, Any]:
        key: dict[str, Any] = json.loads(hands.python("idp", PRINT_SIGNING_KEY))
        return key
