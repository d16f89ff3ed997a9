"""The page around the pictures: pools, cards, claims, decisions. Every text of the cluster is escaped."""

from collections.abc import Iterable, Sequence
from html import escape

from vgpu.api import timestamps
from vgpu_cli import advice, reading, words
from vgpu_cli.reporting import cards, timeline
from vgpu_cli.reporting.facts import Facts
from vgpu_kube.objects import Object

CLAIMS = 500
"""Rows of claims, those that are not ready first; the rest is counted."""

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""The page may load nothing, so a name from the cluster cannot make it do so either."""

STYLE = """
:root{color-scheme:light dark;--floor:#2e7d32;--elastic:#4dd0e1;--free:#8884;--bad:#c62828;--line:#8886}
body{font:14px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:64rem;padding:0 1rem}
h1{font-size:1.5rem;margin:0}h2{font-size:1.15rem;margin:2rem 0 .5rem}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.25rem .75rem .25rem 0;vertical-align:top}
th{border-bottom:1px solid var(--line)}
td:not(:last-child){white-space:nowrap}svg{max-width:100%;height:auto}text{font-size:11px;fill:currentColor}.tick{opacity:.7}
.floor{fill:var(--floor)}.elastic{fill:var(--elastic)}.free{fill:var(--free)}.off{opacity:.35}
.axis{stroke:var(--line)}.done{fill:var(--floor)}.down.done{fill:var(--elastic)}.warning{fill:var(--bad)}
.key span{display:inline-block;width:1em;height:1em;vertical-align:-.1em;margin:0 .35em 0 1em}
"""


def html(facts: Facts) -> str:
    """The whole page."""
    at = timestamps.format_time(facts.at)
    waiting = [each for each in facts.claims if reading.said(each).status != "True"]
    summary = (
        f"{words.counted(len(facts.pools), 'pool')}, {words.counted(len(facts.claims), 'claim')}, "
        f"{len(waiting):,} of them not ready; as of {at}"
    )
    sections = (
        ("Pools", _pools(facts)),
        ("Cards", _cards(facts)),
        ("Claims", _claims(facts, waiting)),
        ("Decisions", f"<p>{timeline.LEGEND}</p>{timeline.svg(facts.decisions)}"),
    )
    body = "".join(
        f'<section id="{title.lower()}"><h2>{title}</h2>{part}</section>' for title, part in sections
    )
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<title>GPU slices, {at}</title><style>{STYLE}</style></head>"
        f"<body><h1>GPU slices</h1><p>{escape(summary)}</p>{body}</body></html>\n"
    )


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    heads = "".join(f"<th>{escape(each)}</th>" for each in columns)
    lines = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table>"


def _pools(facts: Facts) -> str:
    rows = []
    for each in facts.pools:
        status, said = each.get("status") or {}, reading.said(each)
        claims = status.get("claims") or {}
        memory, compute = words.part(
            reading.amounts(status.get("allocated")), reading.amounts(status.get("capacity"))
        )
        counts = [
            status.get("nodeCount", 0),
            status.get("deviceCount", 0),
            claims.get("bound", 0),
            claims.get("pending", 0),
        ]
        rows.append((each["metadata"]["name"], said.reason, *(f"{n:,}" for n in counts), memory, compute))
    return _table(("Pool", "State", "Nodes", "GPUs", "Bound", "Waiting", "Memory", "Compute"), rows)


def _cards(facts: Facts) -> str:
    if facts.decks is None:
        return "<p>Whoever made this page may not read VGPUNodes.</p>"
    key = "".join(
        f'<span style="background:var(--{name})"></span>{name}' for name in ("floor", "elastic", "free")
    )
    parts = [f'<p class="key">{key.replace(">floor", ">promised")}</p>']
    for deck in facts.decks:
        parts.append(f"<h3>{escape(deck.pool)}</h3>{cards.svg(deck.cards)}")
        if more := cards.rest(deck.cards):
            parts.append(f"<p>{escape(more)}</p>")
    return "".join(parts)


def _claims(facts: Facts, waiting: list[Object]) -> str:
    late = {reading.path(each) for each in waiting}
    ordered = [*waiting, *(each for each in facts.claims if reading.path(each) not in late)]
    table = _table(
        ("Claim", "State", "Pods", "Holds", "Floor per GPU", "Ceiling per GPU", "Says"),
        (_claim(each) for each in ordered[:CLAIMS]),
    )
    more = len(ordered) - CLAIMS
    return (
        table
        if more <= 0
        else f"{table}<p>{words.counted(more, 'claim')} more, all of them ready or alike</p>"
    )


def _claim(raw: Object) -> tuple[str, ...]:
    status, said = raw.get("status") or {}, reading.said(raw)
    helps = advice.for_reason(said.reason) if said.status != "True" else None
    return (
        reading.path(raw),
        said.reason,
        f"{status.get('podCount', 0):,}",
        words.amounts(reading.amounts(status.get("allocated"))),
        words.amounts(reading.floor(raw)),
        words.amounts(reading.ceiling(raw)),
        f"{said.message}. What helps: {helps}" if helps else said.message,
    )
