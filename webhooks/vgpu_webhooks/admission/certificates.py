"""The server's TLS context, kept equal to the certificate files, which are renewed while we run."""

import asyncio
import logging
import ssl
from pathlib import Path

from cryptography import x509

from vgpu_kube import logs

logger = logging.getLogger(__name__)

CHECK_SECONDS = 5.0
"""How often the files are looked at; kubelets bring a renewed Secret within a minute or so."""

State = tuple[tuple[int, int], ...]


class CertificateError(Exception):
    """The files hold no usable pair; the message says what was tried."""


class Certificates:
    """A certificate and its key on disk, as one live TLS context.

    Connections that are open keep the pair they began with. ``expires_at`` is the end of the one that new
    ones get, in seconds since 1970.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._certificate = certificate
        self._key = key
        self._loaded = self._state()
        self.context = self._read()
        self.expires_at = self._expiry()

    def refresh(self) -> bool:
        """Loads the files again where they changed; True when the context serves a new pair."""
        found = self._state()
        if found == self._loaded:
            return False
        self._read()  # into a context of its own: a half-written pair must not reach the live one
        self.context.load_cert_chain(self._certificate, self._key)
        self.expires_at = self._expiry()
        self._loaded = found
        return True

    async def keep_fresh(self, interval_seconds: float = CHECK_SECONDS) -> None:
        """Refreshes until cancelled; while the files are unusable the pair loaded last serves on."""
        while True:
            await asyncio.sleep(interval_seconds)
            self.refresh_or_log()

    def refresh_or_log(self) -> None:
        """Refreshes, and says so; unusable files are logged and looked at again next time."""
        try:
            if self.refresh():
                logs.event(logger, logging.INFO, "certificate reloaded", file=self._certificate)
        except CertificateError as error:
            logs.event(logger, logging.WARNING, "certificate kept", reason=error)

    def _read(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self._certificate, self._key)
        except (OSError, ssl.SSLError) as error:
            raise self._unusable(error) from error
        return context

    def _expiry(self) -> float:
        try:
            served = x509.load_pem_x509_certificate(self._certificate.read_bytes())
        except (OSError, ValueError) as error:
            raise self._unusable(error) from error
        return served.not_valid_after_utc.timestamp()

    def _state(self) -> State:
        """What changes when a file is replaced, also by a link that is moved as kubelets do."""
        try:
            found = [path.stat() for path in (self._certificate, self._key)]
        except OSError as error:
            raise self._unusable(error) from error
        return tuple((each.st_mtime_ns, each.st_ino) for each in found)

    def _unusable(self, error: Exception) -> CertificateError:
        return CertificateError(
            f"expected a PEM certificate in {self._certificate} and its key in {self._key}, found: {error}; "
            "put a matching pair there"
        )
