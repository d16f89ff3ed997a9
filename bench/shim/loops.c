/* Times one driver operation in a tight loop: `loops OPERATION THREADS PROCESSES`
 * prints nanoseconds per operation, the median of repeated loops, mean over workers.
 *
 * Linked to the driver like any program. Run it alone for the native cost, and
 * under LD_PRELOAD=libvgpu.so for the shim's.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cuda_abi.h"

CUresult cuInit(unsigned flags);
CUresult cuDeviceGetCount(int *count);
CUresult cuCtxCreate_v2(CUcontext *context, unsigned flags, CUdevice device);
CUresult cuCtxSetCurrent(CUcontext context);
CUresult cuMemAlloc_v2(CUdeviceptr *ptr, size_t size);
CUresult cuMemFree_v2(CUdeviceptr ptr);
CUresult cuMemAllocAsync(CUdeviceptr *ptr, size_t size, CUstream stream);
CUresult cuMemFreeAsync(CUdeviceptr ptr, CUstream stream);
CUresult cuMemCreate(CUmemGenericAllocationHandle *handle, size_t size, const CUmemAllocationProp *prop,
                     unsigned long long flags);
CUresult cuMemRelease(CUmemGenericAllocationHandle handle);
CUresult cuMemGetInfo_v2(size_t *available, size_t *total);
CUresult cuModuleLoadData(CUmodule *module, const void *image);
CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name);
CUresult cuLaunchKernel(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                        unsigned shared, CUstream stream, void **params, void **extra);
CUresult cuGetProcAddress_v2(const char *symbol, void **pfn, int version, uint64_t flags,
                             CUdriverProcAddressQueryResult *status);

enum { REPEATS = 7, WORKERS = 8, LIVE = 100000 };
static uint64_t loop_ns = 60000000;

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void need(int ok, const char *what) {
  if (ok) return;
  fprintf(stderr, "loops: %s failed\n", what);
  exit(1);
}

static CUcontext context;
static CUfunction function;

static void use_gpu(void) {
  CUmodule module;
  need(!cuInit(0), "cuInit");
  need(!cuCtxCreate_v2(&context, 0, 0), "cuCtxCreate");
  need(!cuModuleLoadData(&module, ""), "cuModuleLoadData");
  need(!cuModuleGetFunction(&function, module, "k_0ns"), "cuModuleGetFunction");
}

/* ---- the operations: each does `count` of them --------------------------------- */

static void pass(uint64_t count) {
  int devices;
  for (uint64_t i = 0; i < count; i++) cuDeviceGetCount(&devices);
}

static void launch(uint64_t count) {
  for (uint64_t i = 0; i < count; i++) cuLaunchKernel(function, 132, 1, 1, 256, 1, 1, 0, NULL, NULL, NULL);
}

static void pair(uint64_t count) {
  CUdeviceptr ptr;
  for (uint64_t i = 0; i < count; i++) {
    need(!cuMemAlloc_v2(&ptr, 4096), "cuMemAlloc");
    cuMemFree_v2(ptr);
  }
}

static void pool_pair(uint64_t count) {
  CUdeviceptr ptr;
  for (uint64_t i = 0; i < count; i++) {
    cuMemAllocAsync(&ptr, 4096, NULL);
    cuMemFreeAsync(ptr, NULL);
  }
}

static void block_pair(uint64_t count) {
  const CUmemAllocationProp prop = {.type = CU_MEM_ALLOCATION_TYPE_PINNED,
                                    .location = {.type = CU_MEM_LOCATION_TYPE_DEVICE}};
  CUmemGenericAllocationHandle handle;
  for (uint64_t i = 0; i < count; i++) {
    cuMemCreate(&handle, 2 << 20, &prop, 0);
    cuMemRelease(handle);
  }
}

static void meminfo(uint64_t count) {
  size_t available, total;
  for (uint64_t i = 0; i < count; i++) cuMemGetInfo_v2(&available, &total);
}

static void look_up(const char *name, int version, uint64_t count) {
  void *address;
  CUdriverProcAddressQueryResult status;
  for (uint64_t i = 0; i < count; i++) cuGetProcAddress_v2(name, &address, version, 0, &status);
}

static void lookup_hooked(uint64_t count) { look_up("cuMemAlloc", 3020, count); }
static void lookup_other(uint64_t count) { look_up("cuDeviceGetCount", 2000, count); }

static void refused(uint64_t count) {
  CUdeviceptr ptr;
  for (uint64_t i = 0; i < count; i++) need(cuMemAlloc_v2(&ptr, 1ull << 40) == CUDA_ERROR_OUT_OF_MEMORY, "refusal");
}

