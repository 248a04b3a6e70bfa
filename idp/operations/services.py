"""Whether the IdP can reach Pickup's own apps now."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urljoin

from idp.models import Client
from idp.outbox.http import FetchError, GuardedHttpClient, Request, in_background

SECONDS = 1.0  # to connect, and again to answer; a user waits for the page


@dataclass(frozen=True)
class Health:
    """The result of a health check. ``kind``: good or bad."""

    kind: str
    words: str


ANSWERS = Health("good", "answers")


def ask_all(http: GuardedHttpClient, clients: Sequence[Client]) -> list[Health]:
    """Call ``/healthz`` on the host of each client's start page, all at the same time."""
    asked = [in_background(ask(http, urljoin(client.home_url or "", "/healthz"))) for client in clients]
    return [one.result() for one in asked]


async def ask(http: GuardedHttpClient, url: str) -> Health:
    """Call one health check."""
    try:
        answer = await http.ask(Request(url, connect_seconds=SECONDS, answer_seconds=SECONDS))
    except FetchError as error:
        return Health("bad", f"not reached: {error}")
    return ANSWERS if answer.status == 200 else Health("bad", f"answers {answer.status}")
