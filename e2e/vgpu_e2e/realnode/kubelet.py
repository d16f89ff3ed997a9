"""The real kubelet, built beside the control plane, with a root directory of its own."""

import socket
from collections.abc import Mapping
from pathlib import Path

import yaml

from vgpu_e2e import build, controlplane, kubeconfig, process
from vgpu_e2e.controlplane import ControlPlane


def make(
    plane: ControlPlane, name: str, *, root: Path, runtime_socket: Path, labels: Mapping[str, str]
) -> process.Process:
    """Return the kubelet of a node, not yet started."""
    binaries = build.ensure_binaries((build.KUBELET,))
    [port] = process.free_ports(1)
    root.mkdir(parents=True, exist_ok=True)
    configuration = root / "config.yaml"
    configuration.write_text(yaml.safe_dump(_configuration(plane, root, runtime_socket, port)))
    options = {
        "config": configuration,
        "kubeconfig": _identity(plane, name),
        "hostname-override": name,
        "node-ip": own_address(),
        "root-dir": root,
        "cert-dir": root / "pki",
        "node-labels": ",".join(f"{key}={value}" for key, value in labels.items()),
        "v": 2,
    }
    return plane.child("kubelet", [binaries / build.KUBELET, *controlplane.flags(options)])


def own_address() -> str:
    """Return an address of this machine that is not the loopback; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])


def _identity(plane: ControlPlane, name: str) -> Path:
    pair = plane.authority.issue(
        f"kubelet-{name}", common_name=f"system:node:{name}", organizations=["system:nodes"]
    )
    path = plane.directory / "kubeconfigs" / f"kubelet-{name}.yaml"
    authority = plane.authority.certificate
    return kubeconfig.with_certificate(path, url=plane.url, authority=authority, identity=pair)


def _configuration(plane: ControlPlane, root: Path, runtime_socket: Path, port: int) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": "127.0.0.1",
        "port": port,
        "readOnlyPort": 0,
        "healthzPort": 0,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": False},
            "x509": {"clientCAFile": str(plane.authority.certificate)},
        },
        "authorization": {"mode": "AlwaysAllow"},
        "containerRuntimeEndpoint": f"unix://{runtime_socket}",
        "cgroupDriver": "cgroupfs",
        "enforceNodeAllocatable": [],
        "failSwapOn": False,
        "failCgroupV1": False,
        "makeIPTablesUtilChains": False,
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "nodeStatusUpdateFrequency": "2s",
        "podLogsDir": str(root.parent / "pod-logs"),
    }
