"""Applications: who may sign people in here, where they are answered, and where they are told of a logout."""

import json
import secrets
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import flash, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import func, select

from idp.console.parts import Page, ROWS, ask, done, many
from idp.models import Client, Delivery, Participation, SsoSession
from idp.operations import InvalidError, applications
from idp.session_ending import GIVE_UP_SECONDS, policy_of, why_not_told
from idp.state import current_state
from pickup_web.database import db
from pickup_web.forms import Field, Form, Wrong, decimal, is_ticked, number, optional

METHODS = {
    "client_secret_basic": "A secret, in the Authorization header (client_secret_basic), as most libraries do",
    "client_secret_post": "A secret, in the form (client_secret_post)",
    "private_key_jwt": "A key of its own (private_key_jwt): give the key under “More settings”",
    "none": "Not at all: a public client, such as an app in a browser or on a phone; it must use PKCE",
}
POLICIES = {
    "none": "none: keep all tokens, and send no logout request",
    "session": "session: the session's tokens die, offline access stays",
    "all": "all: every token of the session dies, offline access too",
}
FLOWS = {
    "code": "code: the usual one",
    "code id_token": "code id_token",
    "code token": "code token",
    "code id_token token": "code id_token token",
    "id_token": "id_token: without a code, so the app is not told of logouts",
    "id_token token": "id_token token: without a code, so the app is not told of logouts",
}
GRANTS = {
    "refresh_token": "Renew its tokens (refresh_token)",
    "client_credentials": "Act for itself, without a person (client_credentials), such as a script for the admin API",
}
SEED = Path(__file__).parent.with_name("seed.toml")
SEEDED = {client["client_id"] for client in tomllib.loads(SEED.read_text("utf-8"))["clients"]}
ALGORITHMS = ("RS256", "ES256", "EdDSA")


@dataclass(frozen=True)
class Group:
    """Some fields of the form, under one heading."""

    title: str
    about: str
    fields: Sequence[Field]


# --- the form: each field's words, and how its text becomes the value that operations/applications.py checks ---


def as_typed(given: str) -> str:
    """The text itself; its rules are in one place, and not here."""
    return given


def lines(given: str) -> list[str]:
    """One value a line."""
    return given.splitlines()


def json_object(given: str) -> dict[str, Any]:
    """Such as a JWK Set."""
    try:
        value = json.loads(given)
    except (ValueError, RecursionError) as error:
        raise Wrong("This is not JSON.") from error
    if not isinstance(value, dict):
        raise Wrong("This is not a JSON object.")
    return value


def groups() -> list[Group]:
    """The whole form. What most applications need comes first; the rest is good as it is."""
    default = current_state().settings.delete_tokens_on_logout
    policies = [("", f"The provider's: {default}"), *POLICIES.items()]
    return [
        Group("The application", "", [
            Field("client_name", "Name", as_typed, "As people know it. They see it when they sign in, for example: "
                  "Fleet Radio"),
            Field("home_url", "Start page", optional(as_typed), "Where people open it; the sign-in service links to it. "
                  "For example: http://radio.localhost:8090/", kind="url", optional=True),
        ]),
        Group("Signing in", "The app sends people here, and they come back to it with a code.", [
            Field("redirect_uris", "Redirect URIs", lines, "The app's callback addresses, one a line. They are compared "
                  "letter by letter with what the app sends. For example: http://radio.localhost:8090/oauth2client",
                  kind="textarea"),
            Field("token_endpoint_auth_method", "How it proves who it is", as_typed, "When it exchanges the code for "
                  "tokens. An app on a server can keep a secret.", kind="select", choices=list(METHODS.items())),
            Field("scope", "Scopes", as_typed, "What it may ask for at most, with spaces in between. Of the person: "
                  "profile, email, phone, address. To go on without them: offline_access. Or scopes of your own APIs. "
                  "For example: openid profile email"),
        ]),
        Group("Signing out", "When a session ends here, each of its apps is told, server to server.", [
            Field("backchannel_logout_uri", "Back-channel logout URL", optional(as_typed), "Where this server posts the "
                  "logout token. This server must be able to reach it; no browser is involved. Without it, the app is "
                  "not told. For example: http://radio.localhost:8090/bclogout", kind="url", optional=True),
            Field("post_logout_redirect_uris", "Post-logout redirect URIs", lines, "Where the app may send people after "
                  "they logged out, one a line. For example: http://radio.localhost:8090/logged-out", kind="textarea",
                  optional=True),
            Field("delete_tokens_on_logout", "Delete tokens on logout", optional(as_typed), "Which of its tokens die "
                  "with a session.", kind="select", choices=policies, optional=True),
        ]),
    ]  # fmt: skip


