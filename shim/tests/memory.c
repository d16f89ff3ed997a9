/* Every kind of memory is charged to the byte, refused at the limit, and given
 * back by whatever frees it. The simulated driver says what is physically held. */
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "driver.h"
#include "sim/sim.h"
#include "slice.h"

#define MIB (1ull << 20)
#define GIB (1ull << 30)

static struct slice slice;

static uint64_t used(void) { return vgpu_usage_used(slice.usage, 0); }

static int64_t held(enum vgpu_memory_kind kind) {
  int64_t kinds[VGPU_MEMORY_KINDS], sum = 0;
  for (uint32_t slot = 0; slot < slice.usage->slots_used; slot++) {
    vgpu_usage_memory(slice.usage, slot, 0, kinds);
    sum += kinds[kind];
  }
  return sum;
}

static void start(uint64_t limit) {
  slice = slice_new(limit, 100);
  gpu_context();
}

static void linear_to_the_byte(void) {
  CUdeviceptr ptr[3];
  start(1000 * MIB + 7);
  CHECK_EQUAL(cuMemAlloc_v2(&ptr[0], 1000 * MIB), CUDA_SUCCESS);
  CHECK_EQUAL(cuMemAlloc_v2(&ptr[1], 7), CUDA_SUCCESS);
  CHECK_EQUAL(used(), 1000 * MIB + 7);
  CHECK_EQUAL(cuMemAlloc_v2(&ptr[2], 1), CUDA_ERROR_OUT_OF_MEMORY);
  CHECK_EQUAL(used(), 1000 * MIB + 7);
  CHECK_EQUAL(slice.usage->devices[0].total.refused, 1);
  CHECK_EQUAL(cuMemFree_v2(ptr[1]), CUDA_SUCCESS);
  CHECK_EQUAL(cuMemAlloc_v2(&ptr[2], 1), CUDA_SUCCESS);
  CHECK_EQUAL(cuMemFree_v2(ptr[0]), CUDA_SUCCESS);
  CHECK_EQUAL(cuMemFree_v2(ptr[2]), CUDA_SUCCESS);
  CHECK_EQUAL(used(), 0);
  CHECK_EQUAL(slice.usage->devices[0].peak, 1000 * MIB + 7);
}

static void given_back_on_failure(void) {
  CUdeviceptr ptr;
  start(GIB);
  CHECK_EQUAL(SIM(sim_fail)("cuMemAlloc_v2", 1, CUDA_ERROR_LAUNCH_FAILED), 0);
  CHECK_EQUAL(cuMemAlloc_v2(&ptr, MIB), CUDA_ERROR_LAUNCH_FAILED);
  CHECK_EQUAL(used(), 0);
  CHECK_EQUAL(cuMemAlloc_v2(&ptr, MIB), CUDA_SUCCESS);
  CHECK_EQUAL(SIM(sim_fail)("cuMemFree_v2", 1, CUDA_ERROR_LAUNCH_FAILED), 0);
  CHECK_EQUAL(cuMemFree_v2(ptr), CUDA_ERROR_LAUNCH_FAILED);
  CHECK_EQUAL(used(), MIB); /* the driver still holds it */
  CHECK_EQUAL(cuMemFree_v2(ptr), CUDA_SUCCESS);
  CHECK_EQUAL(used(), 0);
}

static void pitched_and_managed(void) {
  CUdeviceptr a, b;
  size_t pitch;
  start(GIB);
  CHECK_EQUAL(cuMemAllocPitch_v2(&a, &pitch, 1000, 100, 4), CUDA_SUCCESS);
  CHECK_EQUAL(used(), pitch * 100);
  CHECK_EQUAL(cuMemAllocManaged(&b, 10 * MIB, CU_MEM_ATTACH_GLOBAL), CUDA_SUCCESS);
  CHECK_EQUAL(held(VGPU_MEMORY_MANAGED), 10 * MIB);
  CHECK_EQUAL(cuMemFree_v2(a), CUDA_SUCCESS);
  CHECK_EQUAL(cuMemFree_v2(b), CUDA_SUCCESS);
  CHECK_EQUAL(used(), 0);
}

