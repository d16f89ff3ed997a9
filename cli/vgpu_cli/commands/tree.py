"""``tree``: pool, node, GPU, claim, pod, and on every level how much is promised, elastic and free.

Nodes beyond the first few are only summed up: at thousands of them a wall of text answers nothing.
"""

from dataclasses import dataclass
from typing import Any

import click
from rich.text import Text
from rich.tree import Tree

from vgpu import values
from vgpu_cli import drawing, options, output, picture, reading, words
from vgpu_cli.cluster import Session
from vgpu_cli.faults import Fault
from vgpu_cli.options import Access

NODES = 16
"""Nodes shown of each pool before the rest is summed up."""

GPUS = 64
"""In a pool of more, nodes are lines and their GPUs are shown only where they are asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What of the tree is asked for; None is no restriction."""

    pool: str | None = None
    node: str | None = None
    namespace: str | None = None


async def gather(session: Session, wanted: Wanted) -> list[picture.Deck]:
    """The cards that are asked for, by pool. Raises Fault where nothing has the name given."""
    pools, nodes = await reading.pools(session.cluster), await reading.nodes(session.cluster)
    if wanted.pool is not None:
        pools = [each for each in pools if each["metadata"]["name"] == wanted.pool]
    if wanted.node is not None:
        nodes = [each for each in nodes if each["metadata"]["name"] == wanted.node]
    for name, kind, found in ((wanted.pool, "pool", pools), (wanted.node, "node with GPUs", nodes)):
        if name is not None and not found:
            raise Fault(f"expected a {kind} {name}, found none; see: kubectl vgpu status")
    decks = picture.decks(pools, nodes)
    return [_of_namespace(each, wanted.namespace) for each in decks] if wanted.namespace else decks


def _of_namespace(deck: picture.Deck, namespace: str) -> picture.Deck:
    """The cards on which a namespace holds something."""
    mine = tuple(
        card for card in deck.cards if any(share.claim.startswith(f"{namespace}/") for share in card.shares)
    )
    return picture.Deck(pool=deck.pool, cards=mine)


def to_json(decks: list[picture.Deck]) -> list[dict[str, Any]]:
    """The tree for programs: pools, their nodes, their GPUs, the slices on them."""
    return [
        {
            "pool": deck.pool,
            "nodes": [
                {"name": node, "devices": [_card_to_json(card) for card in cards]}
                for node, cards in deck.by_node().items()
            ],
        }
        for deck in decks
    ]


def _card_to_json(card: picture.Card) -> dict[str, Any]:
    return {
        "uuid": card.uuid,
        "index": card.index,
        "model": card.model,
        "healthy": card.usable,
        "cordoned": card.cordoned,
        "capacity": reading.amounts_to_json(card.capacity),
        "promised": reading.amounts_to_json(card.floor),
        "held": reading.amounts_to_json(card.held),
        "slices": [_share_to_json(each) for each in card.shares],
    }


def _share_to_json(share: picture.Share) -> dict[str, Any]:
    namespace, name = share.claim.split("/")
    return {
        "claim": {"namespace": namespace, "name": name},
        "pods": list(share.pods),
        "requests": reading.amounts_to_json(share.requests),
        "allocated": reading.amounts_to_json(share.allocated),
        "limits": reading.amounts_to_json(share.limits),
        "state": share.state,
    }


def show(decks: list[picture.Deck], *, every_node: bool, wide: bool) -> None:
    """Writes the tree for people."""
    console = drawing.console()
    if not decks:
        console.print("No pools. Create a VGPUPool, or see what is missing: kubectl vgpu check")
        return
    for deck in decks:
        console.print(_pool(deck, every_node=every_node, wide=wide))
    console.print(drawing.legend())


def _pool(deck: picture.Deck, *, every_node: bool, wide: bool) -> Tree:
    nodes = deck.by_node()
    tree = Tree(_line(f"pool {deck.pool}", deck.cards, words.counted(len(nodes), "node")))
    shown = list(nodes)[: None if every_node else NODES]
    for name in shown:
        branch = tree.add(_line(name, nodes[name], ""))
        for card in nodes[name] if every_node or len(deck.cards) <= GPUS else ():
            _add_card(branch, card, wide=wide)
    rest = [card for name in list(nodes)[len(shown) :] for card in nodes[name]]
    if rest:
        more = words.counted(len(nodes) - len(shown), "node")
        tree.add(_line(f"{more} more", rest, "GPUs of one: --node NAME, of all: --all-nodes"))
    return tree


def _add_card(branch: Tree, card: picture.Card, *, wide: bool) -> None:
    marks = [*(() if card.usable else ("unhealthy",)), *(("cordoned",) if card.cordoned else ())]
    name = f"GPU {card.index}  {card.uuid}  {card.model}" if wide else f"GPU {card.index}"
    leaf = branch.add(_line(name, [card], ", ".join(marks)))
    for share in card.shares:
        claim = leaf.add(Text(_share(share)))
        for pod in share.pods:
            claim.add(Text(pod))


def _share(share: picture.Share) -> str:
    state = "" if share.state == values.EnforcementState.APPLIED.value else f"  {share.state}"
    range_ = f"{words.amounts(share.requests)} to {words.amounts(share.limits)}"
    return f"{share.claim}  {words.amounts(share.allocated)}  ({range_}){state}"


def _line(name: str, cards: Any, note: str) -> Text:  # noqa: ANN401 -- a list or a tuple of cards
    """A name, the bar of its cards' memory, both amounts, and a remark."""
    capacity = sum((each.capacity for each in cards), values.NOTHING)
    floor = sum((each.floor for each in cards), values.NOTHING)
    held = sum((each.held for each in cards), values.NOTHING)
    line = Text(f"{name}  ")
    line.append_text(drawing.bar(floor.memory_bytes, held.memory_bytes, capacity.memory_bytes))
    memory, compute = words.part(held, capacity)
    line.append(f"  {memory}  {compute}")
    return line.append(f"  {note}", style="yellow") if note else line


@click.command()
@click.option("--pool", metavar="NAME", help="Only this pool.")
@click.option("--node", metavar="NAME", help="Only this node.")
@click.option("--all-nodes", "every_node", is_flag=True, help="Every node, however many there are.")
@options.output
@options.access
def tree(access: Access, form: str, pool: str | None, node: str | None, *, every_node: bool) -> None:
    """Show pools, their nodes, GPUs, and the claims and pods on them.

    Everything is shown unless -n names a namespace: then the GPUs on which it holds something. The bars
    show memory; whoever runs this needs to read VGPUNodes.
    """
    namespace = None if access.everywhere else access.namespace
    decks = access.asked(lambda session: gather(session, Wanted(pool=pool, node=node, namespace=namespace)))
    if output.structured(form):
        output.emit(to_json(decks), form)
    else:
        show(decks, every_node=every_node or node is not None, wide=form == options.Format.WIDE)
