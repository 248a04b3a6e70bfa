"""Whether a logout request would reach an app: calls its back-channel logout URL with an invalid token."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from sqlalchemy.orm import Session

from idp.flow.delivery import post
from idp.operations.applications import get_application
from idp.outbox.http import in_background
from idp.provider import current_provider


@dataclass(frozen=True)
class Check:
    """The result. ``kind``: good, warn or bad."""

    reached: bool
    kind: str
    words: str


def check_backchannel(db: Session, client_id: str) -> Check:
    """Call the logout URL as a delivery would, with an invalid token. The app should answer 400 (BCL §2.8)."""
    client = get_application(db, client_id)
    if not client.backchannel_logout_uri:
        return Check(
            False, "warn", "The app has no back-channel logout URL, so it is not notified when a session ends."
        )
    outcome = in_background(
        post(
            current_provider().http,
            client.backchannel_logout_uri,
            "this.is.a-check",
            client.connect_timeout,
            client.read_timeout,
            client.ca_certificates,
        )
    ).result()
    if outcome.status is None:
        words = UNREACHED.get(outcome.word, outcome.word + ".")
        return Check(False, "bad", f"Not reached: {words}{in_a_container(client.backchannel_logout_uri)}")
    return judge(outcome.status, outcome.answer)


def in_a_container(uri: str) -> str:
    """How to make an app on this machine reachable from the container of the IdP; empty elsewhere."""
    host = urlsplit(uri).hostname or ""
    if not current_provider().settings.compose_network or host.rpartition(".")[2] != "localhost":
        return ""
    advice = "start the app with --host 0.0.0.0, or Pickup with make up MODE=local"
    if host == "localhost":
        advice = f"give it its own name, such as app.localhost, and {advice}"
    return f" The IdP runs in a container. To make the app reachable from there, {advice}."


UNREACHED = {
    "timeout": "nothing answered in time. A firewall may block the request, or the app may be too busy.",
    "name unknown": "the host name is unknown. Compare it with the app's address, letter by letter.",
    "connection refused": "nothing listens on that port. Is the app running?",
    "connection broken": "the connection broke before the app answered. Does that port use this protocol?",
    "private address": "the address is in the IdP's own network, which apps may not use.",
    "TLS": "the IdP does not trust its certificate. If you have your own certificate authority, paste "
    "its certificate under “CA certificates”.",
}  # fmt: skip


def judge(status: int, answer: str) -> Check:
    """What the app's answer to the invalid token means."""
    said = f" It said: “{answer}”" if answer else ""
    if status == 400:
        return Check(True, "good", f"Reached. It refused our invalid test token, as it should (400).{said}")
    if status in (200, 204):
        return Check(
            True, "warn", f"Reached, but it accepted an invalid test token ({status}). It does not seem to "
            "check logout tokens, so anyone could log its users out."
        )  # fmt: skip
    if 300 <= status < 400:
        return Check(
            True, "warn", f"Something answers, but redirects ({status}). A logout request follows no redirect: enter "
            "the address it leads to. Often it is the sign-in page of an app that protects its logout URL."
        )  # fmt: skip
    if status in (404, 405, 410, 501):
        return Check(
            True, "warn", f"Something answers, but takes no logout request at this path ({status}). Compare the path "
            "with the app's, letter by letter."
        )  # fmt: skip
    if status >= 500:
        return Check(True, "warn", f"Reached, but the app failed ({status}). Its log should say why.{said}")
    return Check(True, "warn", f"Something answers with {status}; a logout endpoint would say 400 to our test.{said}")
