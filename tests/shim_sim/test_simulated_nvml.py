"""The simulated NVML, asked through the vendor's own Python binding, in virtual time."""

import collections.abc
import concurrent.futures
import ctypes
import os
import pathlib
import subprocess
import sys

import pynvml  # type: ignore[import-untyped]  # ships no types
import pytest

MIB, GIB = 1 << 20, 1 << 30
MS, SECOND = 1_000_000, 1_000_000_000
TENANT = 1 << 22  # what each tenant of a process adds to its PID
MACHINE = """\
devices 3
model Test GPU
memory 10G
sms 100
context_bytes 100M
reserved_bytes 512M
device 1 uuid GPU-11111111-2222-3333-4444-555555555555
device 1 memory 20G
device 2 numa 1
link 0 1 4
"""


class Machine:
    """The simulated CUDA driver, as far as these tests drive it."""

    def __init__(self, cuda: ctypes.CDLL) -> None:
        self.cuda = cuda
        self.contexts: list[ctypes.c_void_p] = []
        self.originals: dict[str, int] = {}
        for name in ("sim_get", "sim_memory_used", "sim_busy_ns"):
            getattr(cuda, name).restype = ctypes.c_uint64

    def set(self, option: str, value: int) -> None:
        self.originals.setdefault(option, self.cuda.sim_get(option.encode()))
        assert self.cuda.sim_set(option.encode(), ctypes.c_uint64(value)) == 0

    def context(self, *, device: int = 0, tenant: int = 0) -> ctypes.c_void_p:
        context = ctypes.c_void_p()
        self.cuda.sim_tenant(tenant)
        assert self.cuda.cuInit(0) == 0
        assert self.cuda.cuCtxCreate_v2(ctypes.byref(context), 0, device) == 0
        self.cuda.sim_tenant(0)
        self.contexts.append(context)
        return context

    def launch(self, context: ctypes.c_void_p, name: str, times: int) -> None:
        module, function = ctypes.c_void_p(), ctypes.c_void_p()
        assert self.cuda.cuCtxSetCurrent(context) == 0
        assert self.cuda.cuModuleLoadData(ctypes.byref(module), b"image") == 0
        assert self.cuda.cuModuleGetFunction(ctypes.byref(function), module, name.encode()) == 0
        for _ in range(times):
            assert self.cuda.cuLaunchKernel(function, 100, 1, 1, 32, 1, 1, 0, None, None, None) == 0

    def advance(self, ns: int) -> None:
        self.cuda.sim_clock_advance(ctypes.c_uint64(ns))

    def reset(self) -> None:
        for context in self.contexts:
            assert self.cuda.cuCtxDestroy_v2(context) == 0
        self.contexts.clear()
        for option, value in self.originals.items():
            assert self.cuda.sim_set(option.encode(), ctypes.c_uint64(value)) == 0
        self.originals.clear()


