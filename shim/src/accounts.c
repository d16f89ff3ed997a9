/* Charge and discharge: the few instructions that every allocation pays.
 *
 * A thread locks one of its process's lanes (a lock in private memory, so a
 * killed process leaves none behind) and then writes that lane with plain
 * stores. Only `used` is contended between processes. The order of the stores
 * is the contract of vgpu_region.h: intent, used, lane, intent cleared; on the
 * way down intent, lane, used, intent cleared.
 */
#include "accounts.h"

#include <errno.h>
#include <sched.h>

struct lane_lock {
  uint32_t held;
} __attribute__((aligned(64)));

static struct lane_lock lane_locks[VGPU_DEVICES_MAX][VGPU_LANES];
static uint32_t threads_seen;
static __thread uint32_t thread_lane; /* 1 + the lane this thread tries first */

void account_after_fork(void) {
  for (int device = 0; device < VGPU_DEVICES_MAX; device++)
    for (int lane = 0; lane < VGPU_LANES; lane++)
      __atomic_store_n(&lane_locks[device][lane].held, 0, __ATOMIC_RELAXED);
}

static int try_lock(struct lane_lock *lock) {
  return !__atomic_load_n(&lock->held, __ATOMIC_RELAXED) &&
         !__atomic_exchange_n(&lock->held, 1, __ATOMIC_ACQUIRE);
}

/* The next free lane; a preempted holder of one delays nobody while others are free. */
static uint32_t lock_any_lane(uint32_t device, uint32_t first) {
  for (uint32_t turn = 1;; turn++) {
    uint32_t lane = (first + turn) % VGPU_LANES;
    if (try_lock(&lane_locks[device][lane])) return lane;
    if (turn % (VGPU_LANES * 16) == 0) sched_yield();
  }
}

static uint32_t lock_lane(uint32_t device) {
  if (__builtin_expect(!thread_lane, 0))
    thread_lane = 1 + __atomic_fetch_add(&threads_seen, 1, __ATOMIC_RELAXED) % VGPU_LANES;
  uint32_t lane = thread_lane - 1;
  return try_lock(&lane_locks[device][lane]) ? lane : lock_any_lane(device, lane);
}

static void unlock_lane(uint32_t device, uint32_t lane) {
  __atomic_store_n(&lane_locks[device][lane].held, 0, __ATOMIC_RELEASE);
}

/* The shared slot's lanes have writers in many processes; a slot's own have one. */
static void add_signed(int64_t *word, int64_t change, int shared) {
  if (shared)
    __atomic_fetch_add(word, change, __ATOMIC_RELEASE);
  else
    __atomic_store_n(word, (int64_t)((uint64_t)__atomic_load_n(word, __ATOMIC_RELAXED) + (uint64_t)change),
                     __ATOMIC_RELEASE); /* unsigned: a tenant may have scribbled there */
}

static void add_intent(uint64_t *word, uint64_t change, int shared) {
  if (shared)
    __atomic_fetch_add(word, change, __ATOMIC_RELEASE);
  else
    __atomic_store_n(word, __atomic_load_n(word, __ATOMIC_RELAXED) + change, __ATOMIC_RELEASE);
}

/* Adds bytes if they fit: a compare-and-swap, so that a request that is too big
 * never makes another one fail that is not. */
static int take(uint64_t *used, uint64_t bytes, uint64_t limit, uint64_t *now_used) {
  uint64_t word = __atomic_load_n(used, __ATOMIC_RELAXED);
  do {
    *now_used = counted_bytes(word) + bytes;
    if (*now_used > limit) return -ENOMEM;
  } while (!__atomic_compare_exchange_n(used, &word, word + COUNTED_ONE_OP + bytes, 1,
                                        __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
  return 0;
}

static void raise_peak(uint64_t *peak, uint64_t bytes) {
  uint64_t seen = __atomic_load_n(peak, __ATOMIC_RELAXED);
  while (seen < bytes && !__atomic_compare_exchange_n(peak, &seen, bytes, 1, __ATOMIC_RELAXED,
                                                      __ATOMIC_RELAXED)) {
  }
}

int account_charge(const struct account *account, uint32_t device, enum vgpu_memory_kind kind,
                   uint64_t bytes, uint64_t limit) {
  struct vgpu_usage_device *slice = &account->page->devices[device];
  if (limit > VGPU_BYTES_MASK) limit = VGPU_BYTES_MASK;
  if (bytes > limit) return -ENOMEM;
  int shared = account->slot == VGPU_SLOTS_MAX;
  uint32_t index = lock_lane(device);
  struct vgpu_lane *lane = &account_of(account->page, account->slot, device)->lanes[index];
  uint64_t now_used;
  add_intent(&lane->intent, COUNTED_ONE_OP + bytes, shared);
  FAIL_POINT("charge:intended");
  int error = take(&slice->used, bytes, limit, &now_used);
  FAIL_POINT("charge:used");
  if (!error) add_signed(&lane->memory[kind], (int64_t)bytes, shared);
  FAIL_POINT("charge:lane");
  add_intent(&lane->intent, COUNTED_ONE_OP - bytes, shared);
  unlock_lane(device, index);
  if (!error) raise_peak(&slice->peak, now_used);
  return error;
}

void account_discharge(const struct account *account, uint32_t device, enum vgpu_memory_kind kind,
                       uint64_t bytes) {
  struct vgpu_usage_device *slice = &account->page->devices[device];
  int shared = account->slot == VGPU_SLOTS_MAX;
  uint32_t index = lock_lane(device);
  struct vgpu_lane *lane = &account_of(account->page, account->slot, device)->lanes[index];
  add_intent(&lane->intent, COUNTED_ONE_OP + bytes, shared);
  FAIL_POINT("discharge:intended");
  add_signed(&lane->memory[kind], -(int64_t)bytes, shared);
  FAIL_POINT("discharge:lane");
  __atomic_fetch_add(&slice->used, COUNTED_ONE_OP - bytes, __ATOMIC_ACQ_REL);
  FAIL_POINT("discharge:used");
  add_intent(&lane->intent, COUNTED_ONE_OP - bytes, shared);
  unlock_lane(device, index);
}
