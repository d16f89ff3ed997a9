/* The compute limit where more than one thing is going on: several processes in a
 * slice, several slices on a device, streams, graphs, changes while it runs. All in
 * virtual time, so each is deterministic. */
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "driver.h"
#include "guest.h"
#include "real.h"
#include "sim/sim.h"
#include "slice.h"
#include "virtual.h"

enum { WORKERS = 4 };

/* One process that launches as fast as it may, for 15 s; its share of the last 10. */
struct worker {
  struct slice *slice;
  const char *kernel;
  unsigned blocks; /* 0: the whole GPU, on the default stream; else on four streams in turn */
  double percent;  /* out */
};

static CUstream streams[4];

/* Where the shim looks for a stream first: it keeps eight per thread. */
static unsigned home_of(CUstream stream) {
  uintptr_t bits = (uintptr_t)stream;
  return (bits >> 4 ^ bits >> 9 ^ bits) % 8;
}

/* The hardest four of many: they would all live in the same place. */
static void prepare_streams(void) {
  CUstream made[64];
  int alike[8] = {0}, home = 0, chosen = 0;
  for (int i = 0; i < 64; i++) {
    CHECK_EQUAL(cuStreamCreate(&made[i], CU_STREAM_NON_BLOCKING), CUDA_SUCCESS);
    if (++alike[home_of(made[i])] > alike[home]) home = (int)home_of(made[i]);
  }
  for (int i = 0; i < 64 && chosen < 4; i++)
    if ((int)home_of(made[i]) == home) streams[chosen++] = made[i];
  CHECK_EQUAL(chosen, 4);
}

static double launch_for(const struct worker *worker, CUfunction function, uint64_t until) {
  uint64_t since = virtual_now(), before = SIM(sim_busy_ns)(0, 0);
  for (unsigned turn = 0; virtual_now() < until; turn++) {
    CUstream stream = worker->blocks ? streams[turn % 4] : NULL;
    CHECK_EQUAL(launch_on(function, worker->blocks ? worker->blocks : 132, stream), CUDA_SUCCESS);
    virtual_sleep(2000);
  }
  return 100.0 * (double)(SIM(sim_busy_ns)(0, 0) - before) / (double)(virtual_now() - since);
}

static void run_worker(struct worker *worker, unsigned id) {
  slice_enter(worker->slice);
  SIM(sim_set)("fork_reinit", 1);
  virtual_time_joined(id);
  gpu_context();
  prepare_streams();
  CUfunction function = gpu_function(worker->kernel);
  uint64_t start = virtual_now();
  launch_for(worker, function, start + 5 * SECOND);
  worker->percent = launch_for(worker, function, start + 15 * SECOND);
  virtual_time_left();
  exit(0);
}

/* ---- the node agent's part ------------------------------------------------------------ */

/* Time slices stretch everybody's kernels, so each slice measures also what the others
 * took. NVML knows what each process really used: their ratio goes into the page. */
struct agent {
  nvmlDevice_t device;
  unsigned long long seen;                  /* the newest sample's time */
  double measured[WORKERS], used[WORKERS];  /* moving averages, per cent */
};

static void open_nvml(struct agent *agent) {
  nvmlReturn_t (*init)(void) = (nvmlReturn_t(*)(void))real_symbol("nvmlInit_v2");
  nvmlReturn_t (*handle)(unsigned, nvmlDevice_t *) =
      (nvmlReturn_t(*)(unsigned, nvmlDevice_t *))real_symbol("nvmlDeviceGetHandleByIndex_v2");
  CHECK(init && handle);
  CHECK_EQUAL(init(), NVML_SUCCESS);
  CHECK_EQUAL(handle(0, &agent->device), NVML_SUCCESS);
}

static int holds_pid(const struct slice *slice, unsigned pid) {
  for (uint32_t i = 0; i < slice->usage->slots_used; i++)
    if (slice->usage->slots[i].pid == (int)pid) return 1;
  return 0;
}

static void blend(double *average, double value) { *average += 0.2 * (value - *average); }

