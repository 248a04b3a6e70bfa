"""``*.localhost`` is this machine: RFC 6761 §6.3, for resolvers that do not know it.

Browsers and curl follow that rule, most C libraries do not. In a compose network the resolver
*does* know ``idp.localhost`` (it is the service's alias there), so the resolver is asked first.
"""

import socket
from typing import Any

_ask_resolver = socket.getaddrinfo


def install() -> None:
    """From now on every connection of this process, whichever library makes it, knows the rule."""
    socket.getaddrinfo = resolve


def resolve(host: Any, *args: Any, **kwargs: Any) -> Any:
    """``socket.getaddrinfo``, with the loopback for unknown names below ``.localhost``."""
    try:
        return _ask_resolver(host, *args, **kwargs)
    except socket.gaierror:
        if not is_localhost_name(host):
            raise
        return _ask_resolver("127.0.0.1", *args, **kwargs)


def is_localhost_name(host: object) -> bool:
    """Whether ``host`` is ``localhost`` or a name below it."""
    name = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
    return name.rstrip(".").lower().rpartition(".")[2] == "localhost"
