"""Error pages: what happened, whose setting is wrong, the exact value received, what to change."""

from flask import Response, make_response, render_template


def error_page(
    *,
    title: str,
    text: str,
    error: str = "invalid_request",
    facts: dict[str, str] | None = None,
    advice: str = "",
    offer_logout: bool = False,
    status: int = 400,
) -> Response:
    """A page of our own, where a redirect would go to an address we cannot trust (RFC 6749 §4.1.2.1).

    ``facts`` are values from the request; the template escapes them and they are shortened here.
    """
    shown = {name: value[:300] for name, value in (facts or {}).items()}
    body = render_template(
        "idp/error.html",
        error=error,
        title=title,
        text=text,
        facts=shown,
        advice=advice,
        offer_logout=offer_logout,
    )
    return make_response(body, status)
