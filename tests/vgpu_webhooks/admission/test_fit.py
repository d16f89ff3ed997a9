from dataclasses import replace

import builders as make
from vgpu import values
from vgpu_webhooks.admission import fit

POOL = make.pool(reserved_gib=1)
NODES = [
    make.node("small", devices=[make.device("GPU-0", gib=24), make.device("GPU-1", gib=24)]),
    make.node("large", devices=[make.device("GPU-2", gib=80, healthy=False)]),
    make.node("elsewhere", devices=[make.device("GPU-3", gib=141)], labels={"gpu": "h200"}),
]
HARDWARE = fit.shapes(POOL, NODES)


def claim(gib: float, *, count: int = 1, limit: float | None = None) -> values.Claim:
    floor = make.amounts(gib, 25)
    ceiling = make.amounts(gib if limit is None else limit, 100)
    return values.Claim(
        ref=make.claim_ref(), pool_name="a100", requests=floor, limits=ceiling, device_count=count
    )


def test_equal_nodes_are_one_shape() -> None:
    many = [replace(NODES[0], name=f"n{number}") for number in range(100)]

    assert len(fit.shapes(POOL, many)) == 1


def test_a_claim_that_fits_a_device_however_sick_is_accepted() -> None:
    assert fit.objection(claim(79), POOL, HARDWARE) is None
    assert fit.objection(claim(23, count=2), POOL, HARDWARE) is None


def test_more_than_the_largest_device_is_refused_with_its_size() -> None:
    sentence = fit.objection(claim(80), POOL, HARDWARE)

    assert sentence is not None
    assert "(79 GiB/100 %), found 80 GiB/25 %; lower the requests" in sentence


def test_more_devices_than_a_node_has_is_refused_with_their_count() -> None:
    sentence = fit.objection(claim(24, count=2), POOL, HARDWARE)

    assert sentence is not None
    assert "a deviceCount of at most 1" in sentence
    assert "found 2" in sentence


def test_without_known_hardware_nothing_is_refused() -> None:
    assert fit.objection(claim(1000), POOL, frozenset()) is None
    assert fit.unreachable_limit(claim(1000), POOL, frozenset()) is None


def test_a_ceiling_out_of_reach_is_a_warning() -> None:
    assert fit.unreachable_limit(claim(16, limit=79), POOL, HARDWARE) is None
    warning = fit.unreachable_limit(claim(16, limit=100), POOL, HARDWARE)

    assert warning is not None
    assert "will not grow beyond" in warning


def selecting(*lines: tuple[str, str, str]) -> values.Claim:
    """A claim with lines such as ``("model", "In", "A100*")``."""
    devices = tuple(
        values.Expression(key=key, operator=values.Operator(operator), values=(value,))
        for key, operator, value in lines
    )
    return replace(claim(1), constraints=values.Constraints(devices=devices))


def test_expressions_that_exclude_each_other_are_refused_by_name() -> None:
    sentence = fit.contradiction(selecting(("model", "In", "A100*"), ("model", "NotIn", "A*")))

    assert sentence is not None
    assert "found model In [A100*] and model NotIn [A*], which exclude each other" in sentence
    assert fit.contradiction(selecting(("model", "In", "A100*"), ("model", "NotIn", "A10"))) is None


def test_models_that_the_pool_does_not_have_are_a_warning_with_those_it_has() -> None:
    warning = fit.unknown_models(selecting(("model", "In", "H100*")), POOL, HARDWARE)

    assert warning is not None
    assert warning.endswith("It has A100")
    assert fit.unknown_models(selecting(("model", "In", "A1*")), POOL, HARDWARE) is None
    assert fit.unknown_models(selecting(("model", "In", "H100*")), POOL, frozenset()) is None
