"""The connections to the provider: shared by all threads, used again for a second, and at home on this machine."""

import socket
from time import monotonic
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests
from requests.adapters import HTTPAdapter

# A server closes a connection that is idle, and loses a request that is sent in that moment (RFC 9112 §9.3.1). The
# shortest default known to us is gunicorn's: two seconds.
REUSE_SECONDS = 1.0


class Connections(HTTPAdapter):
    """Does not use a connection again that a server may be about to close.

    Knows that ``*.localhost`` is this machine (RFC 6761 §6.3), as browsers do and many resolvers do not. For
    demonstrations only, so for plain http only. The resolver is asked first: in a network of containers such a name
    may be another one's.
    """

    def __init__(self, *, reuse: bool = True) -> None:
        """Without ``reuse`` each request has a connection of its own."""
        self._reuse, self._emptied_at = reuse, monotonic()
        super().__init__(pool_maxsize=32)

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        """The request, to the loopback if it is for a name below ``.localhost`` that the resolver does not know."""
        if not self._reuse or monotonic() - self._emptied_at >= REUSE_SECONDS:
            self._emptied_at = monotonic()
            self.close()  # the idle connections; requests under way in other threads are not affected
        parts = urlsplit(request.url or "")
        host = parts.hostname or ""
        if parts.scheme == "http" and host.endswith(".localhost") and not is_known(host):
            request.headers["Host"] = parts.netloc
            port = f":{parts.port}" if parts.port else ""
            request.url = urlunsplit(parts._replace(netloc="127.0.0.1" + port))
        return super().send(request, *args, **kwargs)


def is_known(host: str) -> bool:
    """Whether the resolver has an address for it."""
    try:
        return bool(socket.getaddrinfo(host, None))
    except OSError:
        return False
