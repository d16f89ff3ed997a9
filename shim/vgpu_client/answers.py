"""What an application says to a change, and the file in which the node's agent reads it.

The agent believes the accounts, not the answer: it only tells people why a shrink takes its time.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

FILE = "answer"
"""Below the slice's ``usage``, which its processes may write."""

MESSAGE_MAX = 200


@dataclass(frozen=True)
class Answer:
    """Applied, or deferred and why; a deferred change is asked for again."""

    done: bool
    message: str = ""


def applied() -> Answer:
    """The application has done what it was asked."""
    return Answer(done=True)


def deferred(why: str) -> Answer:
    """The application cannot yet: it is asked again in a while."""
    return Answer(done=False, message=why[:MESSAGE_MAX])


def tell(place: Path, answer: Answer, *, revision: int) -> None:
    """Leave the answer where the agent looks; a full directory is not the application's worry."""
    text = json.dumps({"revision": revision, "done": answer.done, "message": answer.message})
    fresh = place / "usage" / f"{FILE}.fresh"
    try:
        fresh.write_text(text)
        fresh.replace(place / "usage" / FILE)
    except OSError:
        return