/* Whether NVML had news. */
static int ask_nvml(struct agent *agent, struct slice **slices, unsigned count) {
  nvmlProcessUtilizationSample_t samples[64];
  unsigned found = 64;
  double used[WORKERS] = {0};
  if (real_nvml()->nvmlDeviceGetProcessUtilization(agent->device, samples, &found, agent->seen)) return 0;
  for (unsigned i = 0; i < found; i++) {
    if (samples[i].timeStamp > agent->seen) agent->seen = samples[i].timeStamp;
    for (unsigned s = 0; s < count; s++)
      if (holds_pid(slices[s], samples[i].pid)) used[s] += samples[i].smUtil;
  }
  for (unsigned s = 0; found && s < count; s++) blend(&agent->used[s], used[s]);
  return found > 0;
}

static void correct(struct agent *agent, struct slice **slices, unsigned count, uint64_t now) {
  struct vgpu_usage *pages[WORKERS];
  const uint32_t devices[WORKERS] = {0};
  uint64_t covered[WORKERS], owned[WORKERS];
  for (unsigned i = 0; i < count; i++) pages[i] = slices[i]->usage;
  CHECK_EQUAL(vgpu_busy_shares(pages, devices, count, now - 400 * MS, now - 200 * MS, covered, owned), 0);
  for (unsigned i = 0; i < count; i++) {
    blend(&agent->measured[i], 100.0 * (double)covered[i] / (200.0 * MS));
    double part = agent->measured[i] > 1 ? agent->used[i] / agent->measured[i] : 1;
    struct vgpu_limits_device line = slice_line(slices[i]);
    line.busy_permille = part > 1 ? 1000 : part < 0.1 ? 100 : (uint32_t)(1000 * part);
    slice_write(slices[i], &line);
  }
}

static void run_agent(struct slice **slices, unsigned count, unsigned id) {
  struct agent agent = {.seen = 0};
  virtual_time_joined(id);
  open_nvml(&agent);
  uint64_t start = virtual_now();
  for (uint64_t now = start; now < start + 15 * SECOND; now = virtual_now()) {
    if (now > start + 500 * MS && ask_nvml(&agent, slices, count)) correct(&agent, slices, count, now);
    virtual_sleep(200 * MS);
  }
  virtual_time_left();
  exit(0);
}

static void together(struct worker *workers, unsigned count, struct slice **slices, unsigned slice_count) {
  pid_t children[WORKERS + 1];
  unsigned participants = count + (slice_count > 1);
  SIM(sim_clock_virtual)(participants);
  for (unsigned i = 0; i < participants; i++) {
    children[i] = fork();
    if (!children[i] && i < count) run_worker(&workers[i], i);
    if (!children[i]) run_agent(slices, slice_count, i);
  }
  for (unsigned i = 0; i < participants; i++) {
    int status;
    waitpid(children[i], &status, 0);
    CHECK(WIFEXITED(status) && !WEXITSTATUS(status));
  }
}

