"""The profile: who the user is, and the session with its ID token."""

from typing import ClassVar

from e2e.pages.app_page import AppPage


class ProfilePage(AppPage):
    """Both apps have it."""

    PATH: ClassVar[str] = "/profile"
