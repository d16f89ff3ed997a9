"""What a converter says when an object is not what the API server would have stored."""


class InvalidObject(ValueError):  # noqa: N818 - names the finding, as callers read it
    """An object that its kind's schema refuses: which one, in which field, expected and found."""

    def __init__(self, *, kind: str, name: str, field: str, expected: str, found: object) -> None:
        self.kind = kind
        self.name = name
        self.field = field
        super().__init__(
            f"{kind} {name}: {field}: expected {expected}, found {_short(found)}; "
            f"correct it and apply the {kind} again"
        )


def _short(found: object) -> str:
    if found is None:
        return "nothing"
    text = repr(found)
    return text if len(text) <= 80 else f"{text[:77]}..."