static struct worker *shared_workers(void) {
  return mmap(NULL, sizeof(struct worker) * WORKERS, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

static double run_pair(uint32_t a, uint32_t b, const char *kernel, double *second) {
  struct worker *workers = shared_workers();
  struct slice first = slice_new(VGPU_UNLIMITED, a), other = slice_new(VGPU_UNLIMITED, b);
  struct slice *slices[] = {&first, &other};
  workers[0] = (struct worker){.slice = &first, .kernel = kernel};
  workers[1] = (struct worker){.slice = &other, .kernel = kernel};
  together(workers, 2, slices, 2);
  *second = workers[1].percent;
  return workers[0].percent;
}

struct pair {
  uint32_t a, b;
  const char *kernel;
};

static double check_pair_here(void *argument) {
  const struct pair *pair = argument;
  char what[64];
  double second, first = run_pair(pair->a, pair->b, pair->kernel, &second);
  snprintf(what, sizeof what, "%u of a pair %u/%u, %s", pair->a, pair->a, pair->b, pair->kernel);
  int ok = near(first, pair->a, 3.0, what);
  snprintf(what, sizeof what, "%u of a pair %u/%u, %s", pair->b, pair->a, pair->b, pair->kernel);
  return ok & near(second, pair->b, 3.0, what);
}

static int check_pair(uint32_t a, uint32_t b, const char *kernel) {
  struct pair pair = {a, b, kernel};
  return in_child(check_pair_here, &pair) > 0;
}

static void pairs(void) {
  int failed = 0;
  const char *kernels[] = {"k_100us", "k_2ms", "k_20ms"};
  for (int k = 0; k < 3; k++) {
    failed += !check_pair(30, 30, kernels[k]);
    failed += !check_pair(30, 70, kernels[k]);
    failed += !check_pair(50, 50, kernels[k]);
  }
  CHECK_EQUAL(failed, 0);
}

struct crowd {
  unsigned count;
  const char *kernel;
  unsigned blocks;
};

static double check_crowd_here(void *argument) {
  const struct crowd *crowd = argument;
  char what[80];
  double sum = 0;
  struct worker *workers = shared_workers();
  struct slice slice = slice_new(VGPU_UNLIMITED, 50), *slices[] = {&slice};
  for (unsigned i = 0; i < crowd->count; i++)
    workers[i] = (struct worker){.slice = &slice, .kernel = crowd->kernel, .blocks = crowd->blocks};
  together(workers, crowd->count, slices, 1);
  for (unsigned i = 0; i < crowd->count; i++) sum += workers[i].percent;
  snprintf(what, sizeof what, "%u processes in a slice of 50, %s, %u blocks", crowd->count, crowd->kernel,
           crowd->blocks);
  return near(sum, 50, crowd->blocks ? 3.0 : 1.0, what);
}

static int check_crowd(unsigned count, const char *kernel, unsigned blocks) {
  struct crowd crowd = {count, kernel, blocks};
  return in_child(check_crowd_here, &crowd) > 0;
}

static int check_crowds(unsigned blocks) {
  int failed = 0;
  const char *kernels[] = {"k_100us", "k_2ms", "k_20ms"};
  for (int k = 0; k < 3; k++)
    for (unsigned count = 2; count <= 4; count += 2) failed += !check_crowd(count, kernels[k], blocks);
  return failed;
}

static void processes(void) { CHECK_EQUAL(check_crowds(0), 0); }

static void processes_with_streams(void) { CHECK_EQUAL(check_crowds(33) + check_crowds(132), 0); }

/* ---- one process, other ways to launch --------------------------------------------------- */

struct way {
  const char *name;
  void (*prepare)(void);
  CUresult (*launch)(unsigned turn);
};

static CUfunction function;
static CUgraphExec exec;

static void prepare_graph(void) {
  CUgraph graph;
  CUgraphNode node, before = NULL;
  const CUDA_KERNEL_NODE_PARAMS params = {.func = function, .gridDimX = 132, .gridDimY = 1, .gridDimZ = 1,
                                          .blockDimX = 256, .blockDimY = 1, .blockDimZ = 1};
  CHECK_EQUAL(cuGraphCreate(&graph, 0), CUDA_SUCCESS);
  for (int i = 0; i < 20; i++, before = node)
    CHECK_EQUAL(cuGraphAddKernelNode_v2(&node, graph, before ? &before : NULL, before != NULL, &params), CUDA_SUCCESS);
  CHECK_EQUAL(cuGraphInstantiateWithFlags(&exec, graph, 0), CUDA_SUCCESS);
}

/* Recorded by the stream, as frameworks do; the capture itself must not be measured. */
static void prepare_captured(void) {
  CUgraph graph;
  prepare_streams();
  CHECK_EQUAL(cuStreamBeginCapture_v2(streams[0], CU_STREAM_CAPTURE_MODE_GLOBAL), CUDA_SUCCESS);
  for (int i = 0; i < 20; i++) CHECK_EQUAL(launch_on(function, 132, streams[0]), CUDA_SUCCESS);
  CHECK_EQUAL(cuStreamEndCapture(streams[0], &graph), CUDA_SUCCESS);
  CHECK_EQUAL(cuGraphInstantiateWithFlags(&exec, graph, 0), CUDA_SUCCESS);
}

static CUresult launch_graph(unsigned turn) {
  (void)turn;
  return cuGraphLaunch(exec, NULL);
}
static CUresult launch_graph_per_thread(unsigned turn) {
  (void)turn;
  return cuGraphLaunch_ptsz(exec, NULL);
}
static CUresult launch_cooperative(unsigned turn) {
  (void)turn;
  return cuLaunchCooperativeKernel(function, 132, 1, 1, 256, 1, 1, 0, NULL, NULL);
}
static CUresult launch_per_thread(unsigned turn) {
  (void)turn;
  return cuLaunchKernel_ptsz(function, 132, 1, 1, 256, 1, 1, 0, NULL, NULL, NULL);
}
static CUresult launch_configured(unsigned turn) {
  (void)turn;
  const CUlaunchConfig config = {132, 1, 1, 256, 1, 1, 0, NULL, NULL, 0};
  return cuLaunchKernelEx(&config, function, NULL, NULL);
}
static CUresult launch_old(unsigned turn) {
  (void)turn;
  return cuLaunchGridAsync(function, 132, 1, NULL);
}
static CUresult launch_streams(unsigned turn) { return launch_on(function, 33, streams[turn % 4]); }
static CUresult launch_uneven(unsigned turn) {
  return launch_on(function, 1 + turn % 7 * 20, streams[turn % 3]); /* some side by side, some not */
}

static const struct way ways[] = {
    {"a graph", prepare_graph, launch_graph},
    {"a captured graph", prepare_captured, launch_graph},
    {"a graph on the thread's stream", prepare_graph, launch_graph_per_thread},
    {"cooperative kernels", NULL, launch_cooperative},
    {"the thread's own stream", NULL, launch_per_thread},
    {"cuLaunchKernelEx", NULL, launch_configured},
    {"cuLaunchGridAsync", NULL, launch_old},
    {"four streams side by side", prepare_streams, launch_streams},
    {"streams with uneven grids", prepare_streams, launch_uneven},
};

static void begin(uint32_t percent, struct slice *slice, const char *kernel) {
  *slice = slice_new(VGPU_UNLIMITED, percent);
  virtual_time(0);
  gpu_context();
  function = gpu_function(kernel);
}

static double launch_way(const struct way *way, uint64_t length) {
  uint64_t since = virtual_now(), before = SIM(sim_busy_ns)(0, 0);
  for (unsigned turn = 0; virtual_now() < since + length; turn++) {
    CHECK_EQUAL(way->launch(turn), CUDA_SUCCESS);
    virtual_sleep(2000);
  }
  return 100.0 * (double)(SIM(sim_busy_ns)(0, 0) - before) / (double)(virtual_now() - since);
}

static double run_way(void *argument) {
  const struct way *way = argument;
  struct slice slice;
  begin(10, &slice, "k_300us");
  if (way->prepare) way->prepare();
  return launch_way(way, 10 * SECOND);
}

static void all_ways(void) {
  int failed = 0;
  for (unsigned i = 0; i < sizeof ways / sizeof *ways; i++) {
    struct way way = ways[i];
    failed += !near(in_child(run_way, &way), 10, 1.0, ways[i].name);
  }
  CHECK_EQUAL(failed, 0);
}

/* ---- streams side by side ---------------------------------------------------------------- */

struct load {
  const char *kernel;
  unsigned blocks;
  uint32_t percent;
};

/* Kernels done per second, launched in turn on four streams. */
static double run_side_by_side(void *argument) {
  const struct load *load = argument;
  struct slice slice;
  unsigned turn = 0;
  begin(load->percent, &slice, load->kernel);
  prepare_streams();
  uint64_t since = virtual_now();
  for (; virtual_now() < since + 10 * SECOND; turn++) {
    CHECK_EQUAL(launch_on(function, load->blocks, streams[turn % 4]), CUDA_SUCCESS);
    virtual_sleep(2000);
  }
  CHECK_EQUAL(cuCtxSynchronize(), CUDA_SUCCESS);
  return turn * (double)SECOND / (double)(virtual_now() - since);
}

static int check_side_by_side(const char *kernel, unsigned blocks) {
  int failed = 0;
  char what[64];
  double native = in_child(run_side_by_side, &(struct load){kernel, blocks, 100});
  for (uint32_t percent = 25; percent <= 75; percent += 25) {
    struct load load = {kernel, blocks, percent};
    double done = 100 * in_child(run_side_by_side, &load) / (native * percent / 100);
    snprintf(what, sizeof what, "%s, %u blocks, limit %u", kernel, blocks, percent);
    failed += !near(done, 100, 10.0, what);
  }
  return failed;
}

static void side_by_side(void) {
  int failed = 0;
  const char *kernels[] = {"k_50us", "k_1ms", "k_50ms"};
  for (int k = 0; k < 3; k++)
    for (unsigned blocks = 33; blocks <= 132; blocks *= 2) failed += check_side_by_side(kernels[k], blocks);
  CHECK_EQUAL(failed, 0);
}

/* ---- change while it runs ------------------------------------------------------------------- */

/* Frameworks capture in one thread while others work; what the shim asks the driver for
 * itself must not end the capture. */
static void undisturbed_capture(void) {
  struct slice slice;
  CUgraph graph;
  begin(50, &slice, "k_100us");
  prepare_streams();
  for (int i = 0; i < 10; i++) CHECK_EQUAL(launch_on(function, 132, streams[1]), CUDA_SUCCESS);
  CHECK_EQUAL(cuStreamBeginCapture_v2(streams[0], CU_STREAM_CAPTURE_MODE_GLOBAL), CUDA_SUCCESS);
  SIM(sim_record)(1);
  for (int i = 0; i < 200; i++) CHECK_EQUAL(launch_on(function, 132, streams[0]), CUDA_SUCCESS);
  for (int i = 0; i < 200; i++) CHECK_EQUAL(launch_on(function, 132, streams[1]), CUDA_SUCCESS);
  CHECK_EQUAL(SIM(sim_count)("cuEventCreate") + SIM(sim_count)("cuEventQuery"), 0);
  SIM(sim_record)(0);
  CHECK_EQUAL(cuStreamEndCapture(streams[0], &graph), CUDA_SUCCESS);
  CHECK_EQUAL(cuGraphInstantiateWithFlags(&exec, graph, 0), CUDA_SUCCESS);
  CHECK_EQUAL(cuGraphLaunch(exec, streams[0]), CUDA_SUCCESS);
  CHECK_EQUAL(cuCtxSynchronize(), CUDA_SUCCESS);
}

static void live_change(void) {
  struct slice slice;
  const struct way plain = {"plain", NULL, launch_old};
  begin(80, &slice, "k_1ms");
  CHECK(near(launch_way(&plain, 3 * SECOND), 80, 1.5, "80 per cent"));
  slice_set(&slice, VGPU_UNLIMITED, 20);
  launch_way(&plain, 100 * MS);
  CHECK(near(launch_way(&plain, 2 * SECOND), 20, 1.5, "20, a tenth of a second after the change"));
  slice_set(&slice, VGPU_UNLIMITED, 60);
  launch_way(&plain, 100 * MS);
  CHECK(near(launch_way(&plain, 2 * SECOND), 60, 1.5, "60, a tenth of a second after the change"));
}

static void lent_time(void) {
  struct slice slice;
  const struct way plain = {"plain", NULL, launch_old};
  begin(20, &slice, "k_1ms");
  struct vgpu_limits_device line = slice_line(&slice);
  line.lent_percent = 50;
  line.ceiling_percent = 60;
  slice_write(&slice, &line);
  CHECK(near(launch_way(&plain, 3 * SECOND), 60, 1.5, "20 held, 50 lent, ceiling 60"));
  line.lent_percent = 0;
  slice_write(&slice, &line);
  launch_way(&plain, 100 * MS);
  CHECK(near(launch_way(&plain, 3 * SECOND), 20, 1.5, "taken back"));
}

static void accounts(void) {
  struct slice slice;
  const struct way plain = {"plain", NULL, launch_old};
  begin(50, &slice, "k_1ms");
  launch_way(&plain, 4 * SECOND);
  CHECK_EQUAL(cuCtxSynchronize(), CUDA_SUCCESS);
  const struct vgpu_counters *total = &slice.usage->devices[0].total;
  double busy = (double)SIM(sim_busy_ns)(0, 0);
  CHECK(near(100 * (double)total->gpu_ns / busy, 100, 1.0, "measured against real GPU time"));
  CHECK(near(100 * (double)total->throttled_ns / (4.0 * SECOND), 100, 3.0, "held back: it always wants more"));
  CHECK(near(100 * (double)total->launches / (busy / 1e6), 100, 1.0, "launches"));
  CHECK_EQUAL(slice.usage->accounts[0].counters.gpu_ns, total->gpu_ns);
}

static void accounts_unlimited(void) {
  const char *kernels[] = {"k_5us", "k_100us", "k_10ms"};
  for (int k = 0; k < 3; k++) {
    struct slice slice = slice_new(VGPU_UNLIMITED, 100);
    if (!k) virtual_time(0);
    if (!k) gpu_context();
    uint64_t before = SIM(sim_busy_ns)(0, 0), counted = guest.account.page ? guest.account.page->devices[0].total.gpu_ns : 0;
    function = gpu_function(kernels[k]);
    for (int i = 0; i < 2000; i++) {
      CHECK_EQUAL(launch_on(function, 132, NULL), CUDA_SUCCESS);
      if (i % 20 == 19) CHECK_EQUAL(cuCtxSynchronize(), CUDA_SUCCESS);
      if (i % 20 == 19) virtual_sleep(3 * MS); /* a pause that must not be counted */
    }
    (void)slice;
    double busy = (double)(SIM(sim_busy_ns)(0, 0) - before);
    CHECK(near(100 * (double)(guest.account.page->devices[0].total.gpu_ns - counted) / busy, 100, 2.0, kernels[k]));
  }
}

static double run_native_speed(void *argument) {
  struct slice slice;
  const struct way plain = {"plain", NULL, launch_old};
  (void)argument;
  begin(100, &slice, "k_50us");
  return launch_way(&plain, 3 * SECOND);
}

static void full_speed(void) { CHECK(near(in_child(run_native_speed, NULL), 100, 0.5, "without a limit")); }

static void event_failures(void) {
  struct slice slice;
  const struct way plain = {"plain", NULL, launch_old};
  begin(50, &slice, "k_1ms");
  CHECK_EQUAL(SIM(sim_fail)("cuEventCreate", 0, CUDA_ERROR_OUT_OF_MEMORY), 0);
  double share = launch_way(&plain, 2 * SECOND); /* by guesses of 1 ms: limited all the same */
  CHECK(share > 20 && share < 55);
}

static const struct test tests[] = {
    {"pairs of slices on one device get their shares to 3 points", pairs},
    {"the processes of a slice share its limit: their sum is held to a point", processes},
    {"processes with several streams each are held to three points", processes_with_streams},
    {"every way to launch is limited", all_ways},
    {"the streams of a limited process run side by side as without a limit", side_by_side},
    {"nothing is asked of the driver that could spoil a capture", undisturbed_capture},
    {"a change of the share is in force within a tenth of a second", live_change},
    {"lent time is used up to the ceiling and given back", lent_time},
    {"GPU time, waiting and launches are accounted", accounts},
    {"GPU time is accounted without a limit too, and pauses are not", accounts_unlimited},
    {"without a limit a program runs at native speed", full_speed},
    {"without events launches are limited by guesses, and never fail", event_failures},
};

int main(void) { return RUN_TESTS(tests); }