@pytest.fixture(scope="session")
def libraries(simulated: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    folder = tmp_path_factory.mktemp("machine")
    (folder / "config").write_text(MACHINE)
    os.environ["VGPU_SIM_CONFIG"] = str(folder / "config")
    os.environ["VGPU_SIM_STATE"] = str(folder / "state")
    # Loaded by path first: pynvml's dlopen by name then finds this one.
    ctypes.CDLL(str(simulated / "libnvidia-ml.so.1"), mode=ctypes.RTLD_GLOBAL)
    return Machine(ctypes.CDLL(str(simulated / "libcuda.so.1")))


@pytest.fixture
def machine(libraries: Machine) -> collections.abc.Iterator[Machine]:
    libraries.cuda.sim_clock_virtual(0)
    pynvml.nvmlInit()
    yield libraries
    pynvml.nvmlShutdown()
    libraries.reset()


def device(index: int = 0) -> object:
    return pynvml.nvmlDeviceGetHandleByIndex(index)


def test_devices_are_as_configured(machine: Machine) -> None:
    second = pynvml.nvmlDeviceGetHandleByUUID("GPU-11111111-2222-3333-4444-555555555555")

    assert pynvml.nvmlDeviceGetCount() == 3
    assert pynvml.nvmlDeviceGetName(second) == "Test GPU"
    assert pynvml.nvmlDeviceGetIndex(second) == 1
    assert pynvml.nvmlDeviceGetMemoryInfo(second).total == 20 * GIB
    assert pynvml.nvmlDeviceGetMemoryInfo(device()).total == 10 * GIB
    assert pynvml.nvmlDeviceGetNumaNodeId(device(2)) == 1


def test_a_device_is_found_by_its_bus_id(machine: Machine) -> None:
    bus = pynvml.nvmlDeviceGetPciInfo(device(2)).busId

    assert pynvml.nvmlDeviceGetIndex(pynvml.nvmlDeviceGetHandleByPciBusId(bus.encode())) == 2


def test_links_and_distance_are_as_configured(machine: Machine) -> None:
    states = [pynvml.nvmlDeviceGetNvLinkState(device(), link) for link in range(6)]

    assert states == [1, 1, 1, 1, 0, 0]
    assert pynvml.nvmlDeviceGetNvLinkRemotePciInfo(device(), 0).bus == 2
    assert pynvml.nvmlDeviceGetP2PStatus(device(0), device(1), 2) == pynvml.NVML_P2P_STATUS_OK
    assert pynvml.nvmlDeviceGetTopologyCommonAncestor(device(0), device(1)) == pynvml.NVML_TOPOLOGY_NODE
    assert pynvml.nvmlDeviceGetTopologyCommonAncestor(device(0), device(2)) == pynvml.NVML_TOPOLOGY_SYSTEM


def test_memory_agrees_with_the_driver_to_the_byte(machine: Machine) -> None:
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    machine.context()

    assert machine.cuda.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total)) == 0

    plain = pynvml.nvmlDeviceGetMemoryInfo(device())
    split = pynvml.nvmlDeviceGetMemoryInfo(device(), version=pynvml.nvmlMemory_v2)
    assert (plain.free, plain.total) == (free.value, total.value)
    assert plain.used == 612 * MIB
    assert (split.used, split.reserved) == (100 * MIB, 512 * MIB)


def test_each_tenant_is_a_process(machine: Machine) -> None:
    machine.context()
    machine.context(tenant=1)

    listed = {p.pid: p.usedGpuMemory for p in pynvml.nvmlDeviceGetComputeRunningProcesses(device())}

    assert listed == {os.getpid(): 100 * MIB, os.getpid() + TENANT: 100 * MIB}
    assert pynvml.nvmlDeviceGetGraphicsRunningProcesses(device()) == []
    assert pynvml.nvmlDeviceGetComputeRunningProcesses(device(1)) == []