def more() -> list[Group]:
    """What is good as it is."""
    return [
        Group("Identity", "", [
            Field("client_id", "Client ID", as_typed, "Its name in the protocol. It cannot be changed later. For "
                  "example: fleet-radio"),
            Field("jwks_uri", "Address of its public keys", optional(as_typed), "For private_key_jwt and signed "
                  "requests. For example: https://radio.example/jwks.json", kind="url", optional=True),
            Field("jwks", "Its public keys", optional(json_object), "A JWK Set, instead of their address.",
                  kind="textarea", optional=True),
        ]),
        Group("Tokens", "", [
            Field("response_types", "Flows (response types)", lines, kind="checkboxes", choices=list(FLOWS.items())),
            Field("grant_types", "It may also", lines, kind="checkboxes", choices=list(GRANTS.items())),
            Field("require_pkce", "It must use PKCE", is_ticked, "Protects the code on its way. Take the tick away only "
                  "for an app whose library cannot.", kind="checkbox"),
            Field("id_token_signed_response_alg", "Signing algorithm", as_typed, "Of its ID tokens and logout tokens. "
                  "Every library knows RS256.", kind="select", choices=[(alg, alg) for alg in ALGORITHMS]),
            Field("may_introspect", "It is an API", is_ticked, "It receives access tokens of other apps, and may ask "
                  "whether they are still good.", kind="checkbox"),
        ]),
        Group("The logout request", "", [
            Field("backchannel_logout_session_required", "It needs the session's name (sid)", is_ticked, "Logout tokens "
                  "of this provider always have sid and sub.", kind="checkbox"),
            Field("tell_logout_reason", "Tell it why", is_ticked, "The logout token says why the session ended, and "
                  "may name another app: for your own apps only.", kind="checkbox"),
            Field("connect_timeout", "Connect timeout, seconds", decimal, "How long it may take to accept a connection.",
                  kind="text"),
            Field("read_timeout", "Read timeout, seconds", decimal, "How long it may take to answer.", kind="text"),
            Field("retry_seconds", "Retry deadline, seconds", optional(number(0, 999_999_999)), "How long it is tried "
                  f"again while it is away. Empty: {GIVE_UP_SECONDS}, which is {GIVE_UP_SECONDS // 3600} hours.",
                  optional=True),
            Field("ca_certificates", "CA certificates", optional(as_typed), "PEM. Whom to trust for the app's own "
                  "certificate, when its authority is your own: -----BEGIN CERTIFICATE----- …", kind="textarea",
                  optional=True),
        ]),
    ]  # fmt: skip


def first_values() -> dict[str, Any]:
    """What stands in the form of a new application."""
    return {
        "client_id": secrets.token_urlsafe(9).lstrip("-_") or "app",
        "scope": "openid profile email",
        "response_types": ["code"],
        "grant_types": ["refresh_token"],
        "require_pkce": True,
        "backchannel_logout_session_required": True,
        "connect_timeout": 2.0,
        "read_timeout": 5.0,
    }


def fields_of(form_groups: Sequence[Group]) -> list[Field]:
    """The fields of all groups."""
    return [field for group in form_groups for field in group.fields]


def in_the_form(fields: Sequence[Field], values: dict[str, Any]) -> Form:
    """A form that shows these values."""
    given = {}
    for field in fields:
        value = values.get(field.name)
        if isinstance(value, dict):
            value = json.dumps(value, indent=2)
        elif isinstance(value, list):
            value = "\n".join(value)
        given[field.name] = "" if value in (None, False) else f"{value:g}" if isinstance(value, float) else value
    return Form(fields, given)


def read(fields: Sequence[Field]) -> tuple[Form, dict[str, Any]]:
    """The form that was sent, and its values by the names of operations/applications.py."""
    form = Form.read(fields, request.form)
    values = dict(form.values)
    # Registration §2: the other grants follow from the flows.
    flows = [set(flow.split()) for flow in values.get("response_types", [])]
    needed = ["authorization_code"] if any("code" in flow for flow in flows) else []
    needed += ["implicit"] if any(flow - {"code"} for flow in flows) else []
    values["grant_types"] = [*needed, *values.get("grant_types", [])]
    return form, values


def attempt(form: Form, operation: Any) -> Any:
    """What the operation returns; None when something is wrong, and the form says what."""
    if form.errors:
        return None
    try:
        return operation()
    except InvalidError as error:
        form.errors.update(error.fields)
        return None


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
        sessions=living_sessions(rows),
        policy=current_state().settings.delete_tokens_on_logout,
        policy_of=policy_of,
    )


def register() -> ResponseReturnValue:
    """``GET /console/applications/register`` → the form; ``POST`` → the application, and its secret, this once."""
    fields = fields_of([*groups(), *more()])
    if request.method == "GET":
        return form_page(in_the_form(fields, first_values()))
    form, values = read(fields)
    made = attempt(form, lambda: applications.register_application(db.session, values, g.person.username))
    if made is None:
        return form_page(form), 422
    client, secret = made
    return render_template("console/registered.html", **about(client), secret=secret), 201


