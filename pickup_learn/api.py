"""The API of the pages: what was collected, as JSON."""

from flask import Response, jsonify, request

from pickup_learn import session_map
from pickup_learn.current import current_collector, current_record
from pickup_learn.explanations import EXPLANATIONS
from pickup_learn.join import shown
from pickup_learn.record import NEWEST


def messages() -> Response:
    """``?after=SEQ&limit=N`` → messages, oldest first; without ``after`` the newest."""
    record = current_record()
    limit = max(1, min(request.args.get("limit", NEWEST, type=int), NEWEST))
    after, last = request.args.get("after", type=int), record.last()
    is_known = after is not None and after <= last  # else it is of before a reset
    found = record.messages_after(after or 0, limit) if is_known else record.newest(limit)
    if is_known and len(found) == limit:
        last = found[-1]["seq"]  # there may be more
    return jsonify(messages=[shown(one) for one in found], last=last, services=current_collector().services())


def sessions() -> Response:
    """The newest IdP sessions, with the apps' sessions, tokens and deliveries."""
    return jsonify(session_map.sessions(*current_record().latest_sessions(session_map.NEEDED)))


def explanations() -> Response:
    """One sentence about each parameter, claim, header, kind of message and error."""
    return jsonify(EXPLANATIONS)