static void old_forms(void) {
  CUdeviceptr_v1 ptr;
  unsigned available, total;
  start(GIB);
  SIM(sim_record)(1);
  CHECK_EQUAL((cuMemAlloc)(&ptr, 4096), CUDA_ERROR_OUT_OF_MEMORY); /* no 32-bit addresses there */
  CHECK_EQUAL(SIM(sim_count)("cuMemAlloc"), 1);
  CHECK_EQUAL(used(), 0);
  slice_set(&slice, 1000, 100);
  CHECK_EQUAL((cuMemAlloc)(&ptr, 4096), CUDA_ERROR_OUT_OF_MEMORY);
  CHECK_EQUAL(SIM(sim_count)("cuMemAlloc"), 1); /* refused before the driver was asked */
  CHECK_EQUAL((cuMemGetInfo)(&available, &total), CUDA_SUCCESS);
  CHECK_EQUAL(total, 1000);
  CHECK_EQUAL(available, 1000);
}

/* ---- virtual memory management ----------------------------------------------- */

static const CUmemAllocationProp on_device = {.type = CU_MEM_ALLOCATION_TYPE_PINNED,
                                              .location = {.type = CU_MEM_LOCATION_TYPE_DEVICE}};

static void released_but_mapped(void) {
  CUmemGenericAllocationHandle handle, again;
  CUdeviceptr address;
  start(GIB);
  CHECK_EQUAL(cuMemAddressReserve(&address, 4 * GIB, 0, 0, 0), CUDA_SUCCESS);
  CHECK_EQUAL(cuMemCreate(&handle, 600 * MIB, &on_device, 0), CUDA_SUCCESS);
  CHECK_EQUAL(cuMemMap(address, 600 * MIB, 0, handle, 0), CUDA_SUCCESS);
  CHECK_EQUAL(cuMemRelease(handle), CUDA_SUCCESS);
  CHECK_EQUAL(used(), 600 * MIB); /* mapped memory lives */
  CHECK_EQUAL(cuMemCreate(&again, 600 * MIB, &on_device, 0), CUDA_ERROR_OUT_OF_MEMORY);
  CHECK_EQUAL(cuMemUnmap(address, 600 * MIB), CUDA_SUCCESS);
  CHECK_EQUAL(used(), 0);
}

static void retained(void) {
  CUmemGenericAllocationHandle handle, second;
  CUdeviceptr address;
  start(GIB);
  CHECK_EQUAL(cuMemAddressReserve(&address, GIB, 0, 0, 0), CUDA_SUCCESS);
  CHECK_EQUAL(cuMemCreate(&handle, 2 * MIB, &on_device, 0), CUDA_SUCCESS);
  CHECK_EQUAL(cuMemMap(address, 2 * MIB, 0, handle, 0), CUDA_SUCCESS);
  CHECK_EQUAL(cuMemRetainAllocationHandle(&second, (void *)(uintptr_t)address), CUDA_SUCCESS);
  CHECK_EQUAL(cuMemRelease(handle), CUDA_SUCCESS);
  CHECK_EQUAL(cuMemUnmap(address, 2 * MIB), CUDA_SUCCESS);
  CHECK_EQUAL(used(), 2 * MIB); /* one reference is left */
  CHECK_EQUAL(cuMemRelease(second), CUDA_SUCCESS);
  CHECK_EQUAL(used(), 0);
}

static void *create_and_release(void *failures) {
  for (int i = 0; i < 20000; i++) {
    CUmemGenericAllocationHandle handle;
    if (cuMemCreate(&handle, 2 * MIB, &on_device, 0)) {
      __atomic_fetch_add((int *)failures, 1, __ATOMIC_RELAXED);
      continue;
    }
    if (cuMemRelease(handle)) __atomic_fetch_add((int *)failures, 1, __ATOMIC_RELAXED);
  }
  return NULL;
}

