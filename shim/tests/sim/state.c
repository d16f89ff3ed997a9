/* The shared state's life: creation, the robust lock, slots, reaping, memory sums. */
#include "state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "sim.h"

enum { LAYOUT_VERSION = 1 };
#define LAYOUT (((uint64_t)LAYOUT_VERSION << 48) | sizeof(struct sim_state))
#define LOCK_OFFSET (1LL << 40) /* byte of slot 0; nothing is stored there */

static pthread_mutex_t open_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct sim_state *_Atomic mapped;
static int state_fd = -1;
static bool forked;
static uint32_t own[SIM_TENANTS]; /* slot index + 1 of each tenant of this process; 0: none */
static _Thread_local unsigned thread_tenant;

static int lock_byte(int command, short type, long long start, long long length) {
  struct flock range = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
  if (fcntl(state_fd, command, &range) != 0) return -1;
  return range.l_type == F_UNLCK ? 0 : 1;
}

static bool slot_alive(uint32_t index) {
  return lock_byte(F_OFD_GETLK, F_WRLCK, LOCK_OFFSET + index, 1) != 0;
}

/* ---- creation ---------------------------------------------------------- */

static void init_mutex(struct sim_state *state) {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(&state->mutex, &attributes);
  pthread_mutexattr_destroy(&attributes);
}

static void create(struct sim_state *state) {
  state->layout = 0;
  init_mutex(state);
  state->clock.running = -1;
  config_apply(state);
  state->config_hash = config_hash();
  state->layout = LAYOUT;
}

/* A file of another layout, or of another configuration and in nobody's use, is made anew. */
static bool is_current(struct sim_state *state) {
  if (state->layout != LAYOUT) return false;
  bool in_use = lock_byte(F_OFD_GETLK, F_WRLCK, LOCK_OFFSET, SIM_SLOTS) != 0;
  return in_use || state->config_hash == config_hash();
}

static struct sim_state *map_file(int fd) {
  void *memory = mmap(NULL, sizeof(struct sim_state), PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_NORESERVE, fd, 0);
  return memory == MAP_FAILED ? NULL : memory;
}

static struct sim_state *prepare(int fd) {
  struct stat status;
  if (fstat(fd, &status) != 0) return NULL;
  bool fits = status.st_size == (off_t)sizeof(struct sim_state);
  if (!fits && (ftruncate(fd, 0) != 0 || ftruncate(fd, (off_t)sizeof(struct sim_state)) != 0)) return NULL;
  struct sim_state *state = map_file(fd);
  if (state == NULL || (fits && is_current(state))) return state;
  munmap(state, sizeof *state);
  if (ftruncate(fd, 0) != 0 || ftruncate(fd, (off_t)sizeof(struct sim_state)) != 0) return NULL;
  state = map_file(fd);
  if (state != NULL) create(state);
  return state;
}

static struct sim_state *map_state(void) {
  char fallback[64];
  const char *path = getenv("VGPU_SIM_STATE");
  if (path == NULL || *path == '\0') {
    snprintf(fallback, sizeof fallback, "/dev/shm/vgpu-sim.%u", (unsigned)getuid());
    path = fallback;
  }
  state_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (state_fd < 0) return NULL;
  flock(state_fd, LOCK_EX);
  struct sim_state *state = prepare(state_fd);
  flock(state_fd, LOCK_UN);
  return state;
}

/* ---- fork ---------------------------------------------------------------- */

/* The child shares the parent's open file: its copy would keep a dead parent's locks. */
static void in_child(void) {
  if (state_fd >= 0) close(state_fd);
  state_fd = -1;
  struct sim_state *state = atomic_load(&mapped);
  if (state != NULL) munmap(state, sizeof *state);
  atomic_store(&mapped, NULL);
  pthread_mutex_init(&open_mutex, NULL);
  for (int tenant = 0; tenant < SIM_TENANTS; tenant++) {
    forked = forked || own[tenant] != 0;
    own[tenant] = 0;
  }
}

bool state_forked(void) { return forked; }

struct sim_state *state_open(void) {
  struct sim_state *state = atomic_load_explicit(&mapped, memory_order_acquire);
  if (state != NULL) return state;
  static bool hooked;
  pthread_mutex_lock(&open_mutex);
  state = atomic_load(&mapped);
  if (state == NULL) {
    if (!hooked) pthread_atfork(NULL, NULL, in_child);
    hooked = true;
    state = map_state();
    atomic_store_explicit(&mapped, state, memory_order_release);
  }
  pthread_mutex_unlock(&open_mutex);
  return state;
}

/* ---- lock ----------------------------------------------------------------- */

static void recompute_sums(struct sim_state *state) {
  for (int device = 0; device < SIM_DEVICES; device++) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < state->slots_high; i++)
      if (state->slots[i].used) sum += state->slots[i].memory[device];
    state->devices[device].used = sum;
  }
}

