"""Exits with 0 if the service at PICKUP_LISTEN (host:port) says that it is healthy.

Runs every few seconds in each container. It uses a socket, because an HTTP client takes longer to import.
"""

import os
import socket
import sys


def healthy(listen: str, seconds: float = 2) -> bool:
    """Whether ``GET /healthz`` returns 200."""
    host, _, port = listen.rpartition(":")
    if host == "0.0.0.0":  # noqa: S104 # compared, not opened
        host = "127.0.0.1"
    try:
        with socket.create_connection((host, int(port)), seconds) as peer:
            peer.sendall(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
            return peer.makefile("rb").readline().split(b" ")[1:2] == [b"200"]
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(not healthy(os.environ["PICKUP_LISTEN"]))
