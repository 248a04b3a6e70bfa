"""The API of the pages: what was collected, as JSON."""

from flask import Response, abort, current_app, jsonify, request, url_for

from pickup_learn import checks as token_checks
from pickup_learn import glossary, session_map
from pickup_learn.acts import client_of
from pickup_learn.current import current_collector, current_record, current_seats
from pickup_learn.explanations import EXPLANATIONS
from pickup_learn.join import Message, shown
from pickup_learn.record import NEWEST

TOKENS = 200  # logout tokens to choose from


def messages() -> Response:
    """``?after=SEQ&limit=N`` → messages, oldest first; without ``after`` the newest."""
    record = current_record()
    limit = max(1, min(request.args.get("limit", NEWEST, type=int), NEWEST))
    after, last = request.args.get("after", type=int), record.last()
    is_known = after is not None and 0 <= after <= last  # else it is of before a reset
    found = record.messages_after(after or 0, limit) if is_known else record.newest(limit)
    if is_known and len(found) == limit:
        last = found[-1]["seq"]  # there may be more
    return jsonify(messages=[shown(one) for one in found], last=last, services=current_collector().services())


def sessions() -> Response:
    """The newest IdP sessions, with the apps' sessions, open tabs, tokens and deliveries."""
    tabs = current_collector().tabs()
    return jsonify(session_map.sessions(*current_record().latest_sessions(session_map.NEEDED), tabs))


def board() -> Response:
    """The seats of the room with the steps that the record showed of each. The last row is of nobody in particular."""
    answer = jsonify([row._asdict() for row in current_seats().board()])
    answer.add_etag()
    answer.cache_control.no_cache = True
    answer.make_conditional(request)
    return answer


def explanations() -> Response:
    """One sentence about each parameter, claim, header, kind of message and error; and where the glossary is."""
    page = url_for("chapter", name="glossary")
    return jsonify(**EXPLANATIONS, terms={word: f"{page}#{anchor}" for word, anchor in glossary.terms().items()})


def tokens() -> Response:
    """The newest logout tokens, to choose from; the newest first."""
    found = current_record().newest_of(["backchannel_logout"], TOKENS)
    names = ("key", "at", "to", "outcome", "status", "sid", "act")
    return jsonify(tokens=[{name: one[name] for name in names} for one in found if token_checks.token_of(one)])


def checks(key: str) -> Response:
    """The token of the message ``key``, the checks that its receiver made, and the key of the token beside it."""
    record = current_record()
    message = record.message(key)
    if message is None or token_checks.token_of(message) is None:
        abort(404)
    act = record.act(message)
    nonces = (one["request"].get("parameters", {}).get("nonce") for one in act)
    refusals = (one["error_description"] or one["error"] for one in act if one["kind"] == "authorization_response")
    found = token_checks.inspected(
        message,
        issuer=current_app.config["ISSUER"],
        nonce=next((str(nonce) for nonce in nonces if nonce), None),
        refusal=next((str(refusal) for refusal in refusals if refusal), None),
    )
    return jsonify(key=key, at=message["at"], beside=beside(message), **found)


def beside(message: Message) -> str | None:
    """The receiver's other token: of the same session, else the newest one, because a forgery may name no session."""
    kinds = ("token_request",) if message["kind"] == "backchannel_logout" else ("backchannel_logout",)
    sids = (message["sid"], None) if message.get("sid") else (None,)
    for sid in sids:
        for one in current_record().newest_of(kinds, NEWEST, sid):
            if token_checks.token_of(one) and client_of(one) == client_of(message):
                return str(one["key"])
    return None
