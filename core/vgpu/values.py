"""The nouns every room shares: frozen values in base units.

Memory is an integer of bytes, compute an integer percentage of one GPU, time seconds since the epoch.
Amounts are per GPU unless a name says ``total``. No behaviour lives here beyond plain arithmetic.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum

MIB = 1024**2
GIB = 1024**3


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """An amount of GPU: memory in bytes and compute in percent of one GPU."""

    memory_bytes: int
    compute_percent: int

    def __str__(self) -> str:
        return f"{self.memory_bytes / GIB:g} GiB/{self.compute_percent} %"

    def __add__(self, other: "Amounts") -> "Amounts":
        return Amounts(
            memory_bytes=self.memory_bytes + other.memory_bytes,
            compute_percent=self.compute_percent + other.compute_percent,
        )

    def __sub__(self, other: "Amounts") -> "Amounts":
        return Amounts(
            memory_bytes=self.memory_bytes - other.memory_bytes,
            compute_percent=self.compute_percent - other.compute_percent,
        )

    def times(self, count: int) -> "Amounts":
        """The amount on ``count`` GPUs together."""
        return Amounts(memory_bytes=self.memory_bytes * count, compute_percent=self.compute_percent * count)

    def covers(self, other: "Amounts") -> bool:
        """True when ``other`` fits into this amount in both dimensions."""
        return self.memory_bytes >= other.memory_bytes and self.compute_percent >= other.compute_percent

    def at_least(self, other: "Amounts") -> "Amounts":
        """The larger of both in each dimension."""
        return Amounts(
            memory_bytes=max(self.memory_bytes, other.memory_bytes),
            compute_percent=max(self.compute_percent, other.compute_percent),
        )

    def at_most(self, other: "Amounts") -> "Amounts":
        """The smaller of both in each dimension."""
        return Amounts(
            memory_bytes=min(self.memory_bytes, other.memory_bytes),
            compute_percent=min(self.compute_percent, other.compute_percent),
        )


NOTHING = Amounts(memory_bytes=0, compute_percent=0)


class Reason(StrEnum):
    """Why a decision is no, in words a condition of the API can carry."""

    POOL_NOT_FOUND = "PoolNotFound"
    WAITING_FOR_QUOTA = "WaitingForQuota"
    EXCEEDS_QUOTA = "ExceedsQuota"
    NO_FIT = "NoFit"
    OUT_OF_BOUNDS = "OutOfBounds"
    NOT_HELD = "NotHeld"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A no with its reason: what was expected, what was found, what to do."""

    reason: Reason
    message: str


class Strategy(Enum):
    """How a pool chooses among the places where a slice fits."""

    LEAST_FRAGMENTATION = "LeastFragmentation"
    BIN_PACK = "BinPack"
    SPREAD = "Spread"


class ElasticityMode(Enum):
    """Whether the outer loop may resize the slices of a pool or of a claim."""

    AUTO = "Auto"
    FIXED = "Fixed"


class OnEscape(Enum):
    """What follows when a pod uses a GPU of a pool outside of its slice, beside being told."""

    REPORT = "Report"
    STOP = "Stop"


class MovePolicy(Enum):
    """Whether pods may be evicted so that a waiting one fits, or this is only proposed."""

    PROPOSE = "Propose"
    EVICT = "Evict"


class AllocationMode(Enum):
    """Whether each pod of a claim gets a slice of its own or all live in one."""

    PER_POD = "PerPod"
    SHARED = "Shared"


class Lack(Enum):
    """What a slice has lacked for a second or more, as its node's agent sees it."""

    THROTTLED = "Throttled"
    QUEUED = "Queued"
    MEMORY_REFUSED = "MemoryRefused"


class EnforcementState(Enum):
    """What a node says about one slice's limits."""

    APPLIED = "Applied"
    SHRINKING = "Shrinking"
    REFUSED = "Refused"


class MemoryIsolation(Enum):
    """Whether a device can refuse memory above a limit."""

    HARD = "Hard"
    NONE = "None"


class ComputeIsolation(Enum):
    """How a device's time, or the device itself, can be divided."""

    TIME_SHARE = "TimeShare"
    PARTITION = "Partition"
    NONE = "None"


