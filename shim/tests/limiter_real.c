/* The compute limit on the real clock: a few cells, short, with the tolerance that a
 * busy machine needs. The exact proof is in virtual time; this one shows that the real
 * clock, real sleeps and real wake-ups lead to the same. */
#include <pthread.h>
#include <unistd.h>

#include "check.h"
#include "driver.h"
#include "sim/sim.h"
#include "slice.h"
#include "virtual.h"

enum { TENTHS = 15 };

/* Launches without a pause for 1.5 s; the share of the last second. */
static double share_of(CUfunction function, uint64_t since) {
  uint64_t busy = 0, started = 0;
  for (uint64_t now = vgpu_clock_ns(); now < since + TENTHS * 100 * MS; now = vgpu_clock_ns()) {
    CHECK_EQUAL(launch_on(function, 132, NULL), CUDA_SUCCESS);
    if (!started && now > since + 500 * MS) {
      started = now;
      busy = SIM(sim_busy_ns)(0, 0);
    }
  }
  return 100.0 * (double)(SIM(sim_busy_ns)(0, 0) - busy) / (double)(vgpu_clock_ns() - started);
}

static void solo(void) {
  int failed = 0;
  const uint32_t limits[] = {20, 50, 80};
  const char *kernels[] = {"k_200us", "k_5ms"};
  struct slice slice = slice_new(VGPU_UNLIMITED, 50);
  gpu_context();
  for (int k = 0; k < 2; k++)
    for (int l = 0; l < 3; l++) {
      CUfunction function = gpu_function(kernels[k]);
      slice_set(&slice, VGPU_UNLIMITED, limits[l]);
      failed += !near(share_of(function, vgpu_clock_ns()), limits[l], 4.0, kernels[k]);
    }
  CHECK_EQUAL(failed, 0);
}

static struct slice changed;
static uint64_t raised_ns;

static void *raise_limit(void *unused) {
  while (!changed.usage->devices[0].total.launches) sched_yield();
  while (vgpu_clock_ns() < raised_ns) usleep(1000);
  raised_ns = vgpu_clock_ns();
  slice_set(&changed, VGPU_UNLIMITED, 100);
  return unused;
}

/* A launch that sleeps off 20 s of debt goes within a tenth of a second when the limit is lifted. */
static void woken_sleeper(void) {
  pthread_t agent;
  changed = slice_new(VGPU_UNLIMITED, 1);
  gpu_context();
  CUfunction function = gpu_function("k_100ms");
  raised_ns = vgpu_clock_ns() + 300 * MS;
  pthread_create(&agent, NULL, raise_limit, NULL);
  for (int i = 0; i < 3; i++) CHECK_EQUAL(launch_on(function, 132, NULL), CUDA_SUCCESS);
  uint64_t went = vgpu_clock_ns();
  pthread_join(agent, NULL);
  CHECK(went > raised_ns); /* it did wait for the change */
  CHECK(went - raised_ns < 400 * MS); /* 100 ms, and two kernels before it in the queue */
}

static CUcontext shared_context;
static CUfunction shared_function;
static uint64_t launch_until;

static void *launch_in_thread(void *unused) {
  CUstream stream;
  CHECK_EQUAL(cuCtxSetCurrent(shared_context), CUDA_SUCCESS);
  CHECK_EQUAL(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING), CUDA_SUCCESS);
  for (unsigned i = 0; vgpu_clock_ns() < launch_until; i++) {
    CHECK_EQUAL(launch_on(shared_function, 132, stream), CUDA_SUCCESS);
    if (i % 16 == 0) CHECK_EQUAL(cuStreamSynchronize(stream), CUDA_SUCCESS);
  }
  return unused;
}

static void threads(void) {
  pthread_t thread[4];
  struct slice slice = slice_new(VGPU_UNLIMITED, 50);
  shared_context = gpu_context();
  shared_function = gpu_function("k_500us");
  uint64_t since = vgpu_clock_ns();
  launch_until = since + 1500 * MS;
  for (int i = 0; i < 4; i++) pthread_create(&thread[i], NULL, launch_in_thread, NULL);
  for (int i = 0; i < 4; i++) pthread_join(thread[i], NULL);
  CHECK_EQUAL(cuCtxSynchronize(), CUDA_SUCCESS);
  double share = 100.0 * (double)SIM(sim_busy_ns)(0, 0) / (double)(vgpu_clock_ns() - since);
  CHECK(near(share, 50, 5.0, "four threads"));
  (void)slice;
}

static int count_threads(void) {
  FILE *status = fopen("/proc/self/status", "r");
  char line[256];
  int threads = 0;
  while (fgets(line, sizeof line, status)) sscanf(line, "Threads: %d", &threads);
  fclose(status);
  return threads;
}

static void no_thread(void) {
  int before = count_threads(); /* a sanitizer has one of its own */
  struct slice slice = slice_new(VGPU_UNLIMITED, 50);
  gpu_context();
  CUfunction function = gpu_function("k_1ms");
  for (int i = 0; i < 50; i++) CHECK_EQUAL(launch_on(function, 1, NULL), CUDA_SUCCESS);
  CHECK_EQUAL(count_threads(), before);
  (void)slice;
}

static const struct test tests[] = {
    {"on the real clock a process gets its share", solo},
    {"a launch that sleeps is woken by a higher limit", woken_sleeper},
    {"four threads with streams of their own share the limit", threads},
    {"a limited process has no thread of ours", no_thread},
};

int main(void) { return RUN_TESTS(tests); }
