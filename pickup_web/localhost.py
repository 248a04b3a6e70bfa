"""``*.localhost`` is this machine: RFC 6761 §6.3, for programs whose C library does not implement it.

Browsers and curl implement the rule, Python on Linux does not. The RFC forbids asking name servers for these
names: an unreachable one would delay every logout by seconds. The exception is a compose network, whose
resolver knows ``idp.localhost`` as the name of another container, so it is asked first. Names it does not know
are programs on the Docker host, as they are for the browser.
"""

import socket
from typing import Any

MACHINE = "host.docker.internal"  # Docker's name for its host; docker-compose.services.yml defines it on Linux too

system_resolver = socket.getaddrinfo  # before install() replaces it


def install(*, ask_resolver: bool = False) -> None:
    """Apply the rule to every later connection of this process, whichever library makes it."""
    socket.getaddrinfo = resolve_as_container if ask_resolver else resolve


def resolve(host: Any, *args: Any, **kwargs: Any) -> Any:
    """``socket.getaddrinfo``, with the loopback for ``localhost`` and every name below it."""
    return system_resolver("127.0.0.1" if is_localhost_name(host) else host, *args, **kwargs)


def resolve_as_container(host: Any, *args: Any, **kwargs: Any) -> Any:
    """The same in a container, where a name below ``localhost`` is another container or the Docker host."""
    try:
        return system_resolver(host, *args, **kwargs)
    except socket.gaierror:
        if not is_localhost_name(host):
            raise
    try:
        return system_resolver(MACHINE, *args, **kwargs)
    except socket.gaierror:
        return resolve(host, *args, **kwargs)


def is_localhost_name(host: object) -> bool:
    """Whether ``host`` is ``localhost`` or a name below it."""
    name = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
    return name.rstrip(".").lower().rpartition(".")[2] == "localhost"
