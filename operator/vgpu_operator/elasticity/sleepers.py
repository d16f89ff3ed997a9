"""Replicas that sleep: which do, and how they are told to; for claims whose applications can (HTTPSleep).

Who shall sleep or wake is decided in the core. An application that does not answer counts as awake, and is
asked again at the next look.
"""

import asyncio
import logging
from collections.abc import Awaitable
from dataclasses import replace
from typing import Protocol

from vgpu_kube import logs
from vgpu_operator.elasticity.assembly import Subject

logger = logging.getLogger(__name__)


class Silent(Exception):  # noqa: N818 -- named for what the application was
    """An application gave no answer, or none that it could mean."""


class Door(Protocol):
    """How an application at an address (HOST:PORT) is asked; each raises Silent."""

    async def asleep(self, address: str) -> bool:
        """Whether it sleeps."""
        ...

    async def sleep(self, address: str) -> None:
        """Puts it to sleep."""
        ...

    async def wake(self, address: str) -> None:
        """Wakes it."""
        ...


class Sleepers:
    """Looks at the pods of claims and tells them; a claim without a port for that has none that sleep."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def seen(self, subject: Subject) -> Subject:
        """The claim with the slices whose pods all sleep."""
        if subject.claim.sleep_port is None:
            return subject
        uids = [pod.uid for each in subject.holdings for pod in each.slice.pods if pod.uid in subject.pods]
        answers = await asyncio.gather(*(self._asleep(subject, uid) for uid in uids))
        sleeping = {uid for uid, asleep in zip(uids, answers, strict=True) if asleep}
        slices = (each.slice for each in subject.holdings)
        return replace(
            subject,
            asleep=frozenset(each.id for each in slices if {pod.uid for pod in each.pods} <= sleeping),
        )

    async def sleep(self, subject: Subject, pod_uid: str) -> None:
        """Puts one pod to sleep, if it answers."""
        address = _address(subject, pod_uid)
        if address is not None:
            await self._told("sleep", self._door.sleep(address), pod_uid)

    async def wake(self, subject: Subject, pod_uid: str) -> None:
        """Wakes one pod, if it answers."""
        address = _address(subject, pod_uid)
        if address is not None:
            await self._told("wake", self._door.wake(address), pod_uid)

    async def _asleep(self, subject: Subject, pod_uid: str) -> bool:
        address = _address(subject, pod_uid)
        try:
            return address is not None and await self._door.asleep(address)
        except Silent:
            return False

    async def _told(self, what: str, telling: Awaitable[None], pod_uid: str) -> None:
        try:
            await telling
        except Silent as error:
            logs.event(logger, logging.WARNING, f"{what} refused", pod=pod_uid, reason=error)


def _address(subject: Subject, pod_uid: str) -> str | None:
    pod = subject.pods.get(pod_uid)
    if pod is None or not pod.ip:
        return None
    host = f"[{pod.ip}]" if ":" in pod.ip else pod.ip
    return f"{host}:{subject.claim.sleep_port}"
