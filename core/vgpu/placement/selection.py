"""What a claim's device expressions accept: matching, what they mean for known models, contradictions.

Nothing here knows rooms or other slices; those constraints are ``eligibility``'s.
"""

import itertools
from collections.abc import Iterable, Sequence

from vgpu import values

MODEL = "model"
UUID = "uuid"


def selects(expressions: Iterable[values.Expression], *, model: str, uuid: str) -> bool:
    """Whether a device of this model and UUID is accepted by all expressions."""
    found = {MODEL: model, UUID: uuid}
    return all(_holds(each, found[each.key]) for each in expressions)


def models(expressions: Iterable[values.Expression], known: Iterable[str]) -> frozenset[str]:
    """Those of the known models that the expressions on models accept."""
    asked = [each for each in expressions if each.key == MODEL]
    return frozenset(model for model in known if all(_holds(each, model) for each in asked))


def on_models(expressions: Iterable[values.Expression]) -> bool:
    """Whether any expression is on models."""
    return any(each.key == MODEL for each in expressions)


def on_models_only(expressions: Iterable[values.Expression]) -> bool:
    """Whether no expression names a single device."""
    return all(each.key == MODEL for each in expressions)


def contradiction(expressions: Sequence[values.Expression]) -> tuple[values.Expression, ...] | None:
    """Expressions that no device in the world can meet together; None where none are found.

    Found are an In whose values are all excluded by a NotIn, and two In without a common value.
    """
    wanted = [each for each in expressions if each.operator is values.Operator.IN]
    excluded = [each for each in expressions if each.operator is values.Operator.NOT_IN]
    for each in wanted:
        against = tuple(other for other in excluded if other.key == each.key)
        if all(_covered(value, against) for value in each.values):
            return (each, *against)
    for one, other in itertools.combinations(wanted, 2):
        if one.key == other.key and not _in_common(one.values, other.values):
            return (one, other)
    return None


def in_words(expression: values.Expression) -> str:
    """An expression as a person would say it: ``model In [A100*, H100]``."""
    return f"{expression.key} {expression.operator.value} [{', '.join(expression.values)}]"


def _holds(expression: values.Expression, found: str) -> bool:
    named = any(matches(value, found) for value in expression.values)
    return named is (expression.operator is values.Operator.IN)


def matches(pattern: str, text: str) -> bool:
    """Whether a pattern, in which a star stands for any characters, is the text's.

    In linear time, for patterns come from tenants: each part is looked for after the one before it.
    """
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == text
    *middle, last = rest
    at = len(first)
    if not text.startswith(first):
        return False
    for part in middle:
        found = text.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return len(text) - at >= len(last) and text.endswith(last)


def _covered(value: str, excluded: Iterable[values.Expression]) -> bool:
    """Whether all that a pattern matches is excluded: its own star is matched by another star alone."""
    return any(matches(pattern, value) for each in excluded for pattern in each.values)


def _in_common(one: Iterable[str], other: Iterable[str]) -> bool:
    return any(_overlap(a, b) for a, b in itertools.product(one, other))


def _overlap(one: str, other: str) -> bool:
    """Whether some text is matched by both patterns.

    With a star in each, beginnings and ends decide: what is between them fits into the other's star.
    """
    if "*" not in one:
        return matches(other, one)
    if "*" not in other:
        return matches(one, other)
    head, tail = one.split("*", 1)[0], one.rsplit("*", 1)[1]
    other_head, other_tail = other.split("*", 1)[0], other.rsplit("*", 1)[1]
    return (head.startswith(other_head) or other_head.startswith(head)) and (
        tail.endswith(other_tail) or other_tail.endswith(tail)
    )
