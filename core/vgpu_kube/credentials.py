"""Where the API server is and who we are: kubeconfig or service account, TLS, tokens that rotate.

The loading is that of ``kubernetes.aio``; no request of our own is sent from here.
"""

import os
import urllib.parse
import urllib.request
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import aiohttp
import yaml
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

Loader = Callable[[Configuration], Awaitable[None]]


class NoClusterError(Exception):
    """There is no usable way to a cluster; the message says what was looked for."""


class Credentials:
    """One identity at one API server."""

    def __init__(self, configuration: Configuration, loader: Loader) -> None:
        self._configuration = configuration
        self._loader = loader
        self._proxy = configuration.proxy or environment_proxy(configuration.host)

    @property
    def server(self) -> str:
        """The address of the API server, without a trailing slash."""
        host: str = self._configuration.host
        return host.rstrip("/")

    @property
    def request_options(self) -> Mapping[str, Any]:
        """What each request of the session needs besides: the name in the certificate, a proxy."""
        options = {"server_hostname": self._configuration.tls_server_name, "proxy": self._proxy}
        return {name: value for name, value in options.items() if value}

    def session(self) -> aiohttp.ClientSession:
        """A session that verifies the server and, where configured, shows a client certificate."""
        try:
            rest = ApiClient(configuration=self._configuration).rest_client
        except OSError as error:  # TLS errors are among them
            raise NoClusterError(
                f"expected certificates for {self.server}, found: {error}; check the paths in the kubeconfig"
            ) from error
        session: aiohttp.ClientSession = rest._create_pool_manager()
        return session

    async def headers(self) -> dict[str, str]:
        """The headers that prove who we are; a service account's token is re-read every minute."""
        token = await self._configuration.get_api_key_with_prefix("BearerToken")
        return {"Authorization": token.strip()} if token else {}

    async def renew(self) -> None:
        """Reads the credentials anew, for tokens in files and from plugins."""
        await self._loader(self._configuration)


async def load(kubeconfig: str | None) -> Credentials:
    """The credentials of a file, or (``None``) of the pod we run in, or of ``$KUBECONFIG``."""
    configuration = Configuration()
    configuration.client_session_kwargs = {"trust_env": False}  # else each request reads it, and a netrc
    loader = _loader(kubeconfig)
    try:
        await loader(configuration)
    except (config.ConfigException, yaml.YAMLError, OSError, ValueError, TypeError) as error:
        looked = kubeconfig or "a service account, then $KUBECONFIG, then ~/.kube/config"
        raise NoClusterError(
            f"expected a cluster in {looked}, found: {error}; pass a kubeconfig or set KUBECONFIG"
        ) from error
    return Credentials(configuration, loader)


def environment_proxy(server: str) -> str | None:
    """The proxy that the environment names for a server, None where it names none."""
    address = urllib.parse.urlsplit(server)
    if urllib.request.proxy_bypass(address.netloc):
        return None
    return urllib.request.getproxies().get(address.scheme)


def _loader(kubeconfig: str | None) -> Loader:
    if kubeconfig is None and "KUBERNETES_SERVICE_HOST" in os.environ:
        return _load_service_account
    path = kubeconfig or os.environ.get("KUBECONFIG") or os.path.expanduser("~/.kube/config")

    async def load_file(configuration: Configuration) -> None:
        await config.load_kube_config(
            config_file=path, client_configuration=configuration, persist_config=False
        )

    return load_file


async def _load_service_account(configuration: Configuration) -> None:
    config.load_incluster_config(client_configuration=configuration)
