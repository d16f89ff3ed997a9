"""One child process: its log, its readiness, its end. What it runs is the caller's affair.

A child dies with the process that started it, so an aborted test run leaves nothing behind.
"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from vgpu_e2e import attached, errors

POLL_SECONDS = 0.02
REST_PER_PROBE = 4.0
LOG_TAIL_BYTES = 4000

Probe = Callable[[], Awaitable[bool]]


class StartError(errors.BedError):
    """A process ended, or its time was up, before it was ready."""


class Process:
    """A program that can be started, awaited, stopped, killed and started again."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.command = [str(part) for part in command]
        self.log = log
        self._environment = dict(environment) if environment is not None else None
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id, which is also its process group's and its session's."""
        return self._started().pid

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._child is not None and self._child.poll() is None

    @property
    def returncode(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._started().poll()

    def start(self, *extra: str) -> None:
        """Start it in a session of its own, with extra arguments this time; its output joins the log.

        It dies with the calling thread, which is what the kernel takes for its parent.
        """
        if self.running:
            raise errors.BedError(
                f"expected {self.name} to be stopped, it runs with pid {self.pid}; stop it first"
            )
        self.log.parent.mkdir(parents=True, exist_ok=True)
        launcher = [sys.executable, "-I", "-S", attached.__file__, str(os.getpid())]
        with self.log.open("ab") as output:
            self._child = subprocess.Popen(
                [*launcher, *self.command, *extra],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )

    async def ready(self, probe: Probe, *, awaited: str, timeout_seconds: float = 60.0) -> None:
        """Return once probe says yes; raise StartError with the log's end if the process ends or is late."""
        try:
            async with asyncio.timeout(timeout_seconds):
                while not await probe():
                    self._check_alive(awaited)
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise StartError(self._report(f"is not ready after {timeout_seconds:g} s", awaited)) from None

    async def stop(self, *, grace_seconds: float = 10.0) -> None:
        """Send SIGTERM, and SIGKILL to the whole group after the grace; nothing happens if it has ended."""
        if self.running:
            self._signal(signal.SIGTERM)
            await self._ended(within_seconds=grace_seconds)
        self.kill()
        await self._ended(within_seconds=grace_seconds)

    def kill(self) -> None:
        """Send SIGKILL to it and to whatever it started."""
        if self._child is not None:
            self._signal(signal.SIGKILL)

    async def killed(self) -> None:
        """Kill it and return once it is gone, so that it can be started again."""
        self.kill()
        await self._ended(within_seconds=10.0)

    def log_tail(self) -> str:
        """Return the end of the log."""
        if not self.log.exists():
            return ""
        return self.log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")

    def _started(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            raise errors.BedError(f"expected {self.name} to be started, it never was; call start() first")
        return self._child

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return

    async def _ended(self, *, within_seconds: float) -> None:
        async def ended() -> bool:
            return not self.running

        with contextlib.suppress(errors.BedError):
            await until(ended, timeout_seconds=within_seconds, awaited=f"the end of {self.name}")

    def _check_alive(self, awaited: str) -> None:
        if not self.running:
            raise StartError(self._report(f"ended with {self.returncode} before it was ready", awaited))

    def _report(self, what: str, awaited: str) -> str:
        return f"{self.name} {what}; awaited: {awaited}; log {self.log} ends with:\n{self.log_tail()}"


async def until(probe: Probe, *, timeout_seconds: float, awaited: str) -> None:
    """Return once probe says yes; raise BedError that names what was awaited when the time is over.

    A probe that takes long is asked less often, so that looking does not become the load.
    """
    clock = asyncio.get_running_loop().time
    try:
        async with asyncio.timeout(timeout_seconds):
            while True:
                asked = clock()
                if await probe():
                    return
                await asyncio.sleep(max(POLL_SECONDS, REST_PER_PROBE * (clock() - asked)))
    except TimeoutError:
        raise errors.BedError(f"expected {awaited} within {timeout_seconds:g} s, it did not come") from None


def free_ports(count: int) -> list[int]:
    """Return TCP ports of the loopback that nobody listens on now; someone may before they are used."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


async def start_on_free_ports(
    build: Callable[[list[int]], Process],
    probe: Callable[[list[int]], Probe],
    *,
    count: int,
    awaited: str,
    attempts: int = 4,
    timeout_seconds: float = 60.0,
) -> tuple[Process, list[int]]:
    """Start what build makes of some free ports, return both once ready; take others if one was snatched."""
    while True:
        ports = free_ports(count)
        process = build(ports)
        process.start()
        try:
            await process.ready(probe(ports), awaited=awaited, timeout_seconds=timeout_seconds)
        except StartError as error:
            attempts -= 1
            await process.stop(grace_seconds=1.0)
            if not attempts or "address already in use" not in str(error).lower():
                raise
        except BaseException:
            await process.killed()
            raise
        else:
            return process, ports
