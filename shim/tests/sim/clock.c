/* The two clocks. Virtual time is a token: exactly one participant holds it, runs, and
 * hands it over when it sleeps, to whoever wakes first. sim.h states the protocol. */
#include "clock.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "engine.h"
#include "sim.h"

enum { START_NS = 1000000000, SPIN_NS = 40000 };

static _Thread_local int participant = -1;

/* ---- real ------------------------------------------------------------------ */

static uint64_t monotonic_now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000U + (uint64_t)time.tv_nsec;
}

/* Sleeps most of the time and yields the rest, so that short kernels end on time. */
static void monotonic_sleep_until(uint64_t deadline) {
  static _Thread_local bool sharpened;
  if (!sharpened) prctl(PR_SET_TIMERSLACK, 1UL);
  sharpened = true;
  uint64_t coarse = deadline - SPIN_NS;
  struct timespec time = {(time_t)(coarse / 1000000000U), (long)(coarse % 1000000000U)};
  if (deadline > SPIN_NS && monotonic_now() < coarse)
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL) == EINTR) {}
  while (monotonic_now() < deadline) sched_yield();
}

/* ---- virtual ---------------------------------------------------------------- */

static long futex(_Atomic uint32_t *word, int operation, uint32_t value, const struct timespec *timeout) {
  return syscall(SYS_futex, (uint32_t *)word, operation, value, timeout, NULL, 0);
}

static int next_participant(struct sim_clock *clock) {
  int next = -1;
  for (int i = 0; i < (int)clock->participants; i++) {
    struct sim_participant *p = &clock->participant[i];
    if (p->joined && (next < 0 || p->wake < clock->participant[next].wake)) next = i;
  }
  return next;
}

/* With the lock held: gives the token to whoever wakes first. */
static void hand_over(struct sim_clock *clock) {
  int next = next_participant(clock);
  clock->running = next;
  if (next < 0) return;
  struct sim_participant *p = &clock->participant[next];
  if (p->wake > clock->now) clock->now = p->wake;
  atomic_store(&p->turn, 1);
  futex(&p->turn, FUTEX_WAKE, 1, NULL);
}

static void drop_dead_runner(struct sim_state *state) {
  struct sim_clock *clock = &state->clock;
  state_lock(state);
  if (clock->running >= 0) {
    struct sim_participant *p = &clock->participant[clock->running];
    if (kill(p->pid, 0) != 0 && errno == ESRCH) {
      p->joined = 0;
      hand_over(clock);
    }
  }
  state_unlock(state);
}

static void await_turn(struct sim_state *state, struct sim_participant *p) {
  struct timespec second = {1, 0};
  while (atomic_load(&p->turn) == 0)
    if (futex(&p->turn, FUTEX_WAIT, 0, &second) != 0 && errno == ETIMEDOUT) drop_dead_runner(state);
}

static void virtual_sleep_until(struct sim_state *state, uint64_t deadline) {
  struct sim_clock *clock = &state->clock;
  state_lock(state);
  struct sim_participant *p = participant >= 0 ? &clock->participant[participant] : NULL;
  if (p == NULL || !p->joined) {
    if (deadline > clock->now) clock->now = deadline;
    state_unlock(state);
    return;
  }
  p->wake = deadline > clock->now ? deadline : clock->now;
  atomic_store(&p->turn, 0);
  hand_over(clock);
  state_unlock(state);
  await_turn(state, p);
}

void sim_clock_virtual(unsigned participants) {
  struct sim_state *state = state_open();
  if (state == NULL || participants > SIM_PARTICIPANTS) return;
  state_lock(state);
  struct sim_clock *clock = &state->clock;
  clock->virtual_mode = 1;
  clock->participants = participants;
  clock->joined = 0;
  clock->now = START_NS;
  clock->running = -1;
  for (unsigned i = 0; i < SIM_PARTICIPANTS; i++) clock->participant[i] = (struct sim_participant){0};
  engine_restart(state, START_NS);
  state_unlock(state);
}

void sim_clock_real(void) {
  struct sim_state *state = state_open();
  if (state == NULL) return;
  state_lock(state);
  state->clock.virtual_mode = 0;
  engine_restart(state, monotonic_now());
  state_unlock(state);
}

int sim_clock_join(unsigned id) {
  struct sim_state *state = state_open();
  if (state == NULL || !state->clock.virtual_mode || id >= state->clock.participants) return -1;
  struct sim_clock *clock = &state->clock;
  state_lock(state);
  struct sim_participant *p = &clock->participant[id];
  p->wake = clock->now;
  p->pid = (int)getpid();
  p->joined = 1;
  atomic_store(&p->turn, 0);
  participant = (int)id;
  if (++clock->joined == clock->participants) hand_over(clock);
  state_unlock(state);
  await_turn(state, p);
  return 0;
}

void sim_clock_leave(void) {
  struct sim_state *state = state_open();
  if (state == NULL || participant < 0) return;
  state_lock(state);
  state->clock.participant[participant].joined = 0;
  participant = -1;
  hand_over(&state->clock);
  state_unlock(state);
}

void sim_clock_advance(uint64_t ns) { sim_sleep_until(sim_now() + ns); }

/* ---- either ------------------------------------------------------------------- */

uint64_t clock_now(struct sim_state *state) {
  return state->clock.virtual_mode ? state->clock.now : monotonic_now();
}

void clock_sleep_until(struct sim_state *state, uint64_t deadline) {
  if (state->clock.virtual_mode)
    virtual_sleep_until(state, deadline);
  else
    monotonic_sleep_until(deadline);
}

uint64_t sim_now(void) {
  struct sim_state *state = state_open();
  return state == NULL ? monotonic_now() : clock_now(state);
}

void sim_sleep_until(uint64_t ns) {
  struct sim_state *state = state_open();
  if (state == NULL)
    monotonic_sleep_until(ns);
  else
    clock_sleep_until(state, ns);
}