static void no_spurious_refusals(void) {
  pthread_t threads[4];
  int failures = 0;
  start(16 * MIB);
  for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, create_and_release, &failures);
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  CHECK_EQUAL(failures, 0);
  CHECK_EQUAL(used(), 0);
}

/* ---- pools --------------------------------------------------------------------- */

static uint64_t pool_reserved(CUmemoryPool pool) {
  uint64_t value = 0;
  CHECK_EQUAL(real()->cuMemPoolGetAttribute(pool, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT, &value), CUDA_SUCCESS);
  return value;
}

static void pools_by_what_they_hold(void) {
  CUdeviceptr a, b;
  CUmemoryPool pool;
  start(GIB);
  CHECK_EQUAL(cuMemAllocAsync(&a, 100 * MIB, NULL), CUDA_SUCCESS);
  CHECK_EQUAL(real()->cuDeviceGetMemPool(&pool, 0), CUDA_SUCCESS);
  CHECK_EQUAL(used(), pool_reserved(pool));
  CHECK(used() >= 100 * MIB);
  CHECK_EQUAL(cuMemAllocAsync(&b, GIB, NULL), CUDA_ERROR_OUT_OF_MEMORY);
  CHECK_EQUAL(used(), pool_reserved(pool));
  CHECK_EQUAL(cuMemFreeAsync(a, NULL), CUDA_SUCCESS);
  CHECK_EQUAL(cuStreamSynchronize(NULL), CUDA_SUCCESS);
  CHECK_EQUAL(used(), pool_reserved(pool));
}

static void pools_trimmed_before_refusal(void) {
  CUdeviceptr a, b;
  CUmemoryPool pool;
  uint64_t keep = UINT64_MAX;
  start(GIB);
  CHECK_EQUAL(real()->cuDeviceGetMemPool(&pool, 0), CUDA_SUCCESS);
  CHECK_EQUAL(cuMemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &keep), CUDA_SUCCESS);
  CHECK_EQUAL(cuMemAllocAsync(&a, 700 * MIB, NULL), CUDA_SUCCESS);
  CHECK_EQUAL(cuMemFreeAsync(a, NULL), CUDA_SUCCESS);
  CHECK_EQUAL(cuStreamSynchronize(NULL), CUDA_SUCCESS);
  CHECK(used() >= 700 * MIB); /* the pool keeps it */
  CHECK_EQUAL(cuMemAlloc_v2(&b, 900 * MIB), CUDA_SUCCESS);
  CHECK_EQUAL(held(VGPU_MEMORY_POOL), 0);
}

static void freed_by_the_other_call(void) {
  CUdeviceptr a, b;
  start(GIB);
  CHECK_EQUAL(cuMemAllocAsync(&a, 10 * MIB, NULL), CUDA_SUCCESS);
  CHECK_EQUAL(cuMemAlloc_v2(&b, 10 * MIB), CUDA_SUCCESS);
  CHECK_EQUAL(cuMemFreeAsync(b, NULL), CUDA_SUCCESS);
  CHECK_EQUAL(held(VGPU_MEMORY_LINEAR), 0);
  CHECK_EQUAL(cuMemFree_v2(a), CUDA_SUCCESS);
  CHECK_EQUAL(cuCtxSynchronize(), CUDA_SUCCESS);
  CHECK_EQUAL(used(), 0);
}

