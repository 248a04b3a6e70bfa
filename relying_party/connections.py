"""The connections to the provider: kept open, for all threads, and at home on this machine."""

import socket
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests
from requests.adapters import HTTPAdapter


class Connections(HTTPAdapter):
    """Knows that ``*.localhost`` is this machine (RFC 6761 §6.3), as browsers do and many resolvers do not.

    For demonstrations only, so for plain http only. The resolver is asked first: in a network of containers
    such a name may be another one's.
    """

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        """The request, to the loopback if it is for a name below ``.localhost`` that the resolver does not know."""
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
