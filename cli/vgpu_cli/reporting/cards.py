"""The cards of a pool as one SVG: a bar for each GPU's memory and a thinner one for its compute."""

from html import escape

from vgpu import values
from vgpu_cli import picture, words

WIDTH, HEIGHT, GAP, COLUMNS = 108, 26, 8, 8
LABEL = 14
MOST = 512
"""Cards drawn of one pool; the page says how many there are besides."""


def svg(cards: tuple[picture.Card, ...]) -> str:
    """The first cards, eight to a line; each tells its story where the pointer rests."""
    shown = cards[:MOST]
    lines = -(-len(shown) // COLUMNS)
    width, height = COLUMNS * (WIDTH + GAP), lines * (HEIGHT + LABEL + GAP)
    drawn = "".join(_card(each, number) for number, each in enumerate(shown))
    title = f"{words.counted(len(shown), 'GPU')}: memory above, compute below"
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img"'
        f' aria-label="{escape(title)}">{drawn}</svg>'
    )


def _card(card: picture.Card, number: int) -> str:
    x = number % COLUMNS * (WIDTH + GAP)
    y = number // COLUMNS * (HEIGHT + LABEL + GAP)
    state = "" if card.usable and not card.cordoned else " off"
    memory = _bar(
        card.floor.memory_bytes, card.held.memory_bytes, card.capacity.memory_bytes, y=LABEL, height=16
    )
    compute = _bar(
        card.floor.compute_percent,
        card.held.compute_percent,
        card.capacity.compute_percent,
        y=LABEL + 18,
        height=6,
    )
    return (
        f'<g class="card{state}" transform="translate({x} {y})"><title>{escape(_story(card))}</title>'
        f'<text x="0" y="10">{escape(card.name)}</text>{memory}{compute}</g>'
    )


def _bar(floor: int, held: int, capacity: int, *, y: int, height: int) -> str:
    """Free behind, elastic over it, the promised part in front."""
    full = max(1, capacity)
    taken, promised = min(1.0, held / full) * WIDTH, min(1.0, min(floor, held) / full) * WIDTH
    parts = (("free", WIDTH), ("elastic", taken), ("floor", promised))
    return "".join(
        f'<rect class="{name}" y="{y}" width="{width:.1f}" height="{height}" rx="2"/>'
        for name, width in parts
        if width > 0
    )


def _story(card: picture.Card) -> str:
    memory, compute = words.part(card.held, card.capacity)
    marks = [*(() if card.usable else ("unhealthy",)), *(("cordoned",) if card.cordoned else ())]
    shares = [f"{each.claim}: {words.amounts(each.allocated)}" for each in card.shares]
    return "\n".join([f"{card.name} {card.model}", f"{memory}, {compute}", *marks, *shares])


def rest(cards: tuple[picture.Card, ...]) -> str:
    """What of the pool is not drawn, in words; empty where all is."""
    hidden = cards[MOST:]
    if not hidden:
        return ""
    capacity = sum((each.capacity for each in hidden), values.NOTHING)
    held = sum((each.held for each in hidden), values.NOTHING)
    memory, compute = words.part(held, capacity)
    return f"{words.counted(len(hidden), 'GPU')} more: {memory}, {compute}"
