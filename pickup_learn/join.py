"""Pure: the rows that two services recorded of one message, joined into one."""

from typing import Any

from pickup_learn.explanations import title_of

Row = dict[str, Any]  # as a service recorded it: GET /messages
Message = dict[str, Any]  # as this service shows it

NOT_SHARED = ("id", "service", "direction")  # what a row says of its edge, and not of the message


def key_of(row: Row) -> str:
    """The same for both rows of a server-to-server message; every other message has one row."""
    if row["channel"] == "back" and row.get("trace"):
        return str(row["trace"])
    return f"{row['service']}.{row['at']}.{row['id']}"  # a reset begins the ids again, so the time belongs to it


def join(known: Message | None, row: Row) -> Message:
    """The message with what this row adds. A row that was joined before changes nothing."""
    message = {
        **{name: value for name, value in row.items() if name not in NOT_SHARED},
        "key": key_of(row),
        "edges": {row["direction"]: row["service"]},
    }
    if known is None:
        return message
    if row["direction"] in known["edges"]:
        return known
    # The sender knows both parties, and whether an answer arrived; the receiver knows why it refused.
    sender, receiver = (message, known) if row["direction"] == "out" else (known, message)
    joined = {**receiver, **{name: value for name, value in sender.items() if not is_empty(value)}}
    for name in ("to", "client_id"):  # the sender's are those of the token, which may be for another app
        joined[name] = receiver[name] or sender[name]
    for side in ("request", "response"):
        joined[side] = {
            part: {**receiver[side].get(part, {}), **sender[side].get(part, {})} for part in ("headers", "parameters")
        }
    joined["tokens"] = max(sender["tokens"], receiver["tokens"], key=len)
    joined["edges"] = {"out": sender["edges"]["out"], "in": receiver["edges"]["in"]}
    return joined


def is_empty(value: object) -> bool:
    """Whether an edge says nothing here, so that the other one's value counts."""
    return value is None or value in ("", [], {})


def shown(message: Message) -> Message:
    """The message as the API has it."""
    seen_by = list(dict.fromkeys(message["edges"].values()))
    title = title_of(message["kind"])
    return {**{name: value for name, value in message.items() if name != "edges"}, "seen_by": seen_by, "title": title}
