"""OpenTelemetry spans for the IdP's requests to apps."""

from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from idp.outbox.http import Answer, GuardedHttpClient, Request
from pickup_web import trace


@dataclass(frozen=True)
class TracedHttpClient(GuardedHttpClient):
    """Makes its requests with ``inner``."""

    inner: GuardedHttpClient = field(kw_only=True)

    async def ask(self, request: Request) -> Answer:
        """Send the request with the ``traceparent`` of its span."""
        method = "GET" if request.form is None else "POST"
        with trace.outgoing(method, urlsplit(request.url).netloc) as span:
            answer = await self.inner.ask(replace(request, traceparent=span.traceparent))
            span.end(answer.status)
            return answer


def traced(http: GuardedHttpClient) -> GuardedHttpClient:
    """The same client with spans, if they are wanted."""
    if not trace.is_wanted():
        return http
    return TracedHttpClient(http.allow_plain_http, http.allow_private_addresses, http.ca_bundle, inner=http)