def test_another_process_is_seen_and_gone_when_it_ends(machine: Machine, simulated: pathlib.Path) -> None:
    script = (
        "import ctypes,sys; cuda=ctypes.CDLL(sys.argv[1]); context=ctypes.c_void_p();"
        "cuda.cuInit(0); cuda.cuCtxCreate_v2(ctypes.byref(context),0,2);"
        "print('up',flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(simulated / "libcuda.so.1")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        seen = [p.pid for p in pynvml.nvmlDeviceGetComputeRunningProcesses(device(2))]
        child.kill()

    assert seen == [child.pid]
    assert pynvml.nvmlDeviceGetComputeRunningProcesses(device(2)) == []


def test_pids_may_be_another_namespaces(machine: Machine) -> None:
    machine.set("nvml_pid_offset", 100_000)
    machine.context()

    assert [p.pid for p in pynvml.nvmlDeviceGetComputeRunningProcesses(device())] == [os.getpid() + 100_000]


def usage(since: int = 0) -> dict[int, int]:
    return {u.pid: u.smUtil for u in pynvml.nvmlDeviceGetProcessUtilization(device(), since)}


def test_utilisation_is_the_mean_of_the_window(machine: Machine) -> None:
    context = machine.context()
    machine.launch(context, "work_500ms", 1)

    machine.advance(SECOND)

    assert pynvml.nvmlDeviceGetUtilizationRates(device()).gpu == 60  # 500 ms within five samples of 167 ms
    assert usage() == {os.getpid(): 60}


def test_utilisation_may_be_the_last_sample(machine: Machine) -> None:
    machine.set("nvml_window_ns", machine.cuda.sim_get(b"nvml_period_ns"))
    context = machine.context()
    machine.launch(context, "work_500ms", 1)

    machine.advance(400 * MS)
    busy = pynvml.nvmlDeviceGetUtilizationRates(device()).gpu
    machine.advance(600 * MS)
    idle = pynvml.nvmlDeviceGetUtilizationRates(device()).gpu

    assert (busy, idle) == (100, 0)


def test_tenants_share_by_slices(machine: Machine) -> None:
    machine.set("queue_depth", 4096)
    first, second = machine.context(), machine.context(tenant=1)
    machine.launch(first, "work_10ms", 300)
    machine.launch(second, "work_10ms", 300)

    machine.advance(2 * SECOND)

    assert usage() == {os.getpid(): 50, os.getpid() + TENANT: 50}
    many = pynvml.nvmlDeviceGetProcessesUtilizationInfo(device(), 0)
    assert sorted(u.smUtil for u in many) == [50, 50]


def test_nobody_busy_is_not_found(machine: Machine) -> None:
    machine.context()
    machine.advance(2 * SECOND)

    with pytest.raises(pynvml.NVMLError_NotFound):
        usage()


@pytest.mark.parametrize("code", [pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_NOT_FOUND])
def test_utilisation_may_be_refused(machine: Machine, code: int) -> None:
    machine.set("nvml_utilization_result", code)

    with pytest.raises(pynvml.NVMLError) as refused:
        usage()

    assert refused.value.value == code


def test_a_query_takes_its_latency(machine: Machine) -> None:
    machine.set("nvml_latency_ns", 7 * MS)
    machine.cuda.sim_now.restype = ctypes.c_uint64
    before = machine.cuda.sim_now()

    pynvml.nvmlDeviceGetMemoryInfo(device())

    assert machine.cuda.sim_now() - before == 7 * MS


def test_a_hanging_query_goes_on_when_the_hang_ends(machine: Machine) -> None:
    machine.cuda.sim_clock_real()
    machine.set("nvml_hang", 1)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        query = pool.submit(pynvml.nvmlDeviceGetMemoryInfo, device())

        with pytest.raises(TimeoutError):
            query.result(timeout=0.05)
        machine.set("nvml_hang", 0)

        assert query.result(timeout=10).total == 10 * GIB


def test_accounting_integrates(machine: Machine) -> None:
    context = machine.context()
    machine.launch(context, "work_1ns", 1)
    machine.advance(SECOND)
    before = pynvml.nvmlDeviceGetAccountingStats_v2(device(), os.getpid())

    machine.launch(context, "work_300ms", 1)
    machine.advance(3 * SECOND)

    after = pynvml.nvmlDeviceGetAccountingStats_v2(device(), os.getpid())
    hundredths = after.sumGpuUtil - before.sumGpuUtil
    assert hundredths / (after.sampleCount - before.sampleCount) / 100 == pytest.approx(10, abs=0.1)
    assert after.maxMemoryUsage >= 100 * MIB
    assert pynvml.nvmlDeviceGetAccountingPids(device()) == [os.getpid()]


def test_an_xid_reaches_those_who_registered(machine: Machine) -> None:
    events = pynvml.nvmlEventSetCreate()
    pynvml.nvmlDeviceRegisterEvents(device(1), pynvml.nvmlEventTypeXidCriticalError, events)

    machine.cuda.sim_xid(0, ctypes.c_uint64(31))  # not asked for
    machine.cuda.sim_xid(1, ctypes.c_uint64(79))
    event = pynvml.nvmlEventSetWait_v2(events, 1000)

    assert event.eventData == 79
    with pytest.raises(pynvml.NVMLError_Timeout):
        pynvml.nvmlEventSetWait_v2(events, 10)
    pynvml.nvmlEventSetFree(events)


def test_what_is_not_simulated_is_not_supported(machine: Machine) -> None:
    with pytest.raises(pynvml.NVMLError_NotSupported):
        pynvml.nvmlDeviceGetMigMode(device())