struct operation {
  const char *name;
  void (*run)(uint64_t count);
};

static const struct operation operations[] = {
    {"pass", pass}, {"launch", launch}, {"pair", pair}, {"pool_pair", pool_pair}, {"block_pair", block_pair},
    {"meminfo", meminfo}, {"lookup_hooked", lookup_hooked}, {"lookup_other", lookup_other}, {"refused", refused},
};

static const struct operation *find(const char *name) {
  for (unsigned i = 0; i < sizeof operations / sizeof *operations; i++)
    if (!strcmp(operations[i].name, name)) return &operations[i];
  return NULL;
}

/* ---- loops ------------------------------------------------------------------------- */

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double once(const struct operation *operation, uint64_t count) {
  uint64_t started = now_ns();
  operation->run(count);
  return (double)(now_ns() - started) / (double)count;
}

static double measure(const struct operation *operation) {
  double each[REPEATS], rough = once(operation, 2000);
  rough = once(operation, 2000);
  uint64_t count = (uint64_t)((double)loop_ns / (rough > 0.5 ? rough : 0.5)) + 1;
  for (int i = 0; i < REPEATS; i++) each[i] = once(operation, count);
  qsort(each, REPEATS, sizeof *each, ascending);
  return each[REPEATS / 2];
}

struct worker {
  const struct operation *operation;
  double ns;
};

static void *in_thread(void *argument) {
  struct worker *worker = argument;
  cuCtxSetCurrent(context);
  worker->ns = measure(worker->operation);
  return NULL;
}

static double in_threads(const struct operation *operation, int count) {
  pthread_t threads[WORKERS];
  struct worker workers[WORKERS];
  double sum = 0;
  use_gpu();
  for (int i = 0; i < count; i++) {
    workers[i] = (struct worker){operation, 0};
    pthread_create(&threads[i], NULL, in_thread, &workers[i]);
  }
  for (int i = 0; i < count; i++) {
    pthread_join(threads[i], NULL);
    sum += workers[i].ns;
  }
  return sum / count;
}

static double in_processes(const struct operation *operation, int count) {
  double sum = 0, *ns = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  for (int i = 0; i < count; i++)
    if (!fork()) {
      use_gpu();
      ns[i] = measure(operation);
      _exit(0);
    }
  for (int i = 0; i < count; i++) wait(NULL);
  for (int i = 0; i < count; i++) sum += ns[i];
  return sum / count;
}

/* ---- frees with many allocations alive ------------------------------------------------ */

static uint32_t nth(const char *order, uint32_t i) {
  if (!strcmp(order, "lifo")) return LIVE - 1 - i;
  return !strcmp(order, "random") ? (uint32_t)((uint64_t)i * 61813 % LIVE) : i;
}

static double frees(const char *order) {
  CUdeviceptr *ptr = malloc(LIVE * sizeof *ptr);
  double each[REPEATS];
  use_gpu();
  for (int repeat = 0; repeat < REPEATS; repeat++) {
    for (uint32_t i = 0; i < LIVE; i++) need(!cuMemAlloc_v2(&ptr[i], 512), "cuMemAlloc");
    uint64_t started = now_ns();
    for (uint32_t i = 0; i < LIVE; i++) cuMemFree_v2(ptr[nth(order, i)]);
    each[repeat] = (double)(now_ns() - started) / LIVE;
  }
  qsort(each, REPEATS, sizeof *each, ascending);
  return each[REPEATS / 2];
}

/* From the first call of the driver to a usable context and one allocation. */
static double start(void) {
  CUdeviceptr ptr;
  uint64_t started = now_ns();
  use_gpu();
  need(!cuMemAlloc_v2(&ptr, 4096), "cuMemAlloc");
  return (double)(now_ns() - started);
}

static double run(const char *name, int threads, int processes) {
  if (!strcmp(name, "start")) return start();
  if (!strncmp(name, "free_", 5)) return frees(name + 5);
  const struct operation *operation = find(name);
  need(operation != NULL, "finding the operation");
  return processes > 1 ? in_processes(operation, processes) : in_threads(operation, threads);
}

int main(int count, char **arguments) {
  need(count == 4, "reading `loops OPERATION THREADS PROCESSES`");
  if (getenv("LOOP_MS")) loop_ns = (uint64_t)atoll(getenv("LOOP_MS")) * 1000000;
  int threads = atoi(arguments[2]), processes = atoi(arguments[3]);
  need(threads >= 1 && threads <= WORKERS && processes >= 1 && processes <= WORKERS, "reading the numbers");
  printf("%.2f\n", run(arguments[1], threads, processes));
  return 0;
}
