/* Memory of every kind: what it charges, when it is given back, who sees it. */
#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "check.h"

enum { CONTEXT_MIB = 100 };
#define CONFIG "memory 10G\ncontext_bytes 100M\nreserved_bytes 0\n"

/* Physical bytes beyond the contexts'. */
static uint64_t used(void) { return sim_memory_used(0, 0) - CONTEXT_MIB * MIB; }

static void granules(void) {
  CUdeviceptr large, small[3];
  start();
  EXPECT_EQUAL(used(), 0);
  OK(cuMemAlloc_v2(&large, 3 * MIB));
  EXPECT_EQUAL(used(), 4 * MIB);
  for (int i = 0; i < 3; i++) OK(cuMemAlloc_v2(&small[i], MIB));
  EXPECT_EQUAL(used(), 8 * MIB); /* three of 1 MiB share two granules */
  OK(cuMemFree_v2(small[0]));
  EXPECT_EQUAL(used(), 6 * MIB);
  OK(cuMemFree_v2(large));
  OK(cuMemFree_v2(small[1]));
  OK(cuMemFree_v2(small[2]));
  EXPECT_EQUAL(used(), 0);
}

static void exhaustion(void) {
  CUdeviceptr address[2];
  size_t room, total;
  start();
  OK(cuMemGetInfo_v2(&room, &total));
  EXPECT_EQUAL(total, 10 * GIB);
  EXPECT_EQUAL(room, 10 * GIB - CONTEXT_MIB * MIB);
  OK(cuMemAlloc_v2(&address[0], room));
  EXPECT_EQUAL(cuMemAlloc_v2(&address[1], 1), CUDA_ERROR_OUT_OF_MEMORY);
  OK(cuMemGetInfo_v2(&room, NULL));
  EXPECT_EQUAL(room, 0);
  OK(cuMemFree_v2(address[0]));
  OK(cuMemAlloc_v2(&address[1], GIB));
}

static void addresses(void) {
  CUdeviceptr first, second, base;
  size_t size;
  unsigned managed;
  start();
  OK(cuMemAlloc_v2(&first, 5 * MIB));
  OK(cuMemGetAddressRange_v2(&base, &size, first + MIB));
  EXPECT(base == first && size == 5 * MIB);
  EXPECT_EQUAL(cuMemFree_v2(first + 1), CUDA_ERROR_INVALID_VALUE);
  OK(cuMemFree_v2(first));
  EXPECT_EQUAL(cuMemFree_v2(first), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQUAL(cuMemGetAddressRange_v2(&base, &size, first), CUDA_ERROR_NOT_FOUND);
  OK(cuMemAlloc_v2(&second, 5 * MIB));
  EXPECT(second == first); /* addresses come back, as the real driver's do */
  OK(cuPointerGetAttribute(&managed, CU_POINTER_ATTRIBUTE_IS_MANAGED, second));
  EXPECT_EQUAL(managed, 0);
  OK(cuMemAllocManaged(&first, MIB, CU_MEM_ATTACH_GLOBAL));
  OK(cuPointerGetAttribute(&managed, CU_POINTER_ATTRIBUTE_IS_MANAGED, first));
  EXPECT_EQUAL(managed, 1);
}

static void copies(void) {
  CUdeviceptr address;
  char out[16];
  unsigned words[4];
  start();
  OK(cuMemAlloc_v2(&address, 4096));
  OK(cuMemcpyHtoD_v2(address, "sixteen letters", 16));
  OK(cuMemcpyDtoH_v2(out, address, 16));
  EXPECT(strcmp(out, "sixteen letters") == 0);
  OK(cuMemsetD32Async(address, 0xabcd, 4, NULL));
  OK(cuMemcpyDtoH_v2(words, address, sizeof words));
  EXPECT(words[0] == 0xabcd && words[3] == 0xabcd);
  EXPECT_EQUAL(cuMemcpyHtoD_v2(address, out, 8192), CUDA_ERROR_INVALID_VALUE);
}

static void oversized_managed(void) {
  CUdeviceptr address;
  start();
  OK(cuMemAllocManaged(&address, 40 * GIB, CU_MEM_ATTACH_GLOBAL));
  EXPECT_EQUAL(sim_device_memory_used(0), 10 * GIB);
  *(volatile int *)address = 1; /* the host may touch it */
  OK(cuMemFree_v2(address));
  EXPECT_EQUAL(used(), 0);
}

static uint64_t pool_value(CUmemoryPool pool, CUmemPool_attribute attribute) {
  uint64_t value;
  OK(cuMemPoolGetAttribute(pool, attribute, &value));
  return value;
}

static void pools(void) {
  CUmemoryPool pool;
  CUdeviceptr address, linear;
  uint64_t keep = GIB;
  start();
  OK(cuDeviceGetDefaultMemPool(&pool, 0));
  OK(cuMemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &keep));
  OK(cuMemAllocAsync(&address, 10 * MIB, NULL));
  EXPECT_EQUAL(pool_value(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT), 10 * MIB);
  EXPECT_EQUAL(pool_value(pool, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT), 32 * MIB);
  EXPECT_EQUAL(used(), 32 * MIB);
  OK(cuMemFree_v2(address)); /* the plain free is legal */
  OK(cuStreamSynchronize(NULL));
  EXPECT_EQUAL(used(), 32 * MIB); /* kept: below the threshold */
  OK(cuMemPoolTrimTo(pool, 0));
  EXPECT_EQUAL(used(), 0);
  OK(cuMemAlloc_v2(&linear, 2 * MIB));
  OK(cuMemFreeAsync(linear, NULL)); /* and so is the reverse */
  EXPECT_EQUAL(used(), 0);
  keep = 0;
  OK(cuMemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &keep));
  OK(cuMemAllocAsync(&address, 10 * MIB, NULL));
  OK(cuMemFreeAsync(address, NULL));
  EXPECT_EQUAL(used(), 32 * MIB);
  OK(cuStreamSynchronize(NULL));
  EXPECT_EQUAL(used(), 0);
}

