"""Numbers and durations in the same format on all pages and in all messages."""

UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


def many(number: float, one: str, several: str = "") -> str:
    """ "1 session", "3 sessions", "2.5 seconds"."""
    shown = f"{number:,}" if isinstance(number, int) else f"{number:g}"
    return f"{shown} {one if number == 1 else several or one + 's'}"


def duration(seconds: float) -> str:
    """ "10 hours", "2 minutes 5 seconds", "2.5 seconds", "14 milliseconds": two units at most, rounded down."""
    if 0 < seconds < 0.9995:
        return many(round(seconds * 1000), "millisecond")
    if seconds < 59.995:
        return many(round(seconds, 2), "second")
    left, parts = round(seconds), []
    for size, name in UNITS:
        if amount := left // size:
            parts.append(many(amount, name))
        elif parts:
            break  # the next unit would be too small to matter
        left %= size
    return " ".join(parts[:2])