static void own_pool(void) {
  CUdeviceptr a;
  CUmemoryPool pool;
  CUmemPoolProps props = {.allocType = CU_MEM_ALLOCATION_TYPE_PINNED, .location = {CU_MEM_LOCATION_TYPE_DEVICE, 0}};
  start(GIB);
  CHECK_EQUAL(cuMemPoolCreate(&pool, &props), CUDA_SUCCESS);
  CHECK_EQUAL(cuMemAllocFromPoolAsync(&a, 2 * GIB, pool, NULL), CUDA_ERROR_OUT_OF_MEMORY);
  CHECK_EQUAL(cuMemAllocFromPoolAsync(&a, 64 * MIB, pool, NULL), CUDA_SUCCESS);
  CHECK_EQUAL(used(), pool_reserved(pool));
  CHECK_EQUAL(cuMemFreeAsync(a, NULL), CUDA_SUCCESS);
  CHECK_EQUAL(cuStreamSynchronize(NULL), CUDA_SUCCESS);
  CHECK_EQUAL(cuMemPoolDestroy(pool), CUDA_SUCCESS);
  CHECK_EQUAL(used(), 0);
}

/* ---- arrays, graphs, contexts ----------------------------------------------------- */

static void arrays(void) {
  CUarray array;
  CUmipmappedArray mipmap;
  CUDA_ARRAY_DESCRIPTOR flat = {.Width = 1024, .Height = 1024, .Format = CU_AD_FORMAT_FLOAT, .NumChannels = 4};
  CUDA_ARRAY3D_DESCRIPTOR deep = {.Width = 512, .Height = 512, .Format = CU_AD_FORMAT_FLOAT, .NumChannels = 1};
  CUDA_ARRAY3D_DESCRIPTOR huge = {.Width = 16384, .Height = 16384, .Depth = 32, .Format = CU_AD_FORMAT_FLOAT, .NumChannels = 4};
  start(GIB);
  CHECK_EQUAL(cuArrayCreate_v2(&array, &flat), CUDA_SUCCESS);
  CHECK(used() >= 16 * MIB);
  CHECK_EQUAL(cuMipmappedArrayCreate(&mipmap, &deep, 5), CUDA_SUCCESS);
  CHECK_EQUAL(held(VGPU_MEMORY_ARRAY), used());
  CHECK_EQUAL(cuMipmappedArrayDestroy(mipmap), CUDA_SUCCESS);
  CHECK_EQUAL(cuArrayDestroy(array), CUDA_SUCCESS);
  CHECK_EQUAL(used(), 0);
  CHECK_EQUAL(cuArray3DCreate_v2(&array, &huge), CUDA_ERROR_OUT_OF_MEMORY);
  CHECK_EQUAL(used(), 0);
}

static CUgraphExec allocating_graph(size_t bytes) {
  CUgraph graph;
  CUgraphNode node, end;
  CUgraphExec exec;
  CUDA_MEM_ALLOC_NODE_PARAMS params = {.poolProps = {.allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
                                                     .location = {CU_MEM_LOCATION_TYPE_DEVICE, 0}},
                                       .bytesize = bytes};
  CHECK_EQUAL(cuGraphCreate(&graph, 0), CUDA_SUCCESS);
  CHECK_EQUAL(cuGraphAddMemAllocNode(&node, graph, NULL, 0, &params), CUDA_SUCCESS);
  CHECK_EQUAL(cuGraphAddMemFreeNode(&end, graph, &node, 1, params.dptr), CUDA_SUCCESS);
  CHECK_EQUAL(cuGraphInstantiateWithFlags(&exec, graph, 0), CUDA_SUCCESS);
  return exec;
}

