"""Error pages: what happened, whose setting is wrong, the exact value received, what to change."""

from collections.abc import Mapping

from flask import Response, make_response, render_template

from idp.sign_in.passwords import RETRY_AFTER, TooManyAtOnce

MAX_FACT = 300  # characters of a value that are shown


def error_page(
    *,
    title: str,
    text: str,
    error: str = "invalid_request",
    facts: dict[str, str] | None = None,
    advice: str = "",
    links: Mapping[str, str] | None = None,
    offer_logout: bool = False,
    status: int = 400,
) -> Response:
    """A page of our own, where a redirect would go to an address we cannot trust (RFC 6749 §4.1.2.1).

    ``text`` says what happened, ``advice`` who should change which setting. ``facts`` are the values of the
    request that are to blame, exactly as they came; the template escapes them. A page never tells what is
    registered, and never shows a token. ``links`` are further ways on, addresses by their labels; the way to our start
    page is always offered.
    """
    shown = {name: shortened(value) for name, value in (facts or {}).items()}
    body = render_template(
        "idp/error.html",
        error=error,
        title=title,
        text=text,
        facts=shown,
        advice=advice,
        links=links or {},
        offer_logout=offer_logout,
    )
    return make_response(body, status)


def too_many_passwords(_error: TooManyAtOnce) -> Response:
    """Wherever somebody adds, resets or changes a password."""
    response = error_page(
        error="temporarily_unavailable",
        title="Too many passwords are being checked at this moment",
        text="So yours was not looked at, and nothing was changed.",
        advice="Go back, and send the form again in a few seconds.",
        status=503,
    )
    response.headers["Retry-After"] = str(RETRY_AFTER)  # RFC 9110 §15.6.4
    return response


def shortened(value: str) -> str:
    """Enough of a value to recognise it."""
    if not value:
        return "(none)"
    return value if len(value) <= MAX_FACT else f"{value[:MAX_FACT]}… ({len(value)} characters)"


def too_late() -> Response:
    """A page of ours was sent that is too old, or that is not as we made it."""
    return error_page(
        title="This page was open for too long",
        text="It is valid for an hour and must come back unchanged. Nothing was done.",
        advice="Go back to the app you came from and start again.",
    )


def too_long(most: int) -> Response:
    """RFC 9110 §15.5.14: a request of more than ``most`` bytes."""
    return error_page(
        title="The app's request is too long",
        text=f"A request to this service may have {most:,} bytes. Nothing was done.",
        advice="The app's developer should keep what is large in the app, and send less.",
        status=413,
    )