static void bounded_pool(void) {
  CUmemoryPool pool;
  CUdeviceptr address;
  CUmemPoolProps properties = {.allocType = CU_MEM_ALLOCATION_TYPE_PINNED, .location = {CU_MEM_LOCATION_TYPE_DEVICE, 0}, .maxSize = 40 * MIB};
  start();
  OK(cuMemPoolCreate(&pool, &properties));
  OK(cuMemAllocFromPoolAsync(&address, 39 * MIB, pool, NULL));
  EXPECT_EQUAL(used(), 40 * MIB);
  EXPECT_EQUAL(cuMemAllocFromPoolAsync(&address, 2 * MIB, pool, NULL), CUDA_ERROR_OUT_OF_MEMORY);
  OK(cuMemPoolDestroy(pool)); /* lives on while something of it does */
  EXPECT_EQUAL(used(), 40 * MIB);
}

static void virtual_memory(void) {
  CUmemAllocationProp properties = {.type = CU_MEM_ALLOCATION_TYPE_PINNED, .location = {CU_MEM_LOCATION_TYPE_DEVICE, 0}};
  CUmemGenericAllocationHandle handle, again;
  CUdeviceptr address, base;
  size_t size;
  start();
  OK(cuMemAddressReserve(&address, 8 * MIB, 0, 0, 0));
  OK(cuMemCreate(&handle, 4 * MIB, &properties, 0));
  OK(cuMemMap(address, 4 * MIB, 0, handle, 0));
  OK(cuMemRelease(handle));
  EXPECT_EQUAL(used(), 4 * MIB); /* mapped: it lives */
  OK(cuMemGetAddressRange_v2(&base, &size, address + MIB));
  EXPECT(base == address && size == 4 * MIB);
  OK(cuMemRetainAllocationHandle(&again, (void *)address));
  OK(cuMemUnmap(address, 4 * MIB));
  EXPECT_EQUAL(used(), 4 * MIB); /* referenced: it lives */
  OK(cuMemRelease(again));
  EXPECT_EQUAL(used(), 0);
  EXPECT_EQUAL(cuMemRelease(again), CUDA_ERROR_INVALID_VALUE);
  OK(cuMemAddressFree(address, 8 * MIB));
}

static void arrays(void) {
  CUDA_ARRAY3D_DESCRIPTOR shape = {1024, 1024, 0, CU_AD_FORMAT_FLOAT, 4, 0};
  CUDA_ARRAY_MEMORY_REQUIREMENTS needs;
  CUarray array;
  CUmipmappedArray mipmap;
  start();
  OK(cuArray3DCreate_v2(&array, &shape));
  OK(cuArrayGetMemoryRequirements(&needs, array, 0));
  EXPECT_EQUAL(needs.size, 16 * MIB);
  EXPECT_EQUAL(used(), 16 * MIB);
  OK(cuArrayDestroy(array));
  OK(cuMipmappedArrayCreate(&mipmap, &shape, 3));
  EXPECT_EQUAL(used(), 22 * MIB); /* 16 + 4 + 1, in granules */
  OK(cuMipmappedArrayDestroy(mipmap));
  shape.Flags = CUDA_ARRAY3D_SPARSE;
  OK(cuArray3DCreate_v2(&array, &shape));
  EXPECT_EQUAL(used(), 0);
}

