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

static const struct test tests[] = {
    {"one process gets its share to a point, for every kernel length, grid and pace", matrix},
    {"kernels too short to time one by one are held to a point as well", short_kernels},
};

int main(void) { return RUN_TESTS(tests); }
