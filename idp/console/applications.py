"""Applications: list, register, edit, check, remove."""

import re
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from flask import flash, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import func, select

from idp.console.application_form import (
    MAIN,
    METHODS,
    MORE,
    PKCE_SETTINGS,
    POLICIES,
    fields,
    filled_in,
    first_values,
    values_of,
)
from idp.console.parts import ROWS, Page, ask, done
from idp.models import Client, Delivery, Participation, SsoSession, hash_of
from idp.operations import InvalidError, applications
from idp.operations.backchannel_check import check_backchannel
from idp.outbox.ledger import GIVE_UP_SECONDS
from idp.outbox.reasons import policy_of, why_not_told
from idp.provider import current_provider
from pickup_web.database import db
from pickup_web.forms import Form
from pickup_web.words import many

SEED = Path(__file__).parent.with_name("seed.toml")
SEEDED = {client["client_id"] for client in tomllib.loads(SEED.read_text("utf-8"))["clients"]}
Made = TypeVar("Made")

# --- the pages ---


def show_all() -> str:
    """``GET /console/applications?search=``."""
    search, page = request.args.get("search", "").strip(), Page()
    found = applications.list_applications(db.session, search)
    page.total = len(found)
    rows = found[page.offset : page.offset + ROWS]
    return render_template(
        "console/applications.html",
        rows=rows,
        page=page,
        search=search,
        sessions=active_sessions(rows),
        policy=current_provider().settings.delete_tokens_on_logout,
        policy_of=policy_of,
    )


def register() -> ResponseReturnValue:
    """``GET /console/applications/register`` → the form; ``POST`` → the application and its secret, shown only once."""
    if request.method != "POST":
        return form_page(filled_in(fields(is_new=True), first_values()))
    form = Form.read(fields(is_new=True), request.form)
    made = attempt(form, lambda: applications.register_application(db.session, values_of(form), g.person.username))
    if made is None:
        return form_page(form), 422
    client, secret = made
    return render_template("console/registered.html", **about(client), secret=secret), 201


def show(client_id: str) -> str:
    """``GET /console/applications/ID``."""
    client = applications.get_application(db.session, client_id)
    active = active_sessions([client]).get(client_id, 0)
    policy = current_provider().settings.delete_tokens_on_logout
    recent = select(Delivery.state, func.count()).where(Delivery.client_id == client_id).group_by(Delivery.state)
    return render_template(
        "console/application.html",
        **about(client),
        active=active,
        lacked_pkce_at=applications.first_refusal_without_pkce(db.session, client),
        is_seeded=client_id in SEEDED,
        told=dict(db.session.execute(recent).all()),
        policy=POLICIES[policy_of(client, policy)],
        is_own_policy=client.delete_tokens_on_logout is not None,
        why_not=why_not_told(client, policy),
        retry_seconds=GIVE_UP_SECONDS if client.retry_seconds is None else client.retry_seconds,
    )


def edit(client_id: str) -> ResponseReturnValue:
    """``GET /console/applications/ID/edit`` → the form; ``POST`` → saves it."""
    client = applications.get_application(db.session, client_id)
    if request.method != "POST":
        return form_page(filled_in(fields(is_new=False), applications.values_of(client)), client)
    had_secret = client.secret_hash is not None
    form = Form.read(fields(is_new=False), request.form)
    by, seen = g.person.username, request.form.get("version", "")
    if attempt(form, lambda: applications.edit_application(db.session, client_id, values_of(form), by, seen)) is None:
        return form_page(form, client), 422
    if applications.has_secret(client) and not had_secret:
        flash(f"{client.name} has no secret yet and cannot sign anyone in. Make one with “New secret”.", "warn")
    return done(f"Saved {client.name}.", "console.application", client_id=client_id)


def check(client_id: str) -> ResponseReturnValue:
    """``POST /console/applications/ID/check``: calls its logout URL."""
    result = check_backchannel(db.session, client_id)
    flash(result.words, result.kind)
    return redirect(url_for("console.application", client_id=client_id), 303)


