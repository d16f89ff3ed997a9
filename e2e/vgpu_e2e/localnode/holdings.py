"""The GPU memory of an inference server: weights it needs to serve, and a cache that it can do without.

It gives memory back in both ways that claims can name: it follows its slice's target (LimitWatch), and it
sleeps and wakes over HTTP (HTTPSleep), where its weights leave the GPU too and everything it had comes back.
"""

import threading

import vgpu_client
from vgpu_e2e.localnode import cuda

MIB = 2**20


class Holdings:
    """What a server holds; calls come from its HTTP side and from the watch's thread."""

    def __init__(self, gpu: cuda.GPU, *, weights_mib: int) -> None:
        self._gpu = gpu
        self._turn = threading.Lock()
        self._weights_mib = weights_mib
        self._weights: list[int] = []
        self._blocks: list[tuple[int, int]] = []  # address, bytes
        self._slept_on: list[int] = []  # bytes of the blocks that it takes again when it wakes
        self._load()

    @property
    def blocks(self) -> int:
        """How many blocks of cache it holds."""
        return len(self._blocks)

    def take(self, mib: int) -> None:
        """Hold one more block. Raises CUDAError."""
        with self._turn:
            self._blocks.append((self._gpu.allocate(mib * MIB), mib * MIB))

    def give(self, count: int) -> None:
        """Free the last blocks."""
        with self._turn:
            for _ in range(min(count, len(self._blocks))):
                self._gpu.free(self._blocks.pop()[0])

    def resize(self, change: vgpu_client.Change) -> vgpu_client.Answer:
        """Free cache until the slice's target holds."""
        left = change.excess_bytes
        with self._turn:
            while left > 0 and self._blocks:
                address, size = self._blocks.pop()
                self._gpu.free(address)
                left -= size
        if left > 0:
            return vgpu_client.deferred(f"{left // MIB} MiB of weights stay until the server sleeps")
        return vgpu_client.applied()

    def sleep(self) -> None:
        """Let go of everything; twice is once."""
        with self._turn:
            self._slept_on += [size for _, size in self._blocks]
            while self._blocks:
                self._gpu.free(self._blocks.pop()[0])
            while self._weights:
                self._gpu.free(self._weights.pop())

    def wake(self) -> None:
        """Take everything again, the cache empty; twice is once. Raises CUDAError: it sleeps on."""
        try:
            with self._turn:
                self._load()
                while self._slept_on:
                    self._blocks.append((self._gpu.allocate(self._slept_on[-1]), self._slept_on.pop()))
        except cuda.CUDAError:
            self.sleep()
            raise

    def _load(self) -> None:
        if self._weights_mib and not self._weights:
            self._weights.append(self._gpu.allocate(self._weights_mib * MIB))
