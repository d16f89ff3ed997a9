#include "virtual.h"

#include <math.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "guest.h"
#include "sim/sim.h"
#include "slice.h"

static uint64_t (*sim_clock)(void);
static void (*sim_sleep)(uint64_t);

/* Looks every 20 ms whether the limits changed: no futex wakes in virtual time. */
static void wait_until(const struct vgpu_limits *page, uint32_t seen, uint64_t deadline) {
  for (uint64_t now = sim_clock(); now < deadline; now = sim_clock()) {
    if (page && __atomic_load_n(&page->generation, __ATOMIC_ACQUIRE) != seen) return;
    sim_sleep(deadline - now > 20 * MS && page ? now + 20 * MS : deadline);
  }
}

static void install(void) {
  sim_clock = SIM(sim_now);
  sim_sleep = SIM(sim_sleep_until);
  guest_clock = (struct guest_clock){.now = sim_clock, .wait_until = wait_until};
}

void virtual_time(unsigned participants) {
  install();
  SIM(sim_clock_virtual)(participants);
}

void virtual_time_joined(unsigned id) {
  install();
  CHECK_EQUAL(SIM(sim_clock_join)(id), 0);
}

void virtual_time_left(void) { SIM(sim_clock_leave)(); }

uint64_t virtual_now(void) { return sim_clock(); }

void virtual_sleep(uint64_t ns) { sim_sleep(sim_clock() + ns); }

double in_child(double (*run)(void *), void *argument) {
  double *answer = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  *answer = -1;
  int status;
  expect_progress();
  pid_t child = fork();
  if (!child) {
    expect_progress();
    *answer = run(argument);
    exit(0);
  }
  waitpid(child, &status, 0);
  double found = WIFEXITED(status) && !WEXITSTATUS(status) ? *answer : -1;
  munmap(answer, 4096);
  return found;
}

int near(double found, double wanted, double tolerance, const char *what) {
  int ok = fabs(found - wanted) <= tolerance;
  if (!ok || getenv("VERBOSE"))
    fprintf(stderr, "     %s: %.2f %%, expected %.2f +- %.1f\n", what, found, wanted, tolerance);
  return ok;
}
