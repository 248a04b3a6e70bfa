"""Error pages. Each shows what happened, the exact value received, and which setting to change."""

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
    """An error page, used instead of a redirect to a URI that is not trusted (RFC 6749 §4.1.2.1).

    ``text`` says what happened, ``advice`` says who should change which setting. ``facts`` are the wrong values of the
    request, exactly as received; the template escapes them. A page never shows registered values or tokens. ``links``
    maps labels to URLs; the page always links to our start page, too.
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
    """Shown when a form that sets a password finds no free hashing place."""
    response = error_page(
        error="temporarily_unavailable",
        title="Too many passwords are being checked at this moment",
        text="Your form was not processed, and nothing was changed.",
        advice="Go back, and send the form again in a few seconds.",
        status=503,
    )
    response.headers["Retry-After"] = str(RETRY_AFTER)  # RFC 9110 §15.6.4
    return response


def shortened(value: str) -> str:
    """The value, cut to MAX_FACT characters."""
    if not value:
        return "(none)"
    return value if len(value) <= MAX_FACT else f"{value[:MAX_FACT]}… ({len(value)} characters)"


def too_late() -> Response:
    """A form or link of ours was used too late, or was changed."""
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
        advice="The app's developer should send less, and keep large values in the app.",
        status=413,
    )
