"""Front-Channel Logout 1.0 (FCL): the page after a logout asks the browser to load a frame of each app.

Only apps that registered a ``frontchannel_logout_uri`` get a frame; without such an app there is no page. Best effort:
the IdP cannot see whether a frame was loaded, or whether the browser sent the app's cookie with it (FCL §4.1). The back
channel (flow/session_ending.py) neither waits for the frames nor depends on them.
"""

from collections.abc import Sequence
from typing import NamedTuple

from flask import Response, make_response, render_template
from sqlalchemy import select

from idp.addresses import with_parameters
from idp.models import Client, Participation
from idp.outbox.reasons import policy_of
from idp.provider import current_provider
from pickup_web import events
from pickup_web.database import db
from pickup_web.security import content_security_policy


class Frame(NamedTuple):
    """The frame of one app."""

    client_id: str
    app: str
    url: str


def frames_of(sid: str, initiator: Client | None = None) -> list[Frame]:
    """A frame for each app of this ended session that registered an address. Records which apps that are."""
    registered = Client.frontchannel_logout_uri.is_not(None) & Client.removed_at.is_(None)
    apps = select(Client).join(Participation, Participation.client_id == Client.client_id)
    clients = db.session.scalars(apps.where(Participation.sid == sid, registered).order_by(Client.name))
    default_policy = current_provider().settings.delete_tokens_on_logout
    frames = [
        Frame(client.client_id, client.name, logout_url(client, sid))
        for client in clients
        if policy_of(client, default_policy) != "none"  # such an app is not told of logouts, on neither channel
        and (client.notify_initiator or initiator is None or client.client_id != initiator.client_id)
    ]
    if frames:
        asked = "op.frontchannel_logout.requested"
        events.record_all(
            db.session,
            ({"name": asked, "sid": sid, "client_id": frame.client_id, "outcome": frame.url} for frame in frames),
        )
        db.session.commit()
    return frames


def logout_url(client: Client, sid: str) -> str:
    """FCL §2: iss and sid, or neither; with ``frontchannel_logout_session_required`` both MUST be included."""
    address = client.frontchannel_logout_uri or ""
    if not client.frontchannel_logout_session_required:
        return address
    return with_parameters(address, [("iss", current_provider().issuer), ("sid", sid)])


def page(frames: Sequence[Frame], target: str) -> Response:
    """The frames, loaded side by side (FCL §3); then the browser continues to ``target``."""
    return allow(make_response(render_template("idp/frontchannel.html", frames=frames, target=target)), frames)


def allow(response: Response, frames: Sequence[Frame]) -> Response:
    """Let this page, and no other, show frames of exactly these apps."""
    if frames:
        policy = content_security_policy([], frames=[frame.url for frame in frames])
        response.headers["Content-Security-Policy"] = policy
    return response