def show(client_id: str) -> str:
    """``GET /console/applications/ID``."""
    client = applications.get_application(db.session, client_id)
    living = living_sessions([client]).get(client_id, 0)
    policy = current_state().settings.delete_tokens_on_logout
    recent = select(Delivery.state, func.count()).where(Delivery.client_id == client_id).group_by(Delivery.state)
    return render_template(
        "console/application.html",
        **about(client),
        living=living,
        is_seeded=client_id in SEEDED,
        told={state: count for state, count in db.session.execute(recent)},
        policy=POLICIES[policy_of(client, policy)],
        is_own_policy=client.delete_tokens_on_logout is not None,
        why_not=why_not_told(client, policy),
        retry_seconds=GIVE_UP_SECONDS if client.retry_seconds is None else client.retry_seconds,
    )


def edit(client_id: str) -> ResponseReturnValue:
    """``GET /console/applications/ID/edit`` → the form; ``POST`` → what is in it holds from now on."""
    client = applications.get_application(db.session, client_id)
    fields = [field for field in fields_of([*groups(), *more()]) if field.name != "client_id"]
    if request.method == "GET":
        return form_page(in_the_form(fields, applications.values_of(client)), client)
    had_secret = client.secret_hash is not None
    form, values = read(fields)
    if attempt(form, lambda: applications.edit_application(db.session, client_id, values, g.person.username)) is None:
        db.session.rollback()
        return form_page(form, applications.get_application(db.session, client_id)), 422
    if applications.has_secret(client) and not had_secret:
        flash(f"{client.name} has no secret yet and cannot sign anybody in: make one with “New secret”.", "warn")
    return done(f"Saved {client.name}.", "console.application", client_id=client_id)


def check(client_id: str) -> ResponseReturnValue:
    """``POST /console/applications/ID/check``: whether a logout request would reach it."""
    result = applications.check_backchannel(db.session, client_id)
    flash(result.words, result.kind)
    return redirect(url_for("console.application", client_id=client_id), 303)


def renew_secret(client_id: str) -> ResponseReturnValue:
    """``GET /console/applications/ID/secret`` → asks; ``POST`` → another secret, shown this once."""
    client = applications.get_application(db.session, client_id)
    if request.method == "GET":
        text = (
            "The old one is worth nothing from that moment on: nobody can sign in to the app until the new one "
            "is in its settings. Sessions that live are not touched."
        )
        keep = url_for("console.application", client_id=client_id)
        return ask(f"Make a new secret for {client.name}?", text, "Make a new secret", keep)
    secret = applications.new_secret(db.session, client_id, g.person.username)
    return render_template("console/registered.html", **about(client), secret=secret, is_renewed=True)


def remove(client_id: str) -> ResponseReturnValue:
    """``GET /console/applications/ID/remove`` → what will happen; ``POST`` → it has."""
    client = applications.get_application(db.session, client_id)
    if request.method == "POST":
        told = applications.remove_application(db.session, client_id, g.person.username)
        what = f"{many(told, 'session')} of it {'was' if told == 1 else 'were'} told." if told else "Nobody had to be told."
        return done(f"Removed {client.name}. {what}", "console.applications")
    living = living_sessions([client]).get(client_id, 0)
    why_not = why_not_told(client, current_state().settings.delete_tokens_on_logout)
    told_words = f"not told: {why_not}" if why_not else "told at once that they are over"
    facts = {
        "Its sessions that live": f"{living}; {told_words}" if living else "none",
        "Its tokens": "all die, offline access too",
        "The people's sessions here": "go on, and so do their other apps",
        "Client ID": f"{client_id}, never given out again",
    }
    text = "Nobody can sign in to it any more. This cannot be undone."
    keep = url_for("console.application", client_id=client_id)
    return ask(f"Remove {client.name}?", text, f"Remove {client.name}", keep, facts=facts)


def form_page(form: Form, client: Client | None = None) -> str:
    """The form, to register an application or, with ``client``, to edit it."""
    known = {field.name for field in form.fields}
    return render_template(
        "console/application_form.html",
        form=form,
        groups=groups(),
        more=[Group(group.title, group.about, [f for f in group.fields if f.name in known]) for group in more()],
        client=client,
        is_seeded=client is not None and client.client_id in SEEDED,
        other_errors=[sentence for name, sentence in form.errors.items() if name not in known],
    )


def about(client: Client) -> dict[str, Any]:
    """What the pages say about an application, and what its developer needs."""
    return {
        "client": client,
        "issuer": current_state().issuer,
        "method": METHODS.get(client.token_endpoint_auth_method, client.token_endpoint_auth_method),
        "has_secret": applications.has_secret(client),
        "registered_itself": client.registration_token_hash is not None,
    }


def living_sessions(clients: Sequence[Client]) -> dict[str, int]:
    """In how many sessions that live each of them takes part."""
    alive = select(Participation.client_id, func.count()).join(SsoSession, SsoSession.sid == Participation.sid)
    alive = alive.where(SsoSession.ended_at.is_(None), Participation.client_id.in_([one.client_id for one in clients]))
    return {client_id: count for client_id, count in db.session.execute(alive.group_by(Participation.client_id))}