static void graphs(void) {
  uint64_t reserved = 0;
  start(GIB);
  CUgraphExec small = allocating_graph(100 * MIB), big = allocating_graph(2 * GIB);
  CHECK_EQUAL(cuGraphLaunch(small, NULL), CUDA_SUCCESS);
  CHECK_EQUAL(real()->cuDeviceGetGraphMemAttribute(0, CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT, &reserved), CUDA_SUCCESS);
  CHECK(reserved >= 100 * MIB);
  CHECK_EQUAL(held(VGPU_MEMORY_GRAPH), reserved);
  CHECK_EQUAL(cuGraphLaunch(big, NULL), CUDA_ERROR_OUT_OF_MEMORY);
  slice_set(&slice, 150 * MIB, 100);
  CHECK_EQUAL(cuGraphLaunch(small, NULL), CUDA_SUCCESS); /* it has its memory already */
  CHECK_EQUAL(cuCtxSynchronize(), CUDA_SUCCESS);
  CHECK_EQUAL(cuGraphExecDestroy(small), CUDA_SUCCESS);
  CHECK_EQUAL(cuDeviceGraphMemTrim(0), CUDA_SUCCESS);
  CHECK_EQUAL(used(), 0);
}

static void contexts(void) {
  CUcontext context, second;
  CUdeviceptr ptr;
  slice = slice_new(GIB, 100);
  struct vgpu_limits_device line = slice_line(&slice);
  line.context_bytes = 400 * MIB;
  slice_write(&slice, &line);
  CHECK_EQUAL(cuInit(0), CUDA_SUCCESS);
  CHECK_EQUAL(cuCtxCreate_v2(&context, 0, 0), CUDA_SUCCESS);
  CHECK_EQUAL(used(), 400 * MIB);
  CHECK_EQUAL(cuMemAlloc_v2(&ptr, 300 * MIB), CUDA_SUCCESS);
  CHECK_EQUAL(cuCtxCreate_v2(&second, 0, 0), CUDA_ERROR_OUT_OF_MEMORY);
  CHECK_EQUAL(cuCtxDestroy_v2(context), CUDA_SUCCESS); /* and what was allocated in it */
  CHECK_EQUAL(used(), 0);
  CHECK_EQUAL(cuDevicePrimaryCtxRetain(&context, 0), CUDA_SUCCESS);
  CHECK_EQUAL(cuCtxSetCurrent(context), CUDA_SUCCESS);
  CHECK_EQUAL(cuMemAlloc_v2(&ptr, 300 * MIB), CUDA_SUCCESS);
  CHECK_EQUAL(used(), 700 * MIB);
  CHECK_EQUAL(cuDevicePrimaryCtxReset_v2(0), CUDA_SUCCESS);
  CHECK_EQUAL(used(), 0);
}

/* ---- live change, waiting, spilling -------------------------------------------------- */

static void shrunk_below_use(void) {
  CUdeviceptr a, b;
  size_t available, total;
  start(GIB);
  CHECK_EQUAL(cuMemAlloc_v2(&a, 800 * MIB), CUDA_SUCCESS);
  slice_set(&slice, 500 * MIB, 100);
  CHECK_EQUAL(cuMemAlloc_v2(&b, 1), CUDA_ERROR_OUT_OF_MEMORY);
  CHECK_EQUAL(cuMemGetInfo_v2(&available, &total), CUDA_SUCCESS);
  CHECK_EQUAL(available, 0);
  CHECK_EQUAL(total, 500 * MIB);
  CHECK_EQUAL(used(), 800 * MIB); /* what the agent reports as not yet given up */
  CHECK_EQUAL(cuMemFree_v2(a), CUDA_SUCCESS);
  CHECK_EQUAL(cuMemAlloc_v2(&b, 500 * MIB), CUDA_SUCCESS);
  slice_set(&slice, 2 * GIB, 100);
  CHECK_EQUAL(cuMemAlloc_v2(&a, GIB), CUDA_SUCCESS);
}

static void *grow_when_wanted(void *unused) {
  struct slice agent = slice_open(slice.directory);
  while (!vgpu_usage_memory(agent.usage, 0, 0, NULL)) sched_yield();
  while (!__atomic_load_n(&agent.usage->accounts[0].wanted, __ATOMIC_ACQUIRE)) sched_yield();
  struct vgpu_limits_device line = slice_line(&agent);
  line.memory_limit = line.memory_ceiling;
  slice_write(&agent, &line);
  return unused;
}

