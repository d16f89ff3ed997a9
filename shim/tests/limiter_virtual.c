/* The compute limit in virtual time: every cell is deterministic and takes
 * milliseconds. The share is the simulated device's exact busy time over 10 s. */
#include <string.h>

#include "check.h"
#include "driver.h"
#include "sim/sim.h"
#include "slice.h"
#include "virtual.h"

enum pace { ASYNCHRONOUS, SYNCHRONOUS };

/* Launches until `until`; a launch costs the host 2 us. */
static void work(CUfunction function, unsigned blocks, enum pace pace, uint64_t until) {
  while (virtual_now() < until) {
    CHECK_EQUAL(launch_on(function, blocks, NULL), CUDA_SUCCESS);
    if (pace == SYNCHRONOUS) CHECK_EQUAL(cuStreamSynchronize(NULL), CUDA_SUCCESS);
    virtual_sleep(2000);
  }
}

static double solo(const char *kernel, unsigned blocks, uint32_t percent, enum pace pace) {
  slice_new(VGPU_UNLIMITED, percent);
  virtual_time(0);
  gpu_context();
  CUfunction function = gpu_function(kernel);
  uint64_t since = virtual_now(), before = SIM(sim_busy_ns)(0, 0);
  work(function, blocks, pace, since + 10 * SECOND);
  return 100.0 * (double)(SIM(sim_busy_ns)(0, 0) - before) / (double)(virtual_now() - since);
}

struct cell {
  const char *kernel;
  unsigned blocks;
  uint32_t percent;
  enum pace pace;
};

static double run_cell(void *argument) {
  const struct cell *cell = argument;
  return solo(cell->kernel, cell->blocks, cell->percent, cell->pace);
}

static int check_cell(struct cell cell) {
  char what[96];
  double found = in_child(run_cell, &cell);
  snprintf(what, sizeof what, "%s, %u blocks, %s, limit %u", cell.kernel, cell.blocks,
           cell.pace == SYNCHRONOUS ? "synchronous" : "asynchronous", cell.percent);
  return near(found, cell.percent, 1.0, what);
}

static void matrix(void) {
  const char *kernels[] = {"k_50us", "k_100us", "k_1ms", "k_5ms", "k_20ms", "k_50ms"};
  const unsigned grids[] = {1, 132, 16384};
  const uint32_t limits[] = {10, 30, 50, 80, 90};
  int failed = 0;
  for (unsigned k = 0; k < 6; k++)
    for (unsigned g = 0; g < 3; g++)
      for (unsigned l = 0; l < 5; l++)
        for (enum pace pace = ASYNCHRONOUS; pace <= SYNCHRONOUS; pace++)
          failed += !check_cell((struct cell){kernels[k], grids[g], limits[l], pace});
  CHECK_EQUAL(failed, 0);
}

static void short_kernels(void) {
  int failed = 0;
  for (uint32_t percent = 10; percent <= 90; percent += 40) {
    failed += !check_cell((struct cell){"k_5us", 132, percent, ASYNCHRONOUS});
    failed += !check_cell((struct cell){"k_20us", 132, percent, ASYNCHRONOUS});
    failed += !check_cell((struct cell){"k_20us", 132, percent, SYNCHRONOUS});
  }
  CHECK_EQUAL(failed, 0);
}

/* ---- random mixes ------------------------------------------------------------------- */

static uint64_t mix_seed;

static uint64_t dice(void) {
  mix_seed ^= mix_seed << 13;
  mix_seed ^= mix_seed >> 7;
  mix_seed ^= mix_seed << 17;
  return mix_seed;
}

/* Some kernels, streams and pauses drawn by lot: bursts, think time, waits for the GPU.
 * It always has more to do, so its share is its limit. */
static double mixed(void *argument) {
  const char *names[] = {"k_8us", "k_30us", "k_200us", "k_700us", "k_3ms", "k_15ms"};
  CUfunction functions[6];
  CUstream streams[3];
  mix_seed = *(uint64_t *)argument * 0x9e3779b97f4a7c15u | 1;
  uint32_t percent = 10 + (uint32_t)(dice() % 70);
  unsigned kinds = 1 + (unsigned)(dice() % 6), first = (unsigned)(dice() % 6);
  slice_new(VGPU_UNLIMITED, percent);
  virtual_time(0);
  gpu_context();
  for (int i = 0; i < 6; i++) functions[i] = gpu_function(names[i]);
  for (int i = 0; i < 3; i++) CHECK_EQUAL(cuStreamCreate(&streams[i], CU_STREAM_NON_BLOCKING), CUDA_SUCCESS);
  uint64_t since = virtual_now(), before = SIM(sim_busy_ns)(0, 0);
  while (virtual_now() < since + 20 * SECOND) {
    unsigned burst = 1 + (unsigned)(dice() % 30);
    for (unsigned i = 0; i < burst; i++)
      CHECK_EQUAL(launch_on(functions[(first + dice() % kinds) % 6], 132, streams[dice() % 3]), CUDA_SUCCESS);
    if (dice() % 4 == 0) CHECK_EQUAL(cuCtxSynchronize(), CUDA_SUCCESS);
    virtual_sleep(dice() % 20000);
  }
  double share = 100.0 * (double)(SIM(sim_busy_ns)(0, 0) - before) / (double)(virtual_now() - since);
  return share - percent;
}

static void mixes(void) {
  int failed = 0;
  for (uint64_t seed = 1; seed <= 40; seed++) {
    char what[48];
    snprintf(what, sizeof what, "mix %u off its limit by", (unsigned)seed);
    failed += !near(in_child(mixed, &seed), 0, 1.0, what);
  }
  CHECK_EQUAL(failed, 0);
}

static const struct test tests[] = {
    {"random mixes of kernels, streams and pauses are held to a point", mixes},
    {"one process gets its share to a point, for every kernel length, grid and pace", matrix},
    {"kernels too short to time one by one are held to a point as well", short_kernels},
};

int main(void) { return RUN_TESTS(tests); }
