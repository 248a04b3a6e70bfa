"""``*.localhost`` is this machine: RFC 6761 §6.3, for programs whose C library does not know it.

Browsers and curl follow that rule, Python on plain Linux does not. The RFC wants no name server asked for these
names, and rightly: one that cannot be reached would hold up every logout for seconds. Only in a compose network
the resolver does know ``idp.localhost``, as the name of another container; there it is asked first. What it does
not know there is a program on the machine that runs the containers, as it is for the browser.
"""

import socket
from typing import Any

MACHINE = "host.docker.internal"  # what Docker calls it; docker-compose.services.yml makes it known on Linux, too

_ask_resolver = socket.getaddrinfo


def install(*, ask_resolver: bool = False) -> None:
    """From now on every connection of this process, whichever library makes it, knows the rule."""
    socket.getaddrinfo = resolve_as_container if ask_resolver else resolve


def resolve(host: Any, *args: Any, **kwargs: Any) -> Any:
    """``socket.getaddrinfo``, with the loopback for ``localhost`` and every name below it."""
    return _ask_resolver("127.0.0.1" if is_localhost_name(host) else host, *args, **kwargs)


def resolve_as_container(host: Any, *args: Any, **kwargs: Any) -> Any:
    """The same in a container, where a name below ``localhost`` is another container or the machine around it."""
    try:
        return _ask_resolver(host, *args, **kwargs)
    except socket.gaierror:
        if not is_localhost_name(host):
            raise
    try:
        return _ask_resolver(MACHINE, *args, **kwargs)
    except socket.gaierror:
        return resolve(host, *args, **kwargs)


def is_localhost_name(host: object) -> bool:
    """Whether ``host`` is ``localhost`` or a name below it."""
    name = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
    return name.rstrip(".").lower().rpartition(".")[2] == "localhost"