class ResizeMode(Enum):
    """When changed limits of a running pod take effect."""

    LIVE = "Live"
    RESTART = "Restart"
    NONE = "None"


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolation:
    """What a device can do to keep slices apart: its row in the capability matrix."""

    memory: MemoryIsolation = MemoryIsolation.HARD
    compute: ComputeIsolation = ComputeIsolation.TIME_SHARE
    resize: ResizeMode = ResizeMode.LIVE


FULL_ISOLATION = Isolation()
"""Everything the platform can ask of a device."""


class LinkKind(Enum):
    """The nearest thing that two GPUs of a node share, the best first."""

    NVLINK = "NVLink"
    PCIE_SWITCH = "PCIeSwitch"
    HOST_BRIDGE = "HostBridge"
    NUMA_NODE = "NUMANode"
    MACHINE = "Machine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """The best way from a GPU to another one; ``lanes`` counts parallel NVLinks."""

    uuid: str
    kind: LinkKind
    lanes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One GPU as its node's agent reports it, and how it reaches the node's others."""

    uuid: str
    index: int
    model: str
    memory_bytes: int
    vendor: str = "nvidia"
    numa_node: int | None = None
    healthy: bool = True
    links: tuple[Link, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRef:
    """Which claim a slice belongs to."""

    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PodRef:
    """A pod that lives in a slice; its namespace is the claim's.

    ``cpu_milli`` and ``memory_bytes`` are what it asks of the node besides. They do not tell pods apart.
    """

    name: str
    uid: str
    cpu_milli: int = field(default=0, compare=False)
    memory_bytes: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """One entry of the ledger: who holds what on which devices of a node.

    ``allocated`` is what the node shall enforce, per GPU. ``held_memory_bytes`` is the most memory that may
    still be in force on a GPU until the node has confirmed ``revision``: a shrink frees nothing before that.
    ``wanted`` is a growth the loop wishes and the active extender grants, where quota and device permit.
    An ``exclusive`` slice has its devices to itself; slices of other claims of its namespace that are in the
    same ``exclusion_group`` are never beside it.
    """

    id: str
    pool_name: str
    claim: ClaimRef
    pods: tuple[PodRef, ...]
    device_uuids: tuple[str, ...]
    requests: Amounts
    allocated: Amounts
    limits: Amounts
    held_memory_bytes: int
    revision: int
    priority: int = 0
    wanted: Amounts | None = None
    exclusive: bool = False
    exclusion_group: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Enforced:
    """What a node confirms about one slice, per GPU, as of the ledger revision it has applied."""

    memory_bytes: int
    compute_percent: int
    revision: int
    state: EnforcementState = EnforcementState.APPLIED
    message: str = ""
    pressure: frozenset[Lack] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Escape:
    """A pod that uses a GPU outside of its slice, and how that was seen."""

    device_uuid: str
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node with GPUs: the ledger (revision, cordons, slices) and the facts its agent reports.

    ``labels`` are the Kubernetes Node's, kept equal by the agent. ``heartbeat_at`` is None until the first.
    ``cpu_milli`` and ``memory_bytes`` are what the node offers all its pods together, None where not known.
    ``escapes`` go by the UIDs of pods.
    """

    name: str
    labels: Mapping[str, str]
    revision: int = 0
    cordoned_devices: frozenset[str] = frozenset()
    slices: Mapping[str, Slice] = field(default_factory=dict)
    devices: tuple[Device, ...] = ()
    enforced: Mapping[str, Enforced] = field(default_factory=dict)
    heartbeat_at: float | None = None
    cpu_milli: int | None = None
    memory_bytes: int | None = None
    escapes: Mapping[str, Escape] = field(default_factory=dict)


class Operator(Enum):
    """How a selector's expression compares a label with its values."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """One line of a selector's matchExpressions."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """A Kubernetes label selector; empty selects everything."""

    match_labels: Mapping[str, str] = field(default_factory=dict)
    expressions: tuple[Expression, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """What one namespace may hold of a pool, as totals over its slices.

    ``borrowing_limit`` is how much unused nominal of others it may take on top; None means without limit.
    """

    nominal: Amounts
    borrowing_limit: Amounts | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """A set of devices with one policy.

    ``quotas`` None means no bound; a namespace that is absent from it gets nothing.
    """

    name: str
    node_selector: Selector
    device_models: tuple[str, ...] = ()
    memory_overcommit_percent: int = 100
    compute_overcommit_percent: int = 100
    reserved_memory_bytes: int = 0
    strategy: Strategy = Strategy.LEAST_FRAGMENTATION
    elasticity: ElasticityMode = ElasticityMode.AUTO
    moves: MovePolicy = MovePolicy.PROPOSE
    quotas: Mapping[str, Quota] | None = None
    is_default: bool = False
    ungate_after_seconds: int = 60
    on_escape: OnEscape = OnEscape.REPORT


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is scaled, in the claim's namespace: anything with a scale subresource."""

    api_version: str
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class Resource(Enum):
    """A dimension of what a slice holds."""

    MEMORY = "memory"
    COMPUTE = "computePercent"


@dataclass(frozen=True, slots=True, kw_only=True)
class UseObjective:
    """The highest average use of a resource, in percent of what is allocated."""

    resource: Resource
    average_percent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryObjective:
    """The highest good answer of a PromQL query; ``name`` is what messages call it."""

    name: str
    query: str
    maximum: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """How the replicas of a claim follow its load; queries are PromQL.

    ``replicas`` is what somebody else decides, None where the loop does. ``idle_seconds`` without work make a
    service idle, None never; ``wake_query`` counts the work that waits while there is no replica.
    """

    target: Target
    min_replicas: int = 1
    max_replicas: int
    replicas: int | None = None
    workload_query: str | None = None
    use_objectives: tuple[UseObjective, ...] = ()
    query_objectives: tuple[QueryObjective, ...] = ()
    stabilization_seconds: int = 300
    idle_seconds: int | None = None
    wake_query: str | None = None


class NumaAlignment(Enum):
    """Whether several GPUs of a pod have to hang on one NUMA node, or rather should."""

    PREFERRED = "Preferred"
    REQUIRED = "Required"


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraints:
    """Which devices a claim accepts, and beside whom; by default any device and anybody.

    ``devices`` are expressions on the keys ``model`` and ``uuid``, with In and NotIn alone; a star in a model
    stands for any characters.
    """

    devices: tuple[Expression, ...] = ()
    exclusive: bool = False
    exclusion_group: str | None = None
    numa: NumaAlignment = NumaAlignment.PREFERRED


UNCONSTRAINED = Constraints()


GROWN_PERCENT = 80
"""The part of its ceiling's compute that a slice of a service that scales is placed for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a team asks for: per GPU between ``requests`` and ``limits``, on ``device_count`` GPUs.

    ``gang_pods`` is how many of its pods start together; 1 where each starts by itself.
    """

    ref: ClaimRef
    pool_name: str | None
    requests: Amounts
    limits: Amounts
    device_count: int = 1
    mode: AllocationMode = AllocationMode.PER_POD
    priority: int = 0
    gang_pods: int = 1
    constraints: Constraints = UNCONSTRAINED
    elasticity: ElasticityMode = ElasticityMode.AUTO
    scaling: Scaling | None = None
    sleep_port: int | None = None

    @property
    def grown(self) -> Amounts:
        """What a slice is likely to grow to, for a place with room for that.

        Of a service that scales, most of its ceiling's compute (docs/decisions/0003); of others the requests.
        """
        if self.scaling is None or self.elasticity is ElasticityMode.FIXED:
            return self.requests
        percent = self.limits.compute_percent * GROWN_PERCENT // 100
        return replace(self.requests, compute_percent=max(self.requests.compute_percent, percent))


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What one pod asks of placement. ``slice_id`` is the pod's UID, or the claim's when Shared.

    ``models`` are the only GPU models it accepts; empty accepts all. ``grown`` is what its slice is likely to
    grow to: a place with room for that is taken where there is one; None where that is nothing.
    """

    slice_id: str
    pool_name: str
    claim: ClaimRef
    pod: PodRef
    device_count: int
    requests: Amounts
    limits: Amounts
    grown: Amounts | None = None
    priority: int = 0
    constraints: Constraints = UNCONSTRAINED
    models: frozenset[str] = frozenset()

    @property
    def pod_cpu_milli(self) -> int:
        """The CPU that the pod asks of the node besides."""
        return self.pod.cpu_milli

    @property
    def pod_memory_bytes(self) -> int:
        """The host memory that the pod asks of the node besides."""
        return self.pod.memory_bytes
