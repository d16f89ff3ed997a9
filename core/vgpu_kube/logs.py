"""How the processes of the control plane log: events with fields, one line each, to standard error.

``claim bound claim=team-a/llm node=gpu-2``: lower-case, no full stop. What happened is the caller's to say.
"""

import logging

LEVELS = ("debug", "info", "warning", "error")

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def setup(level: str) -> None:
    """Sends everything from ``level`` (one of LEVELS) on to standard error."""
    logging.basicConfig(level=level.upper(), format=_FORMAT, force=True)


def event(logger: logging.Logger, level: int, text: str, **fields: object) -> None:
    """Logs one event with its fields; values with blanks or quotes are quoted."""
    if logger.isEnabledFor(level):
        parts = [text, *(f"{name}={_shown(value)}" for name, value in fields.items())]
        logger.log(level, "%s", " ".join(parts))


def _shown(value: object) -> str:
    text = str(value)
    plain = text and not any(character.isspace() or character in "\"'=" for character in text)
    return text if plain else repr(text)