def renew_secret(client_id: str) -> ResponseReturnValue:
    """``GET /console/applications/ID/secret`` → asks; ``POST`` → a new secret, shown only once."""
    client = applications.get_application(db.session, client_id)
    if request.method != "POST":
        text = (
            "The old secret stops working immediately. Users cannot sign in to the app until the new one "
            "is in its settings. Active sessions continue."
        )
        keep = url_for("console.application", client_id=client_id)
        return ask(f"Make a new secret for {client.name}?", text, "Make a new secret", keep)
    secret = applications.renew_secret(db.session, client_id, g.person.username)
    return render_template("console/registered.html", **about(client), secret=secret, is_renewed=True)


def remove(client_id: str) -> ResponseReturnValue:
    """``GET /console/applications/ID/remove`` → asks; ``POST`` → removes it."""
    client = applications.get_application(db.session, client_id)
    if request.method == "POST":
        told = applications.remove_application(db.session, client_id, g.person.username)
        what = f"It was notified of the end of {many(told, 'session')}." if told else "No logout request was sent."
        return done(f"Removed {client.name}. {what}", "console.applications")
    active = active_sessions([client]).get(client_id, 0)
    why_not = why_not_told(client, current_provider().settings.delete_tokens_on_logout)
    told_words = f"not notified: {why_not}" if why_not else "notified immediately"
    facts = {
        "Its active sessions": f"{active}; {told_words}" if active else "none",
        "Its tokens": "all revoked, offline access too",
        "Sessions of its users": "continue here and in their other apps",
        "Client ID": f"{client_id}, never used again",
    }
    text = "Users will no longer be able to sign in to it. This cannot be undone."
    keep = url_for("console.application", client_id=client_id)
    return ask(f"Remove {client.name}?", text, f"Remove {client.name}", keep, facts=facts)


def form_page(form: Form, client: Client | None = None) -> str:
    """The form to register an application or, with ``client``, to edit it."""
    known = {field.name for field in form.fields}
    return render_template(
        "console/application_form.html",
        form=form,
        known=known,
        main=MAIN,
        more=MORE,
        client=client,
        pkce_settings=PKCE_SETTINGS,
        version=request.form.get("version") or (applications.version_of(client) if client else ""),
        is_seeded=client is not None and client.client_id in SEEDED,
        other_errors=[sentence for name, sentence in form.errors.items() if name not in known],
    )


def attempt(form: Form, operation: Callable[[], Made]) -> Made | None:
    """The result of the operation; None if the form is invalid, with the errors in the form."""
    if form.errors:
        return None
    try:
        return operation()
    except InvalidError as error:
        form.errors.update(error.fields)
        return None


def about(client: Client) -> dict[str, Any]:
    """What the pages show about an application."""
    return {
        "client": client,
        "issuer": current_provider().issuer,
        "base_url": base_url(client),
        "is_plain_http": current_provider().issuer.startswith("http:"),
        "method": METHODS.get(client.token_endpoint_auth_method, client.token_endpoint_auth_method),
        "has_secret": applications.has_secret(client),
        "secret_setting": secret_setting(client),
        "pkce_settings": PKCE_SETTINGS,
        "registered_itself": client.registration_token_hash is not None,
    }


def secret_setting(client: Client) -> str:
    """The environment variable that sets the client's current secret; empty if it was generated here."""
    name = f"{client.client_id.removeprefix('pickup-')}_client_secret"
    secret = getattr(current_provider().settings, name, None)
    is_from_there = secret is not None and client.secret_hash == hash_of(secret.get_secret_value())
    return f"PICKUP_{name.upper()}" if is_from_there else ""


def base_url(client: Client) -> str:
    """The application's base URL, guessed from its first redirect URI."""
    return re.sub(r"/oauth2client$|(?<=[^/:])/.*$", "", (client.redirect_uris or [""])[0].partition("?")[0])


def active_sessions(clients: Sequence[Client]) -> dict[str, int]:
    """The number of active sessions each client takes part in."""
    alive = select(Participation.client_id, func.count()).join(SsoSession, SsoSession.sid == Participation.sid)
    alive = alive.where(SsoSession.ended_at.is_(None), Participation.client_id.in_([one.client_id for one in clients]))
    return dict(db.session.execute(alive.group_by(Participation.client_id)).all())
