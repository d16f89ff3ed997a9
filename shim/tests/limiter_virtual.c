/* The compute limit in virtual time: every cell is deterministic and takes
 * milliseconds. The share is the simulated device's exact busy time over 10 s. */
#include <math.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "driver.h"
#include "guest.h"
#include "sim/sim.h"
#include "slice.h"

#define MS 1000000ull
#define SECOND (1000 * MS)

static uint64_t (*sim_clock)(void);
static void (*sim_sleep)(uint64_t);

/* Looks every 20 ms whether the limits changed: no futex wakes in virtual time. */
static void virtual_wait(const struct vgpu_limits *page, uint32_t seen, uint64_t deadline) {
  for (uint64_t now = sim_clock(); now < deadline; now = sim_clock()) {
    if (page && __atomic_load_n(&page->generation, __ATOMIC_ACQUIRE) != seen) return;
    sim_sleep(deadline - now > 20 * MS && page ? now + 20 * MS : deadline);
  }
}

static void virtual_time(unsigned participants) {
  sim_clock = SIM(sim_now);
  sim_sleep = SIM(sim_sleep_until);
  guest_clock = (struct guest_clock){.now = sim_clock, .wait_until = virtual_wait};
  if (participants != UINT32_MAX) SIM(sim_clock_virtual)(participants);
}

enum pace { ASYNCHRONOUS, SYNCHRONOUS };

/* Launches until `until`; a launch costs the host 2 us. */
static void work(CUfunction function, unsigned blocks, CUstream stream, enum pace pace, uint64_t until) {
  while (sim_clock() < until) {
    CHECK_EQUAL(launch_on(function, blocks, stream), CUDA_SUCCESS);
    if (pace == SYNCHRONOUS) CHECK_EQUAL(cuStreamSynchronize(stream), CUDA_SUCCESS);
    sim_sleep(sim_clock() + 2000);
  }
}

static double busy_percent(uint64_t busy_before, uint64_t since) {
  return 100.0 * (double)(SIM(sim_busy_ns)(0, 0) - busy_before) / (double)(sim_clock() - since);
}

static int near(double found, double wanted, double tolerance, const char *what) {
  int ok = fabs(found - wanted) <= tolerance;
  if (!ok) fprintf(stderr, "%s: %.2f %%, expected %.2f +- %.1f\n", what, found, wanted, tolerance);
  return ok;
}

static double solo(const char *kernel, unsigned blocks, uint32_t percent, enum pace pace) {
  struct slice slice = slice_new(VGPU_UNLIMITED, percent);
  virtual_time(0);
  gpu_context();
  CUfunction function = gpu_function(kernel);
  uint64_t since = sim_clock(), before = SIM(sim_busy_ns)(0, 0);
  work(function, blocks, NULL, pace, since + 10 * SECOND);
  (void)slice;
  return busy_percent(before, since);
}

/* Each cell in a process of its own, the answer through shared memory. */
static double in_child(double (*run)(void *), void *argument) {
  double *answer = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  *answer = -1;
  int status;
  pid_t child = fork();
  if (!child) {
    *answer = run(argument);
    exit(0);
  }
  waitpid(child, &status, 0);
  double found = WIFEXITED(status) && !WEXITSTATUS(status) ? *answer : -1;
  munmap(answer, 4096);
  return found;
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
  if (getenv("VERBOSE")) printf("     %s: %.2f\n", what, found);
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