void state_lock(struct sim_state *state) {
  if (pthread_mutex_lock(&state->mutex) != EOWNERDEAD) return;
  pthread_mutex_consistent(&state->mutex);
  recompute_sums(state);
}

void state_unlock(struct sim_state *state) { pthread_mutex_unlock(&state->mutex); }

/* ---- slots ----------------------------------------------------------------- */

unsigned state_tenant(void) { return thread_tenant; }
void sim_tenant(unsigned tenant) { thread_tenant = tenant % SIM_TENANTS; }

/* Killed half-way, it is done again from the start: so it asks the channels whose they are. */
static void free_slot(struct sim_state *state, struct sim_slot *slot) {
  int32_t index = (int32_t)(slot - state->slots);
  for (uint32_t c = 0; c < state->channels_high; c++)
    if (state->channels[c].slot == index) state->channels[c].used = 0;
  for (int device = 0; device < SIM_DEVICES; device++) {
    slot->channel[device] = -1;
    state_discharge(state, slot, device, slot->memory[device]);
  }
  slot->used = 0;
}

static bool is_own(uint32_t index) {
  for (int tenant = 0; tenant < SIM_TENANTS; tenant++)
    if (own[tenant] == index + 1) return true;
  return false;
}

static uint64_t real_now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000U + (uint64_t)time.tv_nsec;
}

/* With thousands of processes a look at all of them takes milliseconds: then it is not done again
 * before three times as long has passed. With a few, every call looks. */
void state_reap(struct sim_state *state) {
  enum { CHEAP_NS = 500000, REST = 3 };
  static uint64_t not_before;
  uint64_t begin = real_now();
  if (begin < not_before) return;
  for (uint32_t i = 0; i < state->slots_high; i++)
    if (state->slots[i].used && !is_own(i) && !slot_alive(i)) free_slot(state, &state->slots[i]);
  uint64_t end = real_now();
  not_before = end - begin > CHEAP_NS ? end + REST * (end - begin) : 0;
}

static struct sim_slot *claim(struct sim_state *state, uint32_t index, unsigned tenant) {
  if (lock_byte(F_OFD_SETLK, F_WRLCK, LOCK_OFFSET + index, 1) < 0) return NULL;
  struct sim_slot *slot = &state->slots[index];
  memset(slot, 0, sizeof *slot);
  for (int device = 0; device < SIM_DEVICES; device++) slot->channel[device] = -1;
  slot->tenant = tenant;
  slot->pid = (int)getpid();
  slot->started_at = clock_now(state);
  slot->used = 1;
  if (index >= state->slots_high) state->slots_high = index + 1;
  own[tenant] = index + 1;
  return slot;
}

struct sim_slot *state_slot(struct sim_state *state, unsigned tenant) {
  if (own[tenant] != 0) return &state->slots[own[tenant] - 1];
  if (forked && !option_value(state, OPTION_fork_reinit)) return NULL;
  for (uint32_t i = 0; i < SIM_SLOTS; i++)
    if (!state->slots[i].used) return claim(state, i, tenant);
  state_reap(state);
  for (uint32_t i = 0; i < SIM_SLOTS; i++)
    if (!state->slots[i].used) return claim(state, i, tenant);
  return NULL;
}

bool state_owns(const struct sim_state *state, const struct sim_slot *slot) {
  return is_own((uint32_t)(slot - state->slots));
}

void state_leave(void) {
  struct sim_state *state = atomic_load(&mapped);
  if (state == NULL) return;
  state_lock(state);
  for (int tenant = 0; tenant < SIM_TENANTS; tenant++) {
    if (own[tenant] != 0) free_slot(state, &state->slots[own[tenant] - 1]);
    own[tenant] = 0;
  }
  state_unlock(state);
}

__attribute__((destructor)) static void at_exit(void) { state_leave(); }

/* ---- memory ------------------------------------------------------------------ */

uint64_t state_room(struct sim_state *state, int device) {
  uint64_t taken = state->devices[device].used + option_value(state, OPTION_reserved_bytes);
  uint64_t memory = state->devices[device].memory;
  return taken >= memory ? 0 : memory - taken;
}

bool state_charge(struct sim_state *state, struct sim_slot *slot, int device, uint64_t bytes) {
  if (bytes > state_room(state, device)) state_reap(state);
  if (bytes > state_room(state, device)) return false;
  slot->memory[device] += bytes;
  state->devices[device].used += bytes;
  if (slot->memory[device] > slot->memory_peak[device]) slot->memory_peak[device] = slot->memory[device];
  return true;
}

void state_discharge(struct sim_state *state, struct sim_slot *slot, int device, uint64_t bytes) {
  slot->memory[device] -= bytes;
  state->devices[device].used -= bytes;
}
