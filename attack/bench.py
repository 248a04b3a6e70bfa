"""The tools of a case: users signed in at the application, and a way to send it requests."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from attack import judge
from attack.browser import Browser, SignInFailed, Target
from attack.judge import Exchange, Expect, Finding
from attack.provider import Provider
from attack.tokens import Tokens
from attack.wire import TIMEOUT, Answer, Request, Wire, form

# Seconds within which an application that limits its key fetches must find a new key. Key libraries for Node and Java
# wait 30 seconds between two fetches.
PATIENCE = 40.0

Make = Callable[[Tokens], str | Request]


@dataclass(frozen=True)
class Step:
    """One request of a case, and the expected result."""

    name: str
    expect: Expect
    make: Make


@dataclass(frozen=True)
class Case:
    """A row of the table. ``run`` executes it and returns findings."""

    id: str
    clause: str
    sends: str  # the request
    asks: str  # the required behaviour
    why: str  # the consequence if the application behaves otherwise
    run: "Callable[[Bench], Iterable[Finding]]"


@dataclass(frozen=True)
class Result:
    """The result of a case."""

    case: Case
    findings: list[Finding]
    requests: int
    seconds: float  # the slowest answer

    @property
    def verdict(self) -> str:
        """``ok``, ``choice`` or ``fail``."""
        kinds = {finding.kind for finding in self.findings}
        return "fail" if judge.Kind.FAIL in kinds else "choice" if judge.Kind.CHOICE in kinds else "ok"


class Bench:
    """The application under test and our users there.

    ``victim``'s session is attacked; ``bystander``'s session must never be affected.
    """

    def __init__(self, target: Target, provider: Provider, patience: float = PATIENCE) -> None:
        provider.for_client(target.client_id, target.client_secret)
        self.target, self.provider, self.patience = target, provider, patience
        self.wire = Wire(target.logout_url, target.ca_file)
        self.exchanges: list[Exchange] = []
        self._victim = Browser(target, provider, "alice")
        self._bystander = Browser(target, provider, "bob")
        self._case = ""

    # --- users ---

    def prepare(self) -> None:
        """The first logins. Raises :class:`SignInFailed`, with a message, if login does not work."""
        stranger = Browser(self.target, self.provider, "nobody")
        if stranger.signed_in():
            raise SignInFailed(
                f"{self.target.page_url} says that somebody is signed in who never was. Name a page whose status "
                "is 200 for people who are signed in only, or give a text that only they see (--signed-in-text)."
            )
        deadline = time.monotonic() + self.patience
        while True:
            try:
                self.victim()
                self.bystander()
            except SignInFailed:
                # It may have cached the keys of an earlier run, and limit how often it fetches new ones.
                if time.monotonic() > deadline:
                    raise
                time.sleep(min(1.0, self.patience))  # until the application fetches the keys again
            else:
                return

    def victim(self) -> Browser:
        """A user with an active session."""
        return signed_in(self._victim)

    def bystander(self) -> Browser:
        """Another user with an active session."""
        return signed_in(self._bystander)

    def newcomer(self, sub: str) -> Browser:
        """Another browser with an active session."""
        return signed_in(Browser(self.target, self.provider, sub))

    def tokens(self, browser: Browser | None = None) -> Tokens:
        """Creates tokens about the victim's session, or another one."""
        browser, provider = browser or self.victim(), self.provider
        return Tokens(
            issuer=provider.issuer,
            client_id=provider.client_id,
            client_secret=provider.client_secret,
            ring=provider.ring,
            sub=browser.sub,
            sid=browser.sid,
            id_token=provider.id_tokens.get(browser.sid, ""),
            access_token=provider.access_tokens.get(browser.sid, ""),
        )

    # --- requests ---

    def send(self, name: str, request: str | Request, timeout: float = TIMEOUT) -> Answer:
        """Send a request, or the logout request with this token, and record it."""
        whole = form(request) if isinstance(request, str) else request
        answer = self.wire.send(whole, timeout)
        self.exchanges.append(Exchange(self._case, name, whole, answer))
        return answer

    def take(self, step: Step) -> list[Finding]:
        """Send one request about the victim's session, and check whether the session ended."""
        victim = self.victim()
        answer = self.send(step.name, step.make(self.tokens(victim)))
        return judge.judge(step.name, step.expect, answer, alive=victim.signed_in())

    # --- cases ---

    def run(self, cases: Iterable[Case]) -> Iterator[Result]:
        """Each case's result, as soon as it is available."""
        for case in cases:
            self._case, before = case.id, len(self.exchanges)
            try:
                self.bystander()
                findings = [*case.run(self), *self._others()]
            except SignInFailed as error:
                findings = [judge.fail("login", str(error))]
            sent = self.exchanges[before:]
            yield Result(case, findings, len(sent), max((one.answer.seconds for one in sent), default=0.0))

    def _others(self) -> list[Finding]:
        """The bystander's session must stay active."""
        if self._bystander.signed_in():
            return []
        return [judge.fail("somebody else", "the session of a person whom no token was about has ended")]


def signed_in(browser: Browser) -> Browser:
    """``browser``, after a login if necessary."""
    if not browser.believed_in:
        browser.sign_in()
    return browser
