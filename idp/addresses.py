"""Builds the URLs of redirects."""

from collections.abc import Iterable
from urllib.parse import urlencode


def with_parameters(address: str, parameters: Iterable[tuple[str, str]], *, fragment: bool = False) -> str:
    """``address`` with ``parameters`` appended; its own query is kept unchanged (RFC 6749 §3.1.2).

    Parsing the query and encoding it again would turn ``%20`` into ``+`` and ``?a`` into ``?a=``.
    """
    if fragment:
        return f"{address}#{urlencode(list(parameters))}"
    return f"{address}{'&' if '?' in address else '?'}{urlencode(list(parameters))}"
