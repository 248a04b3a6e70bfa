"""What the IdP records of the protocol with the demo switch on: these endpoints, and its requests to apps."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from flask import Flask, Response, request

from idp.authorization.pending import Pending
from idp.outbox.http import Answer, GuardedHttpClient, Request
from idp.tokens.token_store import find_access_token
from idp.tokens.userinfo import bearer_tokens
from pickup_web import message_shape as shape
from pickup_web import messages, trace
from pickup_web.message_row import Note
from pickup_web.messages import Recorder
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
    """Records its requests with these methods, each as the kind that ``kinds`` gives."""

    recorder: Recorder = field(kw_only=True)
    kinds: Mapping[str, str] = field(kw_only=True)

    async def ask(self, request: Request) -> Answer:
        """Send the request with a ``traceparent``, and record it."""
        method = "GET" if request.form is None else "POST"
        if (kind := self.kinds.get(method)) is None:
            return await super().ask(request)
        span = trace.span_in(request.traceparent) or trace.new_span()
        request = replace(request, traceparent=trace.traceparent(span))
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
    """Returns the client for logout requests and the client for apps' keys. With the demo switch on, both record."""
    if not settings.demo_events:
        return http, http
    recorder = messages.init_app(app, "idp", settings.idp_url, KINDS, known)
    return recording(http, recorder, {"POST": "backchannel_logout"}), recording(http, recorder, {"GET": "jwks"})


def recording(http: GuardedHttpClient, recorder: Recorder, kinds: Mapping[str, str]) -> GuardedHttpClient:
    """The same client, recording. Other methods are health checks and documents of a registration."""
    return RecordingHttpClient(
        http.allow_plain_http, http.allow_private_addresses, http.ca_bundle, recorder=recorder, kinds=kinds
    )


def known(response: Response) -> Mapping[str, str | None]:
    """The authorization request that continues here, or the client whose access token was sent."""
    if request.endpoint == "userinfo":
        token = next((found for value in bearer_tokens() if (found := find_access_token(value))), None)
        return {"client_id": token.client_id, "sid": token.sid, "sub": token.sub} if token else {}
    if request.endpoint in ("sign_in", "answer_consent"):
        pending = Pending.read(vars(request).get("form", {}).get("request", ""))
    elif request.endpoint == "authorize" and "resume" in request.args and "Location" not in response.headers:
        pending = Pending.read(request.args["resume"])
    else:
        return {}
    return {name: pending.parameters.get(name) for name in ("state", "client_id")} if pending else {}
