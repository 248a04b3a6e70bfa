"""What the IdP records of the protocol in the demonstration: these endpoints, and its requests to apps."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from flask import Flask, Response, request

from idp.authorization.pending import Pending
from idp.outbox.http import Answer, GuardedHttpClient, Request
from pickup_web import message_shape as shape
from pickup_web import messages
from pickup_web.messages import Note, Recorder
from pickup_web.settings import Settings

# fmt: off
KINDS = {
    "discovery":      "discovery",
    "jwks":           "jwks",
    "register":       "registration",
    "manage":         "registration",
    "authorize":      "authorization_request",
    "login_page":     "sign_in_page",
    "sign_in":        "sign_in",
    "answer_consent": "consent",
    "token":          "token_request",
    "userinfo":       "userinfo",
    "introspect":     "introspection",
    "revoke":         "revocation",
    "end_session":    "logout_request",
    "confirm":        "logout_confirmation",
}
# fmt: on


@dataclass(frozen=True)
class RecordingHttpClient(GuardedHttpClient):
    """Records its requests of these methods, each under the name of its kind."""

    recorder: Recorder = field(kw_only=True)
    kinds: Mapping[str, str] = field(kw_only=True)

    async def ask(self, request: Request) -> Answer:
        """The request, with its place in the trace."""
        method = "GET" if request.form is None else "POST"
        if (kind := self.kinds.get(method)) is None:
            return await super().ask(request)
        span = messages.new_span()
        request = replace(request, traceparent=messages.traceparent(span))
        note = Note(kind, "out", "idp", None, method, request.url, span, request_body=request.form)
        note.request_headers = {"traceparent": request.traceparent, "user-agent": request.user_agent}
        if request.form is not None:
            note.request_headers["content-type"] = "application/x-www-form-urlencoded"
        try:
            answer = await super().ask(request)
            note.status, note.response_body = answer.status, answer.body
            note.response_headers = shape.chosen(answer.headers, shape.RESPONSE_HEADERS)
        except Exception as error:
            note.error = str(error)
            raise
        finally:
            note.end()
            self.recorder.add(note)
        return answer


def init_app(app: Flask, settings: Settings, http: GuardedHttpClient) -> tuple[GuardedHttpClient, GuardedHttpClient]:
    """With the demo switch on, record what ``app`` receives and sends. Returns two clients: one fetches apps' keys."""
    if not settings.demo_events:
        return http, http
    recorder = messages.init_app(app, "idp", settings.idp_url, KINDS, known)
    return recording(http, recorder, {"POST": "backchannel_logout"}), recording(http, recorder, {"GET": "jwks"})


def recording(http: GuardedHttpClient, recorder: Recorder, kinds: Mapping[str, str]) -> GuardedHttpClient:
    """The same client, recorded. The other methods are health checks and documents of a registration."""
    return RecordingHttpClient(
        http.allow_plain_http, http.allow_private_addresses, http.ca_bundle, recorder=recorder, kinds=kinds
    )


def known(response: Response) -> Mapping[str, str | None]:
    """Which authorization request continues here: the form and the address carry it along, signed."""
    if request.endpoint in ("sign_in", "answer_consent"):
        pending = Pending.read(vars(request).get("form", {}).get("request", ""))
    elif request.endpoint == "authorize" and "resume" in request.args and "Location" not in response.headers:
        pending = Pending.read(request.args["resume"])
    else:
        return {}
    return {name: pending.parameters.get(name) for name in ("state", "client_id")} if pending else {}
