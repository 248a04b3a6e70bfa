"""Signs a person in by HTTP, as a browser would: cookies, redirects and the IdP's forms, without scripts."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

import requests

from pickup_testing.http import Http

if TYPE_CHECKING:
    from pickup_testing.idp import Idp, Session

MOST_STEPS = 30  # redirects and forms of one sign-in


class SignInError(Exception):
    """The sign-in ended on a page of the IdP. The text is that of the page."""


class Browser:
    """A browser with its own cookies. ``http``: the :class:`requests.Session` with them, for the app's other pages.

    It resolves names as Python does, which does not know names below ``.localhost``: run the app at ``localhost``.
    """

    def __init__(self, idp: "Idp") -> None:
        self.idp, self.http = idp, Http()
        self.http.headers["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64) Pickup test"
        self._session: Session | None = None

    @property
    def session(self) -> "Session":
        """The session at the IdP, which all apps in this browser share. RuntimeError before the first sign-in."""
        if self._session is None:
            raise RuntimeError("Nobody has signed in with this browser.")
        return self._session

    def sign_in(self, url: str, username: str, password: str | None = None) -> requests.Response:
        """Open ``url``, an address of the app that starts a sign-in, and go through the IdP back to the app.

        Returns the app's last response: its page after the sign-in, or its error page. The person is asked for the
        password only if this browser has no session yet, and allows what the app asks for. ``password``: only needed
        if the person was not added through ``idp``. :class:`SignInError` if it ends on a page of the IdP.
        """
        response = self._follow(self.http.get(url, allow_redirects=False, timeout=30), username, password)
        if self._is_at_idp(response.url):
            raise SignInError(text_of(response))
        return response

    def authorize(self, url: str, username: str, password: str | None = None) -> str:
        """The same for an app that does not listen, such as Flask's test client.

        ``url``: the app's redirect to the IdP, from its header Location. Returns the address at the app, with ``code``
        and ``state``, to which the IdP redirects; it is not requested. Not for ``response_mode=form_post``.
        """
        response = self.http.get(url, allow_redirects=False, timeout=30)
        target = self._follow(response, username, password, leave=False).headers.get("Location", "")
        if not target:
            raise SignInError(text_of(response))
        return target

    def _follow(
        self, response: requests.Response, username: str, password: str | None, *, leave: bool = True
    ) -> requests.Response:
        """Follows redirects and fills in the IdP's forms. Without ``leave``, up to the redirect out of the IdP."""
        is_filled = False
        for _ in range(MOST_STEPS):
            at_idp = self._is_at_idp(response.url)
            if response.is_redirect:
                target = urljoin(response.url, response.headers["Location"])
                if at_idp and not leave and not self._is_at_idp(target):
                    break
                response = self.http.get(target, allow_redirects=False, timeout=30)
                continue
            form = next((form for form in forms_of(response) if form.is_for_us), None) if at_idp else None
            if form is None:
                break
            if form.asks_for_password and is_filled:
                raise SignInError(text_of(response))
            is_filled = is_filled or form.asks_for_password
            response = self._submit(response.url, form, username, password)
        return response

    def _submit(self, page: str, form: "Form", username: str, password: str | None) -> requests.Response:
        """Fills in a form of the IdP and sends it."""
        before = None
        if form.asks_for_password:
            form.values |= {"username": username, "password": password or self.idp.password_of(username)}
            before = set(self.idp.sessions(username))
        if form.asks_for_consent:
            form.values["answer"] = "allow"
        response = self.http.post(urljoin(page, form.action), form.values, allow_redirects=False, timeout=30)
        if before is not None and response.is_redirect:
            new = set(self.idp.sessions(username)) - before  # empty if the person confirmed the password only
            self._session = new.pop() if new else self._session
        return response

    def _is_at_idp(self, url: str) -> bool:
        """Whether the address is one of the IdP's."""
        return urlsplit(url)[:2] == urlsplit(self.idp.issuer)[:2]


@dataclass
class Form:
    """A form of a page."""

    action: str
    is_post: bool
    values: dict[str, str] = field(default_factory=dict)
    buttons: set[tuple[str, str]] = field(default_factory=set)

    @property
    def asks_for_password(self) -> bool:
        """The login page."""
        return "password" in self.values

    @property
    def asks_for_consent(self) -> bool:
        """The consent page."""
        return ("answer", "allow") in self.buttons

    @property
    def is_for_us(self) -> bool:
        """Also the form that a script would post to the app (``response_mode=form_post``)."""
        is_response = bool({"code", "error", "id_token"} & set(self.values))
        return self.is_post and (self.asks_for_password or self.asks_for_consent or is_response)


class Page(HTMLParser):
    """Collects the forms and the text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.words: list[str] = []
        self._in_main = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Forms and their fields."""
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(Form(given.get("action", ""), given.get("method", "").lower() == "post"))
        elif tag == "main":
            self._in_main = True
        elif tag == "input" and self.forms and "name" in given:
            self.forms[-1].values[given["name"]] = given.get("value", "")
        elif tag == "button" and self.forms and "name" in given:
            self.forms[-1].buttons.add((given["name"], given.get("value", "")))

    def handle_endtag(self, tag: str) -> None:
        """The end of the page's content."""
        self._in_main = self._in_main and tag != "main"

    def handle_data(self, data: str) -> None:
        """The text of the page's content."""
        if self._in_main:
            self.words += data.split()


def forms_of(response: requests.Response) -> list[Form]:
    """The forms of a page."""
    page = Page()
    page.feed(response.text)
    return page.forms


def text_of(response: requests.Response) -> str:
    """The text of a page's content, with its address and status."""
    page = Page()
    page.feed(response.text)
    return f"{response.url.partition('?')[0]} answered {response.status_code}: {' '.join(page.words)}"