static void waits_for_growth(void) {
  CUdeviceptr a, b, c;
  pthread_t agent;
  start(GIB);
  struct vgpu_limits_device line = slice_line(&slice);
  line.memory_ceiling = 2 * GIB;
  line.memory_wait_ms = 20000;
  slice_write(&slice, &line);
  CHECK_EQUAL(cuMemAlloc_v2(&a, 900 * MIB), CUDA_SUCCESS);
  CHECK_EQUAL(cuMemAlloc_v2(&c, 3 * GIB), CUDA_ERROR_OUT_OF_MEMORY); /* no growth would help: at once */
  pthread_create(&agent, NULL, grow_when_wanted, NULL);
  CHECK_EQUAL(cuMemAlloc_v2(&b, 900 * MIB), CUDA_SUCCESS);
  pthread_join(agent, NULL);
  CHECK(slice.usage->devices[0].total.waited_ns > 0);
  CHECK_EQUAL(slice.usage->accounts[0].wanted, 0);
}

static void spills(void) {
  CUdeviceptr a, b, c;
  start(GIB);
  CHECK_EQUAL(cuMemAlloc_v2(&a, 900 * MIB), CUDA_SUCCESS);
  CHECK_EQUAL(cuMemAlloc_v2(&b, 900 * MIB), CUDA_ERROR_OUT_OF_MEMORY); /* off by default */
  struct vgpu_limits_device line = slice_line(&slice);
  line.flags = VGPU_DEVICE_OVERSUBSCRIBE;
  line.spill_limit = GIB;
  slice_write(&slice, &line);
  CHECK_EQUAL(cuMemAlloc_v2(&b, 900 * MIB), CUDA_SUCCESS);
  CHECK_EQUAL(slice.usage->devices[0].spilled, 900 * MIB);
  CHECK_EQUAL(used(), 900 * MIB);
  CHECK_EQUAL(cuMemAlloc_v2(&c, 900 * MIB), CUDA_ERROR_OUT_OF_MEMORY); /* the budget is spent */
  CHECK_EQUAL(cuMemFree_v2(b), CUDA_SUCCESS);
  CHECK_EQUAL(slice.usage->devices[0].spilled, 0);
}

static void unlimited(void) {
  CUdeviceptr ptr;
  size_t available, total, physical;
  slice = slice_new(VGPU_UNLIMITED, 100);
  gpu_context();
  CHECK_EQUAL(cuMemAlloc_v2(&ptr, GIB), CUDA_SUCCESS);
  CHECK_EQUAL(used(), GIB);
  CHECK_EQUAL(cuMemGetInfo_v2(&available, &total), CUDA_SUCCESS);
  CHECK_EQUAL(real()->cuDeviceTotalMem_v2(&physical, 0), CUDA_SUCCESS);
  CHECK_EQUAL(total, physical);
  CHECK_EQUAL(cuMemGetInfo_v2(NULL, NULL), CUDA_SUCCESS);
}

/* ---- races ---------------------------------------------------------------------------- */

enum { RACERS = 4, RACE_STEPS = 3000 };

static uint32_t *arrived; /* of all racers, twice */

/* All have a context before anyone measures, and keep it until all have measured. */
static void meet(uint32_t everybody) {
  __atomic_fetch_add(arrived, 1, __ATOMIC_ACQ_REL);
  while (__atomic_load_n(arrived, __ATOMIC_ACQUIRE) < everybody) sched_yield();
}

