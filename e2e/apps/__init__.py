"""The apps under test: what each can do, and how a person uses it. docs/regression.md shows how to add one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from e2e.pages.app_page import AppPage
    from e2e.providers import Provider


class App(ABC):
    """One of the two apps of a story. ``service`` is its place: ``dispatch`` or ``manager``."""

    can: ClassVar[frozenset[str]] = frozenset()  # names of e2e.capabilities.OF_APP
    version: ClassVar[str] = ""  # for the table of results
    title = ""
    url = ""  # without a slash at the end
    client_id = ""
    client_secret = ""  # only stories about its tokens need it
    front = "/"  # a path that opens for a signed-in user only, and leads all others to the sign-in
    front_heading = ""  # the <h1> of that page; empty if it is not to be compared
    is_linked: ClassVar[bool] = False  # whether Dispatch has a link to it
    is_quiet: ClassVar[bool] = False  # whether its pages must log no error on the browser's console
    callback_path = "/callback"
    back_channel_path = "/backchannel-logout"
    front_channel_path = "/fclogout"
    logged_out_path = "/"

    def __init__(self, service: str, provider: Provider, url: str = "", client_secret: str = "") -> None:
        self.service, self.provider = service, provider
        self.client_secret = client_secret or self.client_secret
        self.url = url or self.url
        self.client_id = self.client_id or f"pickup-{service}"

    @abstractmethod
    def page(self, tab: Page) -> AppPage:
        """Its pages, as a person sees them."""

    @abstractmethod
    def is_signed_in(self, cookie: str) -> bool:
        """Whether the bearer of this cookie is signed in."""

    def start(self, folder: Path) -> None:  # noqa: B027 # an app that runs already needs no start
        """Start it, if the tests are to do that. ``folder`` is for its log."""

    def end(self) -> None:  # noqa: B027
        """The end of :meth:`start`."""

    def metadata(self) -> dict[str, object]:
        """What a provider must know about it, in the words of RFC 7591, RP-Initiated Logout §3.1 and BCL §2.2."""
        return {
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "client_name": self.title,
            "redirect_uris": [self.url + self.callback_path],
            "post_logout_redirect_uris": [self.url + self.logged_out_path],
            "backchannel_logout_uri": self.url + self.back_channel_path,
            "backchannel_logout_session_required": True,
        }
