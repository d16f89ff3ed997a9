/* Who runs when, in virtual time: every expectation is exact. */
#include <pthread.h>
#include <string.h>

#include "check.h"

enum { SMS = 100 };
#define CONFIG "sms 100\nslice_ns 2000000\n"

static uint64_t since(uint64_t begin) { return sim_now() - begin; }

static uint64_t begin_virtual(void) {
  sim_clock_virtual(0);
  start();
  return sim_now();
}

static void durations(void) {
  uint64_t begin = begin_virtual(), ns = 123456;
  void *params[] = {&ns};
  launch(kernel("matmul_250us"), SMS, NULL);
  OK(cuCtxSynchronize());
  EXPECT_EQUAL(since(begin), 250 * US);
  OK(cuLaunchKernel(kernel("spin"), SMS, 1, 1, 1, 1, 1, 0, NULL, params, NULL));
  OK(cuCtxSynchronize());
  EXPECT_EQUAL(since(begin), 250 * US + 123456);
  CUfunction plain = kernel("plain");
  launch(plain, SMS, NULL);
  OK(cuCtxSynchronize());
  EXPECT_EQUAL(since(begin), 250 * US + 123456 + 10 * US);
  sim_kernel_duration(plain, 7 * MS);
  launch(plain, SMS, NULL);
  OK(cuCtxSynchronize());
  EXPECT_EQUAL(sim_busy_ns(0, 0), 250 * US + 123456 + 10 * US + 7 * MS);
}

static void events(void) {
  CUevent first, second, never;
  float ms;
  begin_virtual();
  CUfunction function = kernel("k_300us");
  OK(cuEventCreate(&first, 0));
  OK(cuEventCreate(&second, 0));
  OK(cuEventCreate(&never, 0));
  OK(cuEventQuery(never));
  OK(cuEventRecord(first, NULL));
  launch(function, SMS, NULL);
  launch(function, SMS, NULL);
  OK(cuEventRecord(second, NULL));
  OK(cuEventQuery(first));
  EXPECT_EQUAL(cuEventQuery(second), CUDA_ERROR_NOT_READY);
  EXPECT_EQUAL(cuEventElapsedTime(&ms, first, second), CUDA_ERROR_NOT_READY);
  OK(cuEventSynchronize(second));
  OK(cuEventElapsedTime(&ms, first, second));
  EXPECT_NEAR(ms, 0.6, 1e-6);
  EXPECT_EQUAL(cuEventElapsedTime(&ms, first, never), CUDA_ERROR_INVALID_HANDLE);
}

static void side_by_side(void) {
  CUstream a, b;
  uint64_t begin = begin_virtual();
  CUfunction function = kernel("k_1ms");
  OK(cuStreamCreate(&a, CU_STREAM_NON_BLOCKING));
  OK(cuStreamCreate(&b, CU_STREAM_NON_BLOCKING));
  launch(function, SMS / 2, a);
  launch(function, SMS / 2, b);
  OK(cuCtxSynchronize());
  EXPECT_EQUAL(since(begin), MS);
  EXPECT_EQUAL(sim_busy_ns(0, 0), MS); /* busy is the union */
  launch(function, SMS, a);
  launch(function, SMS / 2, b);
  OK(cuCtxSynchronize());
  EXPECT_EQUAL(since(begin), 3 * MS);
  OK(cuLaunchCooperativeKernel(function, 1, 1, 1, 1, 1, 1, 0, a, NULL));
  launch(function, 1, b);
  OK(cuCtxSynchronize());
  EXPECT_EQUAL(since(begin), 5 * MS);
}

static void legacy_stream(void) {
  CUstream blocking, free_running;
  uint64_t begin = begin_virtual();
  CUfunction function = kernel("k_1ms");
  OK(cuStreamCreate(&blocking, 0));
  OK(cuStreamCreate(&free_running, CU_STREAM_NON_BLOCKING));
  launch(function, 1, blocking);
  launch(function, 1, NULL); /* waits for the blocking stream */
  launch(function, 1, blocking); /* waits for the legacy stream */
  launch(function, 1, free_running);
  OK(cuStreamSynchronize(free_running));
  EXPECT_EQUAL(since(begin), MS);
  OK(cuCtxSynchronize());
  EXPECT_EQUAL(since(begin), 3 * MS);
}