static void graph_memory(void) {
  CUDA_MEM_ALLOC_NODE_PARAMS params = {.poolProps = {.location = {CU_MEM_LOCATION_TYPE_DEVICE, 0}}, .bytesize = 6 * MIB};
  CUgraph graph;
  CUgraphNode node;
  CUgraphExec exec;
  uint64_t held;
  start();
  OK(cuGraphCreate(&graph, 0));
  OK(cuGraphAddMemAllocNode(&node, graph, NULL, 0, &params));
  EXPECT(params.dptr != 0);
  OK(cuGraphInstantiateWithFlags(&exec, graph, 0));
  EXPECT_EQUAL(used(), 0);
  OK(cuGraphLaunch(exec, NULL));
  EXPECT_EQUAL(used(), 6 * MIB);
  OK(cuCtxSynchronize());
  OK(cuGraphExecDestroy(exec));
  OK(cuDeviceGetGraphMemAttribute(0, CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT, &held));
  EXPECT_EQUAL(held, 6 * MIB);
  OK(cuDeviceGraphMemTrim(0));
  EXPECT_EQUAL(used(), 0);
}

static void reset(void) {
  CUcontext context;
  CUdeviceptr address;
  CUstream stream;
  OK(cuInit(0));
  OK(cuDevicePrimaryCtxRetain(&context, 0));
  OK(cuCtxSetCurrent(context));
  OK(cuStreamCreate(&stream, 0));
  OK(cuMemAlloc_v2(&address, GIB));
  OK(cuMemAllocAsync(&address, MIB, stream));
  OK(cuDevicePrimaryCtxReset_v2(0));
  EXPECT_EQUAL(sim_memory_used(0, 0), 0);
  EXPECT_EQUAL(cuMemAlloc_v2(&address, 1), CUDA_ERROR_CONTEXT_IS_DESTROYED);
  OK(cuDevicePrimaryCtxRetain(&context, 0));
  OK(cuCtxSetCurrent(context));
  OK(cuMemAlloc_v2(&address, 1));
}

static void nth_allocation(void) {
  CUdeviceptr address;
  start();
  sim_fail_allocation(2);
  OK(cuMemAlloc_v2(&address, 2 * MIB));
  EXPECT_EQUAL(cuMemAllocAsync(&address, 2 * MIB, NULL) == CUDA_SUCCESS, 1); /* its smaller growth step still fits */
  OK(cuMemAlloc_v2(&address, 2 * MIB));
}

/* A child that allocates, reports and waits to be killed. */
static pid_t hog(uint64_t bytes, int ready) {
  pid_t child = fork();
  if (child != 0) return child;
  CUdeviceptr address;
  start();
  OK(cuMemAlloc_v2(&address, bytes));
  EXPECT(write(ready, "r", 1) == 1);
  pause();
  _exit(0);
}

static void killed(void) {
  int ready[2];
  char byte;
  CUdeviceptr address;
  EXPECT(pipe(ready) == 0);
  pid_t child = hog(8 * GIB, ready[1]);
  EXPECT(read(ready[0], &byte, 1) == 1);
  start();
  EXPECT_EQUAL(sim_memory_used(0, child), 8 * GIB + CONTEXT_MIB * MIB);
  EXPECT_EQUAL(sim_processes(0), 2);
  EXPECT_EQUAL(cuMemAlloc_v2(&address, 4 * GIB), CUDA_ERROR_OUT_OF_MEMORY);
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  OK(cuMemAlloc_v2(&address, 4 * GIB));
  EXPECT_EQUAL(sim_memory_used(0, child), 0);
  EXPECT_EQUAL(sim_processes(0), 1);
}

static void forked(void) {
  int status;
  start();
  pid_t child = fork();
  if (child == 0) _exit(cuInit(0) == CUDA_ERROR_NOT_INITIALIZED ? 0 : 1);
  waitpid(child, &status, 0);
  EXPECT_EQUAL(status, 0);
  EXPECT_EQUAL(sim_processes(0), 1);
}

static void reborn(void) {
  int status;
  CUdeviceptr address;
  start();
  OK(cuMemAlloc_v2(&address, GIB));
  pid_t child = fork();
  if (child == 0) {
    EXPECT_EQUAL(cuMemAlloc_v2(&address, GIB), CUDA_ERROR_NOT_INITIALIZED);
    start();
    EXPECT_EQUAL(used(), 0);
    OK(cuMemAlloc_v2(&address, 2 * GIB));
    EXPECT_EQUAL(used(), 2 * GIB);
    _exit(0);
  }
  waitpid(child, &status, 0);
  EXPECT_EQUAL(status, 0);
  EXPECT_EQUAL(sim_device_memory_used(0), GIB + CONTEXT_MIB * MIB);
}

