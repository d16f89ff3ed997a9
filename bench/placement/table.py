"""The results for people: one row per list and policy, the published figure beside ours."""

from collections.abc import Iterable

from placement import contest, published

HEAD = (
    f"{'list':<12} {'policy':<19} {'@100 %':>7} {'publ.':>6} {'@130 %':>7} {'sd':>5} {'publ.':>6} "
    f"{'- FGD':>6} {'frag.':>6} {'ms':>6}"
)


def row(result: contest.Result) -> str:
    """Allocated at 100 and 130 % arrived, gain over published FGD, fragmentation at 130 %, time."""
    fgd = published.allocated(result.listed, "FGD", 130)
    gain = f"{result.allocated(130) - fgd:+6.2f}" if fgd is not None else f"{'-':>6}"
    return (
        f"{result.listed:<12} {result.policy:<19} {result.allocated(100):7.2f} {_published(result, 100)} "
        f"{result.allocated(130):7.2f} {result.spread(130):5.2f} {_published(result, 130)} {gain} "
        f"{result.fragmented(130):6.2f} {result.milliseconds:6.2f}"
    )


def against_fgd(results: Iterable[contest.Result]) -> list[str]:
    """How each policy stands to FGD of the same run over all lists: mean and worst at 100 and 130 %."""
    found = {(result.policy, result.listed): result for result in results}
    lines = []
    for name in dict.fromkeys(policy for policy, _ in found):
        pairs = [
            (result, found["FGD", listed])
            for (policy, listed), result in found.items()
            if policy == name != "FGD" and ("FGD", listed) in found
        ]
        if pairs:
            lines.append(f"{name} - FGD over {len(pairs)} lists: {_gain(pairs, 100)}; {_gain(pairs, 130)}")
    return lines


def _gain(pairs: list[tuple[contest.Result, contest.Result]], mark: int) -> str:
    gains = [mine.allocated(mark) - other.allocated(mark) for mine, other in pairs]
    return f"at {mark} % mean {sum(gains) / len(gains):+.2f}, worst {min(gains):+.2f}"


def _published(result: contest.Result, mark: int) -> str:
    found = published.allocated(result.listed, result.policy, mark)
    return f"{'-':>6}" if found is None else f"{found:6.2f}"
