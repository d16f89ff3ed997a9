"""An inference server as tests need one: HTTP, batches that are kernels, memory that can run out.

    python -m vgpu_e2e.localnode.server --batch-ms 4 --item-ms 1

It is an ordinary CUDA program; of slices it knows only with --cooperate. POST /infer answers when its batch
has run, POST /memory?mib=N holds more GPU memory and answers with the driver's own code, DELETE /memory frees
it. POST /sleep, POST /wake_up and GET /is_sleeping are those of vLLM; who sleeps is not ready (GET /ready).
"""

import asyncio
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import click
from aiohttp import web
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

import vgpu_client
from vgpu_e2e.localnode import cuda
from vgpu_e2e.localnode.holdings import Holdings

BUCKETS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0)


class Batcher:
    """Runs what has gathered while the last batch ran, as one kernel."""

    def __init__(self, gpu: cuda.GPU, *, batch_ms: float, item_ms: float, most: int) -> None:
        self._gpu = gpu
        self._batch_ms = batch_ms
        self._item_ms = item_ms
        self._most = most
        self._waiting: asyncio.Queue[asyncio.Future[None]] = asyncio.Queue()
        self._inside: set[asyncio.Future[None]] = set()
        self._thread = ThreadPoolExecutor(max_workers=1)

    async def infer(self) -> None:
        """Return when a batch with this request has run."""
        done = asyncio.get_running_loop().create_future()
        self._inside.add(done)
        done.add_done_callback(self._inside.discard)
        await self._waiting.put(done)
        await done

    async def drained(self) -> None:
        """Return when every request that is inside now has been served."""
        if self._inside:
            await asyncio.wait(set(self._inside))

    async def run(self) -> None:
        """Run batches until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            batch = [await self._waiting.get()]
            while len(batch) < self._most and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            duration = self._batch_ms + self._item_ms * len(batch)
            await loop.run_in_executor(self._thread, self._gpu.run, duration)
            for done in batch:
                if not done.done():
                    done.set_result(None)


class Server:
    """The HTTP side."""

    def __init__(self, gpu: cuda.GPU, batcher: Batcher, holdings: Holdings) -> None:
        self._gpu = gpu
        self._batcher = batcher
        self._holdings = holdings
        self._asleep = False
        self._registry = CollectorRegistry()
        self._latency = Histogram(
            "inference_request_duration_seconds", "Latency.", registry=self._registry, buckets=BUCKETS
        )
        self._refused = Counter("inference_memory_refused_total", "Out of memory.", registry=self._registry)
        self._arrived = Counter(
            "inference_requests_total", "Requests, as they come.", registry=self._registry
        )
        self._inside = Gauge("inference_requests_in_progress", "Requests inside.", registry=self._registry)

    def app(self) -> web.Application:
        """Return the endpoints."""
        app = web.Application()
        app.router.add_post("/infer", self._infer)
        app.router.add_get("/memory", self._memory)
        app.router.add_post("/memory", self._allocate)
        app.router.add_delete("/memory", self._free)
        app.router.add_post("/sleep", self._sleep)
        app.router.add_post("/wake_up", self._wake)
        app.router.add_get("/is_sleeping", self._is_sleeping)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/ready", self._ready)
        return app

    async def _infer(self, _: web.Request) -> web.Response:
        if self._asleep:
            raise web.HTTPServiceUnavailable(text="asleep: POST /wake_up first\n")
        began = time.perf_counter()
        self._arrived.inc()
        with self._inside.track_inprogress():
            await self._batcher.infer()
        self._latency.observe(time.perf_counter() - began)
        return web.Response(text="ok\n")

    async def _memory(self, _: web.Request) -> web.Response:
        info = self._gpu.memory()
        return web.json_response({"free": info.free, "total": info.total, "blocks": self._holdings.blocks})

    async def _allocate(self, request: web.Request) -> web.Response:
        """Answer 200, or 507 with the CUresult where the driver refused."""
        try:
            self._holdings.take(int(request.query["mib"]))
        except cuda.CUDAError as error:
            self._refused.inc()
            return web.json_response({"result": error.code}, status=507)
        return web.json_response({"result": cuda.SUCCESS})

    async def _free(self, request: web.Request) -> web.Response:
        """Free the last blocks, all where no count is given."""
        self._holdings.give(int(request.query.get("blocks", self._holdings.blocks)))
        return web.json_response({"blocks": self._holdings.blocks})

    async def _sleep(self, _: web.Request) -> web.Response:
        """Take no more requests, serve those that are inside, then let go of the memory."""
        self._asleep = True
        await self._batcher.drained()
        self._holdings.sleep()
        return web.json_response({})

    async def _wake(self, _: web.Request) -> web.Response:
        """Answer 200, or 507 with the CUresult where there is no room for the weights."""
        try:
            self._holdings.wake()
        except cuda.CUDAError as error:
            return web.json_response({"result": error.code}, status=507)
        self._asleep = False
        return web.json_response({})

    async def _is_sleeping(self, _: web.Request) -> web.Response:
        return web.json_response({"is_sleeping": self._asleep})

    async def _metrics(self, _: web.Request) -> web.Response:
        body = generate_latest(self._registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _ready(self, _: web.Request) -> web.Response:
        if self._asleep:
            raise web.HTTPServiceUnavailable(text="asleep\n")
        return web.Response(text="ok\n")


@click.command()
@click.option(
    "--host", envvar="POD_IP", default="0.0.0.0", show_default=True, help="By default what POD_IP says."
)
@click.option("--port", type=int, default=8000, show_default=True, help="0 takes a free one.")
@click.option("--batch-ms", type=float, default=4.0, show_default=True, help="GPU time of a batch.")
@click.option("--item-ms", type=float, default=1.0, show_default=True, help="GPU time of each request in it.")
@click.option("--most", type=int, default=16, show_default=True, help="Requests in a batch at most.")
@click.option("--weights-mib", type=int, default=0, show_default=True, help="GPU memory taken at the start.")
@click.option("--busy", is_flag=True, help="Keeps the GPU busy without any request.")
@click.option("--cooperate", is_flag=True, help="Follows the slice's memory target (vgpu_client).")
def main(
    host: str,
    port: int,
    batch_ms: float,
    item_ms: float,
    most: int,
    weights_mib: int,
    busy: bool,
    cooperate: bool,
) -> None:
    """Serve until SIGTERM."""
    gpu = cuda.GPU()
    holdings = Holdings(gpu, weights_mib=weights_mib)
    if cooperate:
        vgpu_client.watch(holdings.resize)
    batcher = Batcher(gpu, batch_ms=batch_ms, item_ms=item_ms, most=most)
    asyncio.run(_serve(Server(gpu, batcher, holdings), batcher, (host, port), busy))


async def _serve(server: Server, batcher: Batcher, address: tuple[str, int], busy: bool) -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    runner = web.AppRunner(server.app(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, *address, backlog=1024).start()
    print("listening on {}:{}".format(*runner.addresses[0]), flush=True)
    work = [asyncio.create_task(batcher.run())]
    if busy:
        work.append(asyncio.create_task(_busy(batcher)))
    await stopping.wait()
    for task in work:
        task.cancel()
    await runner.cleanup()


async def _busy(batcher: Batcher) -> None:
    while True:
        await batcher.infer()


if __name__ == "__main__":
    main()