/* Children that allocate, free and launch until they are killed, at any instruction. */
static void storm(void) {
  enum { CHILDREN = 6, KILLS = 300 };
  pid_t children[CHILDREN] = {0};
  unsigned seed = 7;
  CUdeviceptr address[2];
  for (int kills = 0; kills < KILLS; kills++) {
    int i = rand_r(&seed) % CHILDREN;
    if (children[i] > 0) {
      kill(children[i], SIGKILL);
      waitpid(children[i], NULL, 0);
    }
    children[i] = fork();
    if (children[i] == 0) {
      start();
      CUfunction function = kernel("k_20us");
      for (;;) {
        if (cuMemAlloc_v2(&address[0], 64 * MIB) == CUDA_SUCCESS) cuMemFree_v2(address[0]);
        launch(function, 132, NULL);
        if (rand_r(&seed) % 8 == 0) cuCtxSynchronize();
      }
    }
    for (volatile int spin = rand_r(&seed) % 2000000; spin > 0; spin--) {}
  }
  for (int i = 0; i < CHILDREN; i++)
    if (children[i] > 0) kill(children[i], SIGKILL), waitpid(children[i], NULL, 0);
  start();
  EXPECT_EQUAL(sim_processes(0), 1);
  EXPECT_EQUAL(sim_device_memory_used(0), CONTEXT_MIB * MIB);
  OK(cuMemAlloc_v2(&address[0], 9 * GIB));
}

static void crowd(void) {
  enum { PROCESSES = 5000 };
  CUcontext context;
  int ready[2], go[2];
  char byte;
  EXPECT(pipe(ready) == 0 && pipe(go) == 0);
  for (int i = 0; i < PROCESSES; i++) {
    pid_t child = fork();
    EXPECT(child >= 0);
    if (child > 0) continue;
    OK(cuInit(0));
    OK(cuCtxCreate_v2(&context, 0, 0));
    EXPECT(write(ready[1], "r", 1) == 1);
    close(go[1]);
    EXPECT(read(go[0], &byte, 1) == 0);
    _exit(0);
  }
  for (int i = 0; i < PROCESSES; i++) EXPECT(read(ready[0], &byte, 1) == 1);
  EXPECT_EQUAL(sim_processes(0), PROCESSES);
  EXPECT_EQUAL(sim_device_memory_used(0), PROCESSES * MIB);
  close(go[1]);
  while (wait(NULL) > 0) {}
  while (sim_processes(0) > 0) {}
  EXPECT_EQUAL(sim_device_memory_used(0), 0);
}

static void shared(void) {
  CUipcMemHandle handle;
  CUdeviceptr address, opened;
  CUcontext context;
  int pipes[2], status;
  EXPECT(pipe(pipes) == 0);
  pid_t child = fork();
  if (child == 0) {
    start();
    EXPECT(read(pipes[0], &handle, sizeof handle) == (ssize_t)sizeof handle);
    OK(cuIpcOpenMemHandle_v2(&opened, handle, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS));
    EXPECT_EQUAL(used(), 0);
    OK(cuIpcCloseMemHandle(opened));
    EXPECT_EQUAL(cuIpcCloseMemHandle(opened), CUDA_ERROR_INVALID_VALUE);
    _exit(0);
  }
  context = start();
  OK(cuMemAlloc_v2(&address, 64 * MIB));
  OK(cuIpcGetMemHandle(&handle, address));
  EXPECT_EQUAL(cuIpcOpenMemHandle_v2(&opened, handle, 0), CUDA_ERROR_INVALID_CONTEXT);
  EXPECT(write(pipes[1], &handle, sizeof handle) == (ssize_t)sizeof handle);
  waitpid(child, &status, 0);
  EXPECT_EQUAL(status, 0);
  OK(cuCtxDestroy_v2(context));
  EXPECT_EQUAL(sim_memory_used(0, 0), 0);
}

static void external(void) {
  CUDA_EXTERNAL_MEMORY_HANDLE_DESC description = {.type = CU_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD, .size = 16 * MIB};
  CUDA_EXTERNAL_MEMORY_BUFFER_DESC buffer = {.offset = 0, .size = 8 * MIB};
  CUexternalMemory memory;
  CUdeviceptr address;
  start();
  OK(cuImportExternalMemory(&memory, &description));
  OK(cuExternalMemoryGetMappedBuffer(&address, memory, &buffer));
  EXPECT_EQUAL(used(), 0);
  OK(cuMemFree_v2(address));
  OK(cuDestroyExternalMemory(memory));
}

