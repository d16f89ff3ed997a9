"""A pod's status as a kubelet writes it, from the states of its containers; pure."""

import dataclasses
from collections.abc import Mapping, Sequence

from vgpu_e2e.rest import Object

HOST = "127.0.0.1"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """One container: running since, or ended with a code at, or waiting for a reason."""

    started_at: str | None = None
    exit_code: int | None = None
    ended_at: str | None = None
    restarts: int = 0
    waiting: str = "ContainerCreating"
    answers: bool = True  # to its readiness probe, where it has one

    @property
    def running(self) -> bool:
        """Whether it runs now."""
        return self.started_at is not None and self.exit_code is None

    @property
    def ready(self) -> bool:
        """Whether it runs and says that it serves."""
        return self.running and self.answers


def pod_status(pod: Object, states: Mapping[str, State], *, address: str, now: str) -> Object:
    """Return the status of a pod; a container that is not in states has not been tried yet."""
    spec = pod["spec"]
    main = [states.get(each["name"], State()) for each in spec["containers"]]
    beginners = [each["name"] for each in spec.get("initContainers", [])]
    initialized = all(_has_begun(states.get(name, State())) for name in beginners)
    phase = _phase(main, spec.get("restartPolicy", "Always"))
    ready = phase == "Running" and all(each.ready for each in main)
    conditions = {"PodScheduled": True, "Initialized": initialized, "ContainersReady": ready, "Ready": ready}
    return {
        "phase": phase,
        "hostIP": HOST,
        "podIP": address,
        "conditions": [_condition(kind, holds, now) for kind, holds in conditions.items()],
        "containerStatuses": _statuses(spec["containers"], states),
        "initContainerStatuses": _statuses(spec.get("initContainers", []), states),
    }


def _has_begun(state: State) -> bool:
    return state.running or state.exit_code == 0


def _phase(main: Sequence[State], restart_policy: str) -> str:
    if all(each.exit_code is not None for each in main) and restart_policy != "Always":
        failed = any(each.exit_code for each in main)
        if not failed:
            return "Succeeded"
        return "Running" if restart_policy == "OnFailure" else "Failed"
    return "Running" if any(each.started_at for each in main) else "Pending"


def _condition(kind: str, holds: bool, now: str) -> Object:
    return {"type": kind, "status": "True" if holds else "False", "lastTransitionTime": now}


def _statuses(containers: Sequence[Object], states: Mapping[str, State]) -> list[Object]:
    return [_container(each, states.get(each["name"], State())) for each in containers]


def _container(container: Object, state: State) -> Object:
    return {
        "name": container["name"],
        "image": container["image"],
        "imageID": "",
        "restartCount": state.restarts,
        "ready": state.ready,
        "started": state.running,
        "state": _state(state),
    }


def _state(state: State) -> Object:
    if state.exit_code is not None:
        reason = "Completed" if state.exit_code == 0 else "Error"
        return {"terminated": {"exitCode": state.exit_code, "reason": reason, "finishedAt": state.ended_at}}
    if state.started_at is not None:
        return {"running": {"startedAt": state.started_at}}
    return {"waiting": {"reason": state.waiting}}
