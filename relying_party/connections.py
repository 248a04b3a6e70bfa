"""The HTTP connections to the provider. All threads share them; an idle connection is reused for one second."""

import socket
from time import monotonic
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests
from flask import has_app_context
from requests.adapters import HTTPAdapter

from relying_party.signals import request_sending, request_sent, send_signal

# A server may close an idle connection while a request is on its way; that request is lost (RFC 9112 §9.3.1).
# gunicorn has the shortest default time-out that we know: two seconds.
REUSE_SECONDS = 1.0


class Connections(HTTPAdapter):
    """Does not reuse a connection that the server may be about to close.

    Sends plain HTTP requests for ``*.localhost`` to the loopback address (RFC 6761 §6.3) if the resolver does not know
    the name. Browsers do the same; many resolvers do not. In a container network the name may be another container's,
    so the resolver comes first.
    """

    def __init__(self, *, reuse: bool = True) -> None:
        """Without ``reuse``, each request opens a new connection."""
        self._reuse, self._emptied_at = reuse, monotonic()
        super().__init__(pool_maxsize=32)

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        """Send the request, with its two signals (signals.py)."""
        if not request_sent.receivers or not has_app_context():
            return self._send(request, *args, **kwargs)
        send_signal(request_sending, request=request)
        try:
            response = self._send(request, *args, **kwargs)
        except Exception as error:
            send_signal(request_sent, request=request, response=None, error=error)
            raise
        send_signal(request_sent, request=request, response=response, error=None)
        return response

    def _send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        if not self._reuse or monotonic() - self._emptied_at >= REUSE_SECONDS:
            self._emptied_at = monotonic()
            self.close()  # closes idle connections only; requests of other threads continue
        parts = urlsplit(request.url or "")
        host = parts.hostname or ""
        if parts.scheme == "http" and host.endswith(".localhost") and not is_known(host):
            request.headers["Host"] = parts.netloc
            port = f":{parts.port}" if parts.port else ""
            request.url = urlunsplit(parts._replace(netloc="127.0.0.1" + port))
        return super().send(request, *args, **kwargs)


def is_known(host: str) -> bool:
    """Whether the resolver has an address for ``host``."""
    try:
        return bool(socket.getaddrinfo(host, None))
    except OSError:
        return False
