"""Readiness probes over HTTP, as a kubelet asks them; other kinds are not known here."""

from vgpu_e2e import probes
from vgpu_e2e.rest import Object

STARTING_SECONDS = 0.1
"""Between two questions to one that is not ready: sooner than a kubelet's second, so that tests are quick."""


def probed(container: Object) -> bool:
    """Whether a container is ready only once it says so."""
    return "httpGet" in container.get("readinessProbe", {})


def pause(container: Object, *, ready: bool) -> float:
    """Return the seconds until it is asked again."""
    return float(container["readinessProbe"].get("periodSeconds", 10)) if ready else STARTING_SECONDS


async def ready(container: Object, address: str) -> bool:
    """Return what the container at an address says of itself."""
    asked = container["readinessProbe"]["httpGet"]
    port = next(
        (each["containerPort"] for each in ports(container) if each.get("name") == asked["port"]), None
    )
    return await probes.answers(f"http://{address}:{port or asked['port']}{asked.get('path', '/')}")()


def ports(container: Object) -> list[Object]:
    """Return what a container says it listens on."""
    listed: list[Object] = container.get("ports", [])
    return listed