static void waits(void) {
  CUstream a, b;
  CUevent event;
  uint64_t begin = begin_virtual();
  CUfunction function = kernel("k_1ms");
  OK(cuStreamCreate(&a, CU_STREAM_NON_BLOCKING));
  OK(cuStreamCreate(&b, CU_STREAM_NON_BLOCKING));
  OK(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
  launch(function, 1, a);
  OK(cuEventRecord(event, a));
  OK(cuStreamWaitEvent(b, event, 0));
  launch(function, 1, b);
  OK(cuStreamSynchronize(b));
  EXPECT_EQUAL(since(begin), 2 * MS);
}

static void depth(void) {
  enum { DEPTH = 10 };
  uint64_t begin = begin_virtual();
  CUfunction function = kernel("k_1ms");
  EXPECT_EQUAL(sim_set("queue_depth", DEPTH), 0);
  for (int i = 0; i < DEPTH; i++) launch(function, SMS, NULL);
  EXPECT_EQUAL(since(begin), 0);
  launch(function, SMS, NULL); /* returns when the first is done */
  EXPECT_EQUAL(since(begin), MS);
  EXPECT_EQUAL(sim_pending(0, 0), DEPTH);
}

/* ---- tenants ---- */

struct tenant {
  unsigned id;
  unsigned kernels;
  const char *name;
  uint64_t ended;
};

static void *run_tenant(void *argument) {
  struct tenant *tenant = argument;
  CUcontext context;
  EXPECT_EQUAL(sim_clock_join(tenant->id), 0);
  sim_tenant(tenant->id);
  OK(cuCtxCreate_v2(&context, 0, 0));
  CUfunction function = kernel(tenant->name);
  for (unsigned i = 0; i < tenant->kernels; i++) launch(function, SMS, NULL);
  OK(cuCtxSynchronize());
  tenant->ended = sim_now();
  sim_clock_leave();
  return NULL;
}

static void run_tenants(struct tenant *tenants, unsigned count) {
  pthread_t threads[8];
  OK(cuInit(0));
  sim_clock_virtual(count);
  for (unsigned i = 0; i < count; i++) pthread_create(&threads[i], NULL, run_tenant, &tenants[i]);
  for (unsigned i = 0; i < count; i++) pthread_join(threads[i], NULL);
}

static void slices(void) {
  struct tenant tenants[] = {{0, 100, "k_1ms", 0}, {1, 100, "k_10ms", 0}};
  run_tenants(tenants, 2);
  uint64_t begin = 1000 * MS; /* where virtual time begins */
  EXPECT_EQUAL(sim_tenant_busy_ns(0, 0, 0), 100 * MS);
  EXPECT_EQUAL(sim_tenant_busy_ns(0, 0, 1), 1000 * MS);
  EXPECT_NEAR(tenants[0].ended - begin, 200 * MS, 2 * MS); /* half of the GPU while both want it */
  EXPECT_EQUAL(tenants[1].ended - begin, 1100 * MS);
  EXPECT_EQUAL(sim_device_busy_ns(0), 1100 * MS);
}

static void switch_cost(void) {
  struct tenant tenants[] = {{0, 10, "k_2ms", 0}, {1, 10, "k_2ms", 0}};
  run_tenants(tenants, 2); /* 20 slices of 2 ms, 19 switches of 100 us */
  EXPECT_EQUAL(tenants[1].ended - 1000 * MS, 40 * MS + 19 * 100 * US);
  EXPECT_EQUAL(sim_device_busy_ns(0), 40 * MS);
}

static void concurrent(void) {
  struct tenant tenants[] = {{0, 10, "k_2ms", 0}, {1, 10, "k_2ms", 0}};
  sim_set("concurrent_processes", 1);
  run_tenants(tenants, 2); /* whole-GPU kernels cannot overlap, but take turns without slices */
  EXPECT_EQUAL(sim_device_busy_ns(0), 40 * MS);
}

static void deterministic(void) {
  uint64_t ends[2][3];
  for (int round = 0; round < 2; round++) {
    struct tenant tenants[] = {{0, 37, "a_130us", 0}, {1, 11, "b_1700us", 0}, {2, 53, "c_90us", 0}};
    run_tenants(tenants, 3);
    for (int i = 0; i < 3; i++) ends[round][i] = tenants[i].ended;
  }
  EXPECT(memcmp(ends[0], ends[1], sizeof ends[0]) == 0);
}

static void processes(void) {
  int status[2];
  pid_t children[2];
  sim_clock_virtual(2);
  for (int i = 0; i < 2; i++) {
    children[i] = fork();
    if (children[i] != 0) continue;
    struct tenant tenant = {(unsigned)i, 50, "k_1ms", 0};
    OK(cuInit(0));
    run_tenant(&tenant);
    EXPECT_NEAR(tenant.ended - 1000 * MS, 100 * MS, 2 * MS);
    exit(0);
  }
  for (int i = 0; i < 2; i++) waitpid(children[i], &status[i], 0);
  EXPECT(status[0] == 0 && status[1] == 0);
}

/* ---- graphs ---- */

static CUgraphNode add_kernel(CUgraph graph, CUfunction function, const CUgraphNode *after, size_t count) {
  CUDA_KERNEL_NODE_PARAMS params = {.func = function, .gridDimX = 1, .gridDimY = 1, .gridDimZ = 1,
                                    .blockDimX = 1, .blockDimY = 1, .blockDimZ = 1};
  CUgraphNode node;
  OK(cuGraphAddKernelNode_v2(&node, graph, after, count, &params));
  return node;
}

static void graphs(void) {
  CUgraph graph;
  CUgraphExec exec;
  uint64_t begin = begin_virtual();
  CUfunction function = kernel("k_1ms");
  OK(cuGraphCreate(&graph, 0));
  CUgraphNode root = add_kernel(graph, function, NULL, 0);
  CUgraphNode left = add_kernel(graph, function, &root, 1), right = add_kernel(graph, function, &root, 1);
  CUgraphNode both[] = {left, right};
  add_kernel(graph, function, both, 2);
  OK(cuGraphInstantiateWithFlags(&exec, graph, 0));
  OK(cuGraphLaunch(exec, NULL));
  OK(cuCtxSynchronize());
  EXPECT_EQUAL(since(begin), 3 * MS); /* the critical path */
}

static void captures(void) {
  CUgraph graph;
  CUgraphExec exec;
  CUstream stream;
  CUdeviceptr address;
  CUevent event;
  uint64_t begin = begin_virtual();
  CUfunction function = kernel("k_1ms");
  OK(cuStreamCreate(&stream, 0));
  OK(cuEventCreate(&event, 0));
  OK(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
  launch(function, 1, stream);
  OK(cuEventRecord(event, stream));
  launch(function, 1, stream);
  EXPECT_EQUAL(cuEventQuery(event), CUDA_ERROR_CAPTURED_EVENT);
  OK(cuStreamEndCapture(stream, &graph));
  EXPECT_EQUAL(since(begin), 0);
  OK(cuGraphInstantiateWithFlags(&exec, graph, 0));
  OK(cuGraphLaunch(exec, stream));
  OK(cuStreamSynchronize(stream));
  EXPECT_EQUAL(since(begin), 2 * MS);
  OK(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
  EXPECT_EQUAL(cuMemAlloc_v2(&address, 1), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  EXPECT_EQUAL(cuStreamEndCapture(stream, &graph), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
}

/* ---- the real clock ---- */

static void real_time(void) {
  CUevent first, second;
  float ms;
  start();
  CUfunction function = kernel("k_1ms");
  OK(cuEventCreate(&first, 0));
  OK(cuEventCreate(&second, 0));
  launch(kernel("k_50ms"), SMS, NULL); /* time enough to queue the rest behind it */
  OK(cuEventRecord(first, NULL));
  uint64_t begin = sim_now();
  for (int i = 0; i < 20; i++) launch(function, SMS, NULL);
  OK(cuEventRecord(second, NULL));
  OK(cuEventSynchronize(second));
  EXPECT(since(begin) >= 20 * MS);
  OK(cuEventElapsedTime(&ms, first, second));
  EXPECT_NEAR(ms, 20.0, 1e-3);
  EXPECT_EQUAL(sim_busy_ns(0, 0), 70 * MS);
}

static const struct test tests[] = {
    {"a kernel runs as long as its name, parameter or setting says", durations, CONFIG},
    {"events carry the time at which the stream passed them", events, CONFIG},
    {"kernels overlap while they fit, and busy time is the union", side_by_side, CONFIG},
    {"the legacy stream and blocking streams wait for each other", legacy_stream, CONFIG},
    {"a stream waits for another's event", waits, CONFIG},
    {"a launch beyond the queue's depth blocks", depth, CONFIG},
    {"two tenants get equal slices, and busy time is exact", slices, CONFIG},
    {"a switch between tenants costs what it is set to", switch_cost, CONFIG "switch_ns 100000\n"},
    {"processes may run side by side", concurrent, CONFIG},
    {"the same tenants end at the same nanosecond again", deterministic, CONFIG},
    {"processes share one virtual clock", processes, CONFIG},
    {"a graph takes its critical path", graphs, CONFIG},
    {"a capture records and forbids what is unsafe", captures, CONFIG},
    {"real time keeps exact accounts too", real_time, CONFIG},
};
RUN_TESTS(tests)
