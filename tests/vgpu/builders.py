"""Short ways to write the core's values in tests; every default is a plain, valid one."""

from collections.abc import Iterable, Mapping

from vgpu import values

GIB = values.GIB


def amounts(gib: float = 0, percent: int = 0) -> values.Amounts:
    return values.Amounts(memory_bytes=int(gib * GIB), compute_percent=percent)


def device(uuid: str = "GPU-0", *, gib: int = 80, model: str = "A100", healthy: bool = True) -> values.Device:
    return values.Device(uuid=uuid, index=0, model=model, memory_bytes=gib * GIB, healthy=healthy)


def node(
    name: str = "node-0",
    *,
    devices: Iterable[values.Device] | None = None,
    slices: Iterable[values.Slice] = (),
    enforced: Mapping[str, values.Enforced] | None = None,
    revision: int = 0,
    labels: Mapping[str, str] | None = None,
    cordoned: Iterable[str] = (),
) -> values.Node:
    return values.Node(
        name=name,
        labels=labels or {"gpu": "a100"},
        revision=revision,
        cordoned_devices=frozenset(cordoned),
        slices={slice_.id: slice_ for slice_ in slices},
        devices=tuple(devices) if devices is not None else (device(f"GPU-{name}"),),
        enforced=enforced or {},
    )


def pool(
    name: str = "a100",
    *,
    quotas: Mapping[str, values.Quota] | None = None,
    compute_overcommit: int = 100,
    memory_overcommit: int = 100,
    reserved_gib: float = 0,
    strategy: values.Strategy = values.Strategy.BIN_PACK,
    models: tuple[str, ...] = (),
) -> values.Pool:
    return values.Pool(
        name=name,
        node_selector=values.Selector(match_labels={"gpu": "a100"}),
        device_models=models,
        memory_overcommit_percent=memory_overcommit,
        compute_overcommit_percent=compute_overcommit,
        reserved_memory_bytes=int(reserved_gib * GIB),
        strategy=strategy,
        quotas=quotas,
    )


def claim_ref(name: str = "llm", namespace: str = "team-a") -> values.ClaimRef:
    return values.ClaimRef(namespace=namespace, name=name, uid=f"uid-{namespace}-{name}")


def request(
    pod: str = "pod-0",
    *,
    requests: values.Amounts | None = None,
    limits: values.Amounts | None = None,
    claim: values.ClaimRef | None = None,
    pool_name: str = "a100",
    device_count: int = 1,
    slice_id: str | None = None,
) -> values.Request:
    asked = requests or amounts(16, 25)
    return values.Request(
        slice_id=slice_id or pod,
        pool_name=pool_name,
        claim=claim or claim_ref(),
        pod=values.PodRef(name=pod, uid=pod),
        device_count=device_count,
        requests=asked,
        limits=limits or asked.at_least(amounts(40, 100)),
    )


def slice_(
    id_: str = "pod-0",
    *,
    uuids: tuple[str, ...] = ("GPU-node-0",),
    requests: values.Amounts | None = None,
    allocated: values.Amounts | None = None,
    limits: values.Amounts | None = None,
    held_gib: float | None = None,
    revision: int = 1,
    claim: values.ClaimRef | None = None,
    pods: tuple[str, ...] | None = None,
    wanted: values.Amounts | None = None,
    pool_name: str = "a100",
) -> values.Slice:
    floor = requests or amounts(16, 25)
    granted = allocated or floor
    return values.Slice(
        id=id_,
        pool_name=pool_name,
        claim=claim or claim_ref(),
        pods=tuple(values.PodRef(name=pod, uid=pod) for pod in (pods or (id_,))),
        device_uuids=uuids,
        requests=floor,
        allocated=granted,
        limits=limits or granted.at_least(amounts(40, 100)),
        held_memory_bytes=granted.memory_bytes if held_gib is None else int(held_gib * GIB),
        revision=revision,
        wanted=wanted,
    )


def enforced(gib: float, percent: int = 25, *, revision: int) -> values.Enforced:
    return values.Enforced(memory_bytes=int(gib * GIB), compute_percent=percent, revision=revision)
