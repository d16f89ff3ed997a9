"""A real Kubernetes control plane on the loopback: etcd, kube-apiserver, kube-controller-manager.

Several can run at once, each in a directory of its own. No scheduler is started here (see `scheduler`) and
nothing of this project is known here (see `platform`).
"""

import asyncio
import contextlib
import dataclasses
import datetime
import shutil
import ssl
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

from vgpu_e2e import background, build, errors, kubeconfig, manifests, pki, probes, process, rest
from vgpu_e2e.rest import Object

TOKEN_SECONDS = 86_400
# Hand-made nodes send no heartbeats; what they say of themselves must stand for a whole run.
NODE_GRACE = "10000h"
CONTROLLERS_OFF = (
    "node-ipam-controller",
    "persistentvolume-binder-controller",
    "persistentvolume-attach-detach-controller",
    "persistentvolume-expander-controller",
    "bootstrap-signer-controller",
    "token-cleaner-controller",
    "ttl-controller",  # annotates every node; each such change makes the scheduler try refused pods again
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Identities:
    """The certificates of one control plane."""

    api_server: pki.Pair
    admin: pki.Pair
    controller_manager: pki.Pair
    scheduler: pki.Pair
    tokens: Path


class ControlPlane:
    """An API server with its store and its controllers; ready inside the `async with`.

    Kinds in definitions exist before the controllers start; the garbage collector learns of later ones only
    every 30 s.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        definitions: Path | None = None,
        binaries: Path | None = None,
        keep: bool = False,
    ) -> None:
        self._asked = directory
        self._definitions = definitions
        self._binaries = binaries
        self.keep = keep
        self._closing = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        self.binaries = await self._found_binaries()
        self.directory = self._asked or Path(tempfile.mkdtemp(prefix="vgpu-bed-"))
        self.directory.mkdir(parents=True, exist_ok=True)
        try:
            await self._start()
        except BaseException:
            await self._closing.aclose()  # the directory stays: it holds the logs that the error names
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._closing.aclose()
        if not self.keep:
            shutil.rmtree(self.directory, ignore_errors=True)

    async def _found_binaries(self) -> Path:
        if self._binaries is not None:
            return self._binaries
        return await asyncio.to_thread(build.ensure_binaries)

    async def _start(self) -> None:
        self._prepare_identities()
        store = await self._start_etcd()
        await self._start_api_server(store)
        self.admin = self._kubeconfig("admin", self._identities.admin)
        self.scheduler_kubeconfig = self._kubeconfig("kube-scheduler", self._identities.scheduler)
        self.api = await self._closing.enter_async_context(rest.API(self.url, tls=self._admin_tls()))
        if self._definitions is not None:
            await self.apply(self._definitions)
        await self._start_controller_manager()

    def _prepare_identities(self) -> None:
        self.certificates = self.directory / "pki"
        self.certificates.mkdir(exist_ok=True)
        self.authority = pki.Authority(self.certificates, now=datetime.datetime.now(datetime.UTC))
        issue = self.authority.issue
        self._identities = _Identities(
            api_server=issue("kube-apiserver", common_name="kube-apiserver", hosts=pki.API_SERVER_HOSTS),
            admin=issue("admin", common_name="vgpu-bed-admin", organizations=["system:masters"]),
            controller_manager=issue("kube-controller-manager", common_name="system:kube-controller-manager"),
            scheduler=issue("kube-scheduler", common_name="system:kube-scheduler"),
            tokens=self.authority.signing_key("service-accounts"),
        )

    async def _start_etcd(self) -> str:
        def made(ports: list[int]) -> process.Process:
            return self.child("etcd", etcd_command(self.binaries, self.directory, *ports))

        self.etcd, ports = await process.start_on_free_ports(
            made,
            lambda ports: probes.answers(f"http://127.0.0.1:{ports[0]}/health"),
            count=2,
            awaited="GET /health",
        )
        self._closing.push_async_callback(self.etcd.killed)  # its data goes with the directory
        return f"http://127.0.0.1:{ports[0]}"

    async def _start_api_server(self, store: str) -> None:
        def made(ports: list[int]) -> process.Process:
            options = self._api_server_options(store, ports[0])
            return self.child("kube-apiserver", [self.binaries / "kube-apiserver", *flags(options)])

        self.api_server, [port] = await process.start_on_free_ports(
            made,
            lambda ports: probes.answers(f"https://127.0.0.1:{ports[0]}/readyz", tls=self._admin_tls()),
            count=1,
            awaited="GET /readyz",
        )
        self._closing.push_async_callback(self.api_server.killed)
        self.url = f"https://127.0.0.1:{port}"

    def _api_server_options(self, store: str, port: int) -> Mapping[str, object]:
        own = self._identities.api_server
        return {
            "etcd-servers": store,
            "bind-address": "127.0.0.1",
            "advertise-address": "127.0.0.1",
            "secure-port": port,
            "endpoint-reconciler-type": "none",
            "service-cluster-ip-range": "10.0.0.0/24",
            "client-ca-file": self.authority.certificate,
            "tls-cert-file": own.certificate,
            "tls-private-key-file": own.key,
            "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
            "service-account-signing-key-file": self._identities.tokens,
            "service-account-key-file": self._identities.tokens,
            "authorization-mode": "Node,RBAC",
            "anonymous-auth": "false",
            "allow-privileged": "true",
            "enable-admission-plugins": "NodeRestriction",
            # Hand-made nodes are Ready when created; the taint would wait for a controller to lift it.
            "disable-admission-plugins": "TaintNodesByCondition",
            "enable-aggregator-routing": "true",
        }

    async def _start_controller_manager(self) -> None:
        own = self._kubeconfig("kube-controller-manager", self._identities.controller_manager)

        def made(ports: list[int]) -> process.Process:
            options = self._controller_manager_options(own, ports[0])
            return self.child(
                "kube-controller-manager", [self.binaries / "kube-controller-manager", *flags(options)]
            )

        account = "/api/v1/namespaces/default/serviceaccounts/default"
        self.controller_manager, _ = await process.start_on_free_ports(
            made, lambda _: lambda: self.api.exists(account), count=1, awaited="the default service account"
        )
        self._closing.push_async_callback(self.controller_manager.killed)

    def _controller_manager_options(self, own: Path, port: int) -> Mapping[str, object]:
        return {
            "kubeconfig": own,
            "bind-address": "127.0.0.1",
            "secure-port": port,
            "leader-elect": "false",
            "use-service-account-credentials": "true",
            "service-account-private-key-file": self._identities.tokens,
            "root-ca-file": self.authority.certificate,
            "node-monitor-grace-period": NODE_GRACE,
            "node-eviction-rate": "0",
            "kube-api-qps": 500,
            "kube-api-burst": 1000,
            "controllers": ",".join(["*", *(f"-{name}" for name in CONTROLLERS_OFF)]),
        }

    def child(
        self, name: str, command: Sequence[str | Path], *, environment: Mapping[str, str] | None = None
    ) -> process.Process:
        """Return a process, not yet started, whose log lies with the others of this bed."""
        return process.Process(
            name, command, log=self.directory / "logs" / f"{name}.log", environment=environment
        )

    async def kubeconfig_for(self, service_account: str, namespace: str) -> Path:
        """Write a kubeconfig with a fresh token of a service account, which must exist."""
        token = await self._token(service_account, namespace)
        return kubeconfig.with_token(
            self.directory / "kubeconfigs" / f"{namespace}-{service_account}.yaml",
            url=self.url,
            authority=self.authority.certificate,
            token=token,
        )

    async def api_for(self, service_account: str, namespace: str) -> rest.API:
        """Return a connection, to be opened, under a service account, which must exist."""
        token = await self._token(service_account, namespace)
        tls = ssl.create_default_context(cafile=str(self.authority.certificate))
        return rest.API(self.url, tls=tls, token=token)

    async def _token(self, service_account: str, namespace: str) -> str:
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token"
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": TOKEN_SECONDS},
        }
        token: str = (await self.api.create(path, request))["status"]["token"]
        return token

    async def apply(self, source: Path | Iterable[Object]) -> None:
        """Apply a manifest file, a directory of them, or documents; new kinds are usable on return."""
        documents = manifests.in_order(manifests.load(source) if isinstance(source, Path) else source)
        definitions = [each for each in documents if each["kind"] == "CustomResourceDefinition"]
        await self.api.apply(definitions)
        await background.together(self._established(each["metadata"]["name"]) for each in definitions)
        await self.api.apply(each for each in documents if each["kind"] != "CustomResourceDefinition")

    async def kubectl(self, *arguments: str, stdin: str = "", identity: Path | None = None) -> str:
        """Return what kubectl prints, as the admin or under another kubeconfig; raise what it complains."""
        command = [str(self.binaries / "kubectl"), "--kubeconfig", str(identity or self.admin), *arguments]
        child = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"HOME": str(self.directory), "PATH": "/usr/bin:/bin"},
        )
        try:
            output, complaint = await child.communicate(stdin.encode())
        finally:
            if child.returncode is None:
                child.kill()
        if child.returncode:
            raise errors.BedError(f"kubectl {' '.join(arguments)}: {complaint.decode().strip()}")
        return output.decode()

    async def _established(self, definition: str, *, timeout_seconds: float = 20.0) -> None:
        path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{definition}"

        async def usable() -> bool:
            return established(await self.api.get(path)) and await self._served(definition)

        await process.until(usable, timeout_seconds=timeout_seconds, awaited=f"{definition} to be served")

    async def _served(self, definition: str) -> bool:
        plural, group = definition.split(".", 1)
        try:
            versions = (await self.api.get(f"/apis/{group}"))["versions"]
            resources = (await self.api.get(f"/apis/{versions[0]['groupVersion']}"))["resources"]
        except rest.NotFoundError:
            return False
        return any(each["name"] == plural for each in resources)

    def _kubeconfig(self, name: str, identity: pki.Pair) -> Path:
        path = self.directory / "kubeconfigs" / f"{name}.yaml"
        authority = self.authority.certificate
        return kubeconfig.with_certificate(path, url=self.url, authority=authority, identity=identity)

    def _admin_tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.authority.certificate))
        context.load_cert_chain(self._identities.admin.certificate, self._identities.admin.key)
        return context


def flags(options: Mapping[str, object]) -> list[str]:
    """Return options as --name=value."""
    return [f"--{name}={value}" for name, value in options.items()]


def etcd_command(binaries: Path, directory: Path, client_port: int, peer_port: int) -> list[str | Path]:
    """Return the command line of an etcd that never syncs: its data need not outlive the machine."""
    client, peer = f"http://127.0.0.1:{client_port}", f"http://127.0.0.1:{peer_port}"
    options = {
        "name": "bed",
        "data-dir": directory / "etcd",
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"bed={peer}",
        "quota-backend-bytes": 8 * 2**30,
        "log-level": "warn",
    }
    return [binaries / "etcd", "--unsafe-no-fsync", *flags(options)]


def established(definition: Object) -> bool:
    """Whether the API server serves the kind of a CustomResourceDefinition; raise if it refuses its names."""
    listed = definition.get("status", {}).get("conditions") or []
    conditions = {each["type"]: each for each in listed}
    names = conditions.get("NamesAccepted", {})
    if names.get("status") == "False":
        raise errors.BedError(f"{definition['metadata']['name']}: {names.get('message')}")
    return bool(conditions.get("Established", {}).get("status") == "True")