/* Sizes are whole driver granules, so what is physically held is what is charged. */
static void race(uint64_t limit) {
  CUdeviceptr ptr[16] = {0};
  uint64_t overhead = RACERS * SIM(sim_get)("context_bytes") + SIM(sim_get)("reserved_bytes");
  uint32_t random = (uint32_t)getpid() * 2654435761u | 1;
  for (int i = 0; i < RACE_STEPS; i++) {
    random = random * 1664525 + 1013904223;
    CUdeviceptr *at = &ptr[random >> 28];
    if (*at) {
      CHECK_EQUAL(cuMemFree_v2(*at), CUDA_SUCCESS);
      *at = 0;
    } else if (cuMemAlloc_v2(at, (2 + 2 * (random >> 8) % 32) * MIB) != CUDA_SUCCESS) {
      *at = 0;
    }
    if (i % 16 == 0) CHECK(SIM(sim_device_memory_used)(0) <= limit + overhead);
  }
}

static void no_overshoot(void) {
  pid_t children[RACERS];
  int status;
  const uint64_t limit = 256 * MIB;
  slice = slice_new(limit, 100);
  arrived = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  for (int i = 0; i < RACERS; i++)
    if (!(children[i] = fork())) {
      SIM(sim_set)("fork_reinit", 1);
      gpu_context();
      meet(RACERS);
      race(limit);
      meet(2 * RACERS);
      exit(0);
    }
  for (int i = 0; i < RACERS; i++) {
    waitpid(children[i], &status, 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  vgpu_usage_reap(slice.usage, slice.fd);
  CHECK_EQUAL(used(), 0);
  CHECK(slice.usage->devices[0].total.refused > 0);
}

extern const char *fail_at;
extern unsigned fail_countdown;

/* Dies between the driver's answer and our booking of it. */
static void die_at(const char *point) {
  CUdeviceptr ptr;
  int status;
  pid_t child = fork();
  if (!child) {
    SIM(sim_set)("fork_reinit", 1);
    gpu_context();
    CHECK_EQUAL(cuMemAlloc_v2(&ptr, 100 * MIB), CUDA_SUCCESS);
    fail_at = point;
    fail_countdown = 1;
    if (!cuMemAlloc_v2(&ptr, 100 * MIB)) cuMemFree_v2(ptr);
    exit(0);
  }
  waitpid(child, &status, 0);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void killed_in_a_call(void) {
  const char *points[] = {"memory:allocated", "memory:freed", "charge:used", "discharge:lane"};
  uint64_t repaired;
  slice = slice_new(256 * MIB, 100);
  for (int i = 0; i < 4; i++) {
    die_at(points[i]);
    CHECK(used() >= 100 * MIB);
    CHECK_EQUAL(vgpu_usage_reap(slice.usage, slice.fd), 1);
    CHECK_EQUAL(vgpu_usage_reconcile(slice.usage, 0, &repaired), 0);
    CHECK_EQUAL(used(), 0);
    CHECK_EQUAL(SIM(sim_device_memory_used)(0), SIM(sim_get)("reserved_bytes"));
  }
}

static pid_t in_a_child(void (*work)(void)) {
  pid_t child = fork();
  if (child) return child;
  SIM(sim_set)("fork_reinit", 1);
  gpu_context();
  work();
  exit(0);
}

static void take_and_die(void) {
  CUdeviceptr ptr;
  CHECK_EQUAL(cuMemAlloc_v2(&ptr, 200 * MIB), CUDA_SUCCESS);
  raise(SIGKILL);
}

static void find_all_free(void) {
  size_t available, total;
  CHECK_EQUAL(cuMemGetInfo_v2(&available, &total), CUDA_SUCCESS);
  CHECK_EQUAL(available, total);
}

/* Nobody has waited for the dead process yet: it is a zombie, and its PID still answers. */
static void free_for_a_successor(void) {
  siginfo_t end;
  int status;
  slice = slice_new(256 * MIB, 100);
  pid_t killed = in_a_child(take_and_die);
  CHECK_EQUAL(waitid(P_PID, (id_t)killed, &end, WEXITED | WNOWAIT), 0);
  CHECK(used() >= 200 * MIB);
  pid_t successor = in_a_child(find_all_free);
  waitpid(successor, &status, 0);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  waitpid(killed, &status, 0);
}

static void *allocate_and_free(void *unused) {
  CUcontext context = unused;
  CUdeviceptr ptr[64] = {0};
  CHECK_EQUAL(cuCtxSetCurrent(context), CUDA_SUCCESS);
  for (unsigned i = 0; i < 20000; i++) {
    CUdeviceptr *at = &ptr[i * 7 % 64];
    if (*at) CHECK_EQUAL(cuMemFree_v2(*at), CUDA_SUCCESS);
    if (cuMemAlloc_v2(at, 1 + i % 5000) != CUDA_SUCCESS) *at = 0;
  }
  for (unsigned i = 0; i < 64; i++)
    if (ptr[i]) CHECK_EQUAL(cuMemFree_v2(ptr[i]), CUDA_SUCCESS);
  return NULL;
}

static void threads(void) {
  pthread_t thread[6];
  slice = slice_new(300000, 100);
  CUcontext context = gpu_context();
  for (int i = 0; i < 6; i++) pthread_create(&thread[i], NULL, allocate_and_free, context);
  for (int i = 0; i < 6; i++) pthread_join(thread[i], NULL);
  CHECK_EQUAL(used(), 0);
  CHECK(slice.usage->devices[0].peak <= 300000);
}

static void many_live_in_any_order(void) {
  enum { COUNT = 100000 };
  CUdeviceptr *ptr = malloc(COUNT * sizeof *ptr);
  slice = slice_new(VGPU_UNLIMITED, 100);
  gpu_context();
  SIM(sim_minimal)(1);
  for (int order = 0; order < 3; order++) {
    for (int i = 0; i < COUNT; i++) CHECK_EQUAL(cuMemAlloc_v2(&ptr[i], 512), CUDA_SUCCESS);
    CHECK_EQUAL(used(), 512 * COUNT);
    for (unsigned i = 0; i < COUNT; i++) {
      unsigned at = order == 0 ? i : order == 1 ? COUNT - 1 - i : (unsigned)((i * 7919ull) % COUNT);
      CHECK_EQUAL(cuMemFree_v2(ptr[at]), CUDA_SUCCESS);
    }
    CHECK_EQUAL(used(), 0);
  }
}

static const struct test tests[] = {
    {"linear memory is held to the byte", linear_to_the_byte},
    {"a charge is given back when the driver refuses, and kept when it does not free", given_back_on_failure},
    {"pitched and managed memory is charged for what it takes", pitched_and_managed},
    {"the forms from before CUDA 3.2 are limited too", old_forms},
    {"a released block stays charged while it is mapped", released_but_mapped},
    {"a retained handle keeps its block charged", retained},
    {"creating and releasing in four threads is never refused without need", no_spurious_refusals},
    {"pools are charged for what they hold, not for what was asked of them", pools_by_what_they_hold},
    {"a pool's idle memory is trimmed before anything is refused", pools_trimmed_before_refusal},
    {"cuMemFree and cuMemFreeAsync free each other's memory", freed_by_the_other_call},
    {"an own pool is charged until it is destroyed", own_pool},
    {"arrays and mipmaps are charged for what the driver says they take", arrays},
    {"memory of graphs is reserved before the launch", graphs},
    {"contexts are charged, and what they held comes back with them", contexts},
    {"a limit below use refuses new memory and reports no error", shrunk_below_use},
    {"an allocation waits for a growth that would satisfy it, and only then", waits_for_growth},
    {"overflow goes to host memory only when allowed, within its budget", spills},
    {"without a memory limit the driver's own answers stand", unlimited},
    {"racing processes never hold a byte more than the limit", no_overshoot},
    {"a process killed in the middle of a call leaves nothing behind", killed_in_a_call},
    {"what a killed process held is free for its successor", free_for_a_successor},
    {"racing threads end with an exact account", threads},
    {"a hundred thousand allocations come back in any order", many_live_in_any_order},
};

int main(void) { return RUN_TESTS(tests); }