static void fuzz(void) {
  enum { LIVE = 500, ROUNDS = 20000 };
  static CUdeviceptr address[LIVE];
  static size_t size[LIVE];
  unsigned seed = 1;
  start();
  for (int round = 0; round < ROUNDS; round++) {
    int i = rand_r(&seed) % LIVE;
    if (address[i] != 0) {
      size_t found;
      CUdeviceptr base;
      OK(cuMemGetAddressRange_v2(&base, &found, address[i] + size[i] / 2));
      EXPECT(base == address[i] && found == size[i]);
      OK(cuMemFree_v2(address[i]));
      address[i] = 0;
      continue;
    }
    size[i] = (size_t)rand_r(&seed) % (size_t)(rand_r(&seed) % 2 ? 8 << 20 : 64 << 10) + 1;
    OK(cuMemAlloc_v2(&address[i], size[i]));
  }
  for (int i = 0; i < LIVE; i++)
    if (address[i] != 0) OK(cuMemFree_v2(address[i]));
  EXPECT_EQUAL(used(), 0);
}

static void *churn(void *argument) {
  enum { ROUNDS = 2000 };
  unsigned seed = (unsigned)(uintptr_t)argument;
  CUdeviceptr address;
  CUstream stream;
  CUevent event;
  OK(cuCtxSetCurrent(argument));
  CUfunction function = kernel("k_1us");
  OK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
  OK(cuEventCreate(&event, 0));
  for (int round = 0; round < ROUNDS; round++) {
    OK(cuMemAlloc_v2(&address, (size_t)rand_r(&seed) % (4 << 20) + 1));
    OK(cuMemFree_v2(address));
    OK(cuMemAllocAsync(&address, 4096, stream));
    launch(function, 1, stream);
    OK(cuEventRecord(event, stream));
    OK(cuMemFreeAsync(address, stream));
  }
  OK(cuEventSynchronize(event));
  OK(cuEventDestroy_v2(event));
  OK(cuStreamDestroy_v2(stream));
  return NULL;
}

static void threads(void) {
  enum { THREADS = 4 };
  pthread_t thread[THREADS];
  CUcontext context = start();
  for (int i = 0; i < THREADS; i++) EXPECT_EQUAL(pthread_create(&thread[i], NULL, churn, context), 0);
  for (int i = 0; i < THREADS; i++) pthread_join(thread[i], NULL);
  OK(cuCtxSynchronize());
  EXPECT_EQUAL(used(), 0);
  EXPECT_EQUAL(sim_busy_ns(0, 0) > 2000 * US, 1);
}

static const struct test tests[] = {
    {"linear memory takes granules of 2 MiB, small pieces share them", granules, CONFIG},
    {"a full device refuses, and a free makes room", exhaustion, CONFIG},
    {"addresses answer for their range and come back after a free", addresses, CONFIG},
    {"copies and sets move bytes", copies, CONFIG},
    {"managed memory may exceed the device", oversized_managed, CONFIG},
    {"a pool holds what it reserved until trimmed or synchronised", pools, CONFIG},
    {"a pool's bound holds, and it outlives its destruction while used", bounded_pool, CONFIG},
    {"a physical allocation lives while referenced or mapped", virtual_memory, CONFIG},
    {"arrays and mipmaps take what their requirements say", arrays, CONFIG},
    {"graph memory comes with the first launch and goes with a trim", graph_memory, CONFIG},
    {"a primary context's reset frees everything at once", reset, CONFIG},
    {"the nth allocation fails once", nth_allocation, CONFIG},
    {"a killed process's memory is there for the next who asks", killed, CONFIG},
    {"a child of fork cannot use the driver", forked, CONFIG},
    {"four threads leave nothing behind", threads, CONFIG},
    {"where the machine is set to allow it, the child starts anew", reborn, CONFIG "fork_reinit 1\n"},
    {"300 kills at any instruction leave nothing behind", storm, CONFIG},
    {"5,000 processes fit", crowd, "memory 10G\ncontext_bytes 1M\nreserved_bytes 0\n"},
    {"memory opened through IPC is its owner's", shared, CONFIG},
    {"external memory costs the device nothing", external, CONFIG},
    {"20,000 random allocations and frees leave nothing behind", fuzz, CONFIG},
};
RUN_TESTS(tests)
