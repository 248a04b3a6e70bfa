"""Addresses that we send a browser to."""

from collections.abc import Iterable
from urllib.parse import urlencode


def with_parameters(address: str, parameters: Iterable[tuple[str, str]], *, fragment: bool = False) -> str:
    """``address``, every character as it was registered, with ``parameters`` behind it (RFC 6749 §3.1.2).

    Taking its query apart and writing it anew would turn ``%20`` into ``+`` and ``?a`` into ``?a=``.
    """
    if fragment:
        return f"{address}#{urlencode(list(parameters))}"
    return f"{address}{'&' if '?' in address else '?'}{urlencode(list(parameters))}"
