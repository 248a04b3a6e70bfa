"""The profile: who the user is, and the session with its ID token."""

import json
from typing import Any, ClassVar

from e2e.pages.app_page import AppPage


class ProfilePage(AppPage):
    """Both apps have it."""

    PATH: ClassVar[str] = "/profile"

    @property
    def id_token(self) -> dict[str, Any]:
        """The claims of the ID token."""
        claims: dict[str, Any] = json.loads(self.tab.get_by_role("region", name="ID token: claims").inner_text())
        return claims
