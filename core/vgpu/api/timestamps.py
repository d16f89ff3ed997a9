"""Times as they stand in every object: RFC 3339 in UTC outside, seconds since the epoch inside."""

from datetime import UTC, datetime


def parse_time(text: str) -> float:
    """Seconds since the epoch of a text such as ``2026-01-31T12:00:00Z``; a fraction counts to microseconds.

    Raises ValueError where it is no time or names no zone.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"expected a time in UTC such as 2026-01-31T12:00:00Z, found {text!r}; add the Z")
    return moment.timestamp()


def format_time(seconds: float) -> str:
    """The text of a time, cut to whole seconds as Kubernetes writes it."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
