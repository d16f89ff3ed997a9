/* Slots of the usage page: claiming one, and taking back what the dead held.
 *
 * The kernel's record lock (OFD: it belongs to the open file, not to the PID)
 * on a slot's byte is ownership. Whoever gets it may reap the slot; nobody ever
 * waits for it. Every step of a reap leaves `used` at least as large as the sum
 * of the slots, so a reaper that is killed only leaves work for the next one.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "accounts.h"
#include "guard.h"
#include "pages.h"

enum { REAP_PERIOD_NS = 10000000, RECONCILE_ATTEMPTS = 64, FEW_SLOTS = 64 };

static uint32_t reaping; /* OFD locks do not keep threads of one process apart */

static int lock_slot(int fd, uint32_t slot, short type) {
  struct flock range = {.l_type = type, .l_whence = SEEK_SET,
                        .l_start = (off_t)(VGPU_LOCK_OFFSET + slot), .l_len = 1};
  return fcntl(fd, F_OFD_SETLK, &range) ? -errno : 0;
}

static uint32_t slots_in_use(const struct vgpu_usage *page) {
  uint32_t count = __atomic_load_n(&page->slots_used, __ATOMIC_ACQUIRE);
  return count < VGPU_SLOTS_MAX ? count : VGPU_SLOTS_MAX;
}

/* ---- reaping ------------------------------------------------------------ */

static int reconcile(struct vgpu_usage *page, uint32_t device, uint64_t *repaired);

/* Unsigned, so that a scribbled page overflows in a defined way. */
static int64_t lane_sum(const struct vgpu_lane *lane) {
  uint64_t sum = 0;
  for (int kind = 0; kind < VGPU_MEMORY_KINDS; kind++)
    sum += (uint64_t)__atomic_load_n(&lane->memory[kind], __ATOMIC_ACQUIRE);
  return (int64_t)sum;
}

static void lane_clear(struct vgpu_lane *lane) {
  for (int kind = 0; kind < VGPU_MEMORY_KINDS; kind++)
    __atomic_store_n(&lane->memory[kind], 0, __ATOMIC_RELEASE);
}

static void set_intent(struct vgpu_lane *lane, uint64_t bytes) {
  uint64_t ops = (__atomic_load_n(&lane->intent, __ATOMIC_RELAXED) & ~(uint64_t)VGPU_BYTES_MASK);
  __atomic_store_n(&lane->intent, (ops + COUNTED_ONE_OP) | bytes, __ATOMIC_RELEASE);
}

/* More than any device holds: somebody scribbled over the page. */
static int absurd(int64_t sum) {
  return sum > (int64_t)VGPU_BYTES_MASK || sum < -(int64_t)VGPU_BYTES_MASK;
}

static void reap_lane(struct vgpu_usage_device *slice, struct vgpu_lane *lane, int64_t sum) {
  if (absurd(sum)) sum = 0;
  uint64_t magnitude = (uint64_t)(sum < 0 ? -sum : sum);
  set_intent(lane, magnitude);
  FAIL_POINT("reap:intended");
  if (sum < 0) __atomic_fetch_add(&slice->used, COUNTED_ONE_OP + magnitude, __ATOMIC_ACQ_REL);
  FAIL_POINT("reap:raised");
  lane_clear(lane);
  FAIL_POINT("reap:cleared");
  if (sum > 0) __atomic_fetch_add(&slice->used, COUNTED_ONE_OP - magnitude, __ATOMIC_ACQ_REL);
  FAIL_POINT("reap:lowered");
  set_intent(lane, 0);
}

/* Lanes below zero first: `used` must never dip under what the others hold. */
static void reap_device(struct vgpu_usage *page, uint32_t slot, uint32_t device) {
  struct vgpu_usage_device *slice = &page->devices[device];
  struct vgpu_slot_device *dead = account_of(page, slot, device);
  for (int negative = 1; negative >= 0; negative--)
    for (int lane = 0; lane < VGPU_LANES; lane++) {
      int64_t sum = lane_sum(&dead->lanes[lane]);
      if ((sum < 0) == negative) reap_lane(slice, &dead->lanes[lane], sum);
    }
  uint64_t spilled = __atomic_exchange_n(&dead->spilled, 0, __ATOMIC_RELAXED);
  if (spilled) __atomic_fetch_sub(&slice->spilled, spilled, __ATOMIC_RELAXED);
  memset(&dead->counters, 0, sizeof dead->counters);
  __atomic_store_n(&dead->wanted, 0, __ATOMIC_RELAXED);
  __atomic_store_n(&dead->in_flight_ns, 0, __ATOMIC_RELAXED);
}

static int died_in_the_middle(struct vgpu_usage *page, uint32_t slot, uint32_t device) {
  const struct vgpu_slot_device *dead = account_of(page, slot, device);
  for (int lane = 0; lane < VGPU_LANES; lane++)
    if (counted_bytes(__atomic_load_n(&dead->lanes[lane].intent, __ATOMIC_ACQUIRE))) return 1;
  return __atomic_load_n(&page->slots[slot].state, __ATOMIC_RELAXED) == VGPU_SLOT_REAPING;
}

/* The caller holds the slot's lock. */
static void reap_slot(struct vgpu_usage *page, uint32_t slot) {
  uint64_t repaired;
  uint32_t suspects = 0;
  for (uint32_t device = 0; device < VGPU_DEVICES_MAX; device++)
    if (died_in_the_middle(page, slot, device)) {
      __atomic_store_n(&page->devices[device].suspect, 1, __ATOMIC_RELEASE);
      suspects |= 1u << device;
    }
  __atomic_store_n(&page->slots[slot].state, VGPU_SLOT_REAPING, __ATOMIC_RELEASE);
  FAIL_POINT("reap:state");
  for (uint32_t device = 0; device < VGPU_DEVICES_MAX; device++) reap_device(page, slot, device);
  page->slots[slot].pid = 0;
  __atomic_store_n(&page->slots[slot].state, VGPU_SLOT_FREE, __ATOMIC_RELEASE);
  for (uint32_t device = 0; suspects >> device; device++)
    if (suspects >> device & 1) reconcile(page, device, &repaired);
}

/* 1: reaped, 0: its owner lives. */
static int reap_if_dead(struct vgpu_usage *page, int fd, uint32_t slot) {
  if (lock_slot(fd, slot, F_WRLCK)) return 0;
  FAIL_POINT("reap:locked");
  int dead = __atomic_load_n(&page->slots[slot].state, __ATOMIC_ACQUIRE) != VGPU_SLOT_FREE;
  if (dead) reap_slot(page, slot);
  lock_slot(fd, slot, F_UNLCK);
  return dead;
}

static uint64_t own_pid_namespace(void) {
  char link[64];
  ssize_t length = readlink("/proc/self/ns/pid", link, sizeof link - 1);
  if (length <= 0) return 0;
  link[length] = 0;
  char *at = strchr(link, '[');
  return at ? strtoull(at + 1, NULL, 10) : 0;
}

/* Who is to be asked whether a slot's owner lives. */
enum witness {
  LOCKS,    /* the kernel's lock: certain, but it searches all locks of the file each time */
  PROCESSES /* whether there is such a process: quick, and misses one whose PID was reused */
};

/* In other PID namespaces only the lock can tell. */
static int seems_alive(const struct vgpu_slot *slot, uint64_t namespace) {
  if (slot->pid_namespace != namespace || slot->pid <= 0) return 0;
  return !kill(slot->pid, 0) || errno != ESRCH;
}

static int reap_all(struct vgpu_usage *page, int fd, uint32_t mine, enum witness witness) {
  int reaped = 0;
  uint32_t count = slots_in_use(page);
  uint64_t namespace = witness == PROCESSES ? own_pid_namespace() : 0;
  for (uint32_t slot = 0; slot < count; slot++) {
    if (slot == mine || __atomic_load_n(&page->slots[slot].state, __ATOMIC_ACQUIRE) == VGPU_SLOT_FREE) continue;
    if (witness == PROCESSES && seems_alive(&page->slots[slot], namespace)) continue;
    reaped += reap_if_dead(page, fd, slot);
  }
  if (mine != VGPU_SLOTS_MAX && page->slots[VGPU_SLOTS_MAX].state != VGPU_SLOT_FREE)
    reaped += reap_if_dead(page, fd, VGPU_SLOTS_MAX);
  return reaped;
}

static int reap_exclusively(struct vgpu_usage *page, int fd, uint32_t mine, enum witness witness) {
  if (fd < 0 || __atomic_exchange_n(&reaping, 1, __ATOMIC_ACQUIRE)) return 0;
  int reaped = reap_all(page, fd, mine, witness);
  __atomic_store_n(&reaping, 0, __ATOMIC_RELEASE);
  return reaped;
}

VGPU_API int vgpu_usage_reap(struct vgpu_usage *page, int fd) {
  struct guard guard;
  if (sigsetjmp(guard_arm(&guard), 0)) { /* the page is touched only by whoever reaps, so that was us */
    __atomic_store_n(&reaping, 0, __ATOMIC_RELEASE);
    return -EFAULT;
  }
  int reaped = reap_exclusively(page, fd, UINT32_MAX, LOCKS);
  guard_disarm(&guard);
  return reaped;
}

/* Whether a scan may be made now; of two processes that ask at once, one gets it. */
static int is_due(uint64_t *last, uint64_t now_ns) {
  uint64_t seen = __atomic_load_n(last, __ATOMIC_RELAXED);
  if (now_ns - seen < REAP_PERIOD_NS && now_ns >= seen) return 0;
  return __atomic_compare_exchange_n(last, &seen, now_ns, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

static int repair_suspect(struct vgpu_usage *page, uint32_t device) {
  uint64_t repaired = 0;
  if (__atomic_load_n(&page->devices[device].suspect, __ATOMIC_ACQUIRE)) reconcile(page, device, &repaired);
  return repaired != 0;
}

int account_reap_if_due(const struct account *account, uint32_t device, uint64_t now_ns) {
  if (!is_due(&account->page->devices[device].reaped_ns, now_ns)) return 0;
  int reaped = reap_exclusively(account->page, account->fd, account->slot, PROCESSES);
  return reaped + repair_suspect(account->page, device);
}

/* Surely where there are few to ask, at most once in a period where there are many. */
static int reap_thoroughly(const struct account *account, uint32_t device) {
  if (slots_in_use(account->page) > FEW_SLOTS) return account_reap_if_due(account, device, vgpu_clock_ns());
  int reaped = reap_exclusively(account->page, account->fd, account->slot, LOCKS);
  return reaped + repair_suspect(account->page, device);
}

int account_reap_for(const struct account *account, uint32_t device, uint64_t bytes, uint64_t limit) {
  uint64_t mine = (uint64_t)vgpu_usage_memory(account->page, account->slot, device, NULL);
  if (bytes > limit || mine > limit - bytes) return 0; /* too much even without all others */
  return reap_thoroughly(account, device);
}

/* ---- reconciling -------------------------------------------------------- */

struct survey {
  uint64_t held;   /* bytes that slots hold or are about to */
  int at_rest;     /* nobody was in the middle of anything */
};

/* 0, or -EAGAIN when the lane moved while it was read. */
static int survey_lane(const struct vgpu_lane *lane, struct survey *survey) {
  uint64_t before = __atomic_load_n(&lane->intent, __ATOMIC_ACQUIRE);
  int64_t sum = lane_sum(lane); /* by acquire: read before intent is looked at again */
  if (__atomic_load_n(&lane->intent, __ATOMIC_RELAXED) != before) return -EAGAIN;
  survey->held += (uint64_t)sum + counted_bytes(before);
  survey->at_rest &= !counted_bytes(before);
  return 0;
}

static int survey_slot(struct vgpu_usage *page, uint32_t slot, uint32_t device, struct survey *survey) {
  const struct vgpu_slot_device *account = account_of(page, slot, device);
  for (int lane = 0; lane < VGPU_LANES; lane++)
    if (survey_lane(&account->lanes[lane], survey)) return -EAGAIN;
  return 0;
}

/* A free slot's lanes are zero, and one claimed later cannot charge without moving `used`. */
static int survey_device(struct vgpu_usage *page, uint32_t device, struct survey *survey) {
  uint32_t count = slots_in_use(page);
  for (uint32_t slot = 0; slot < count; slot++)
    if (__atomic_load_n(&page->slots[slot].state, __ATOMIC_ACQUIRE) != VGPU_SLOT_FREE &&
        survey_slot(page, slot, device, survey))
      return -EAGAIN;
  return survey_slot(page, VGPU_SLOTS_MAX, device, survey);
}

static int reconcile(struct vgpu_usage *page, uint32_t device, uint64_t *repaired) {
  struct vgpu_usage_device *slice = &page->devices[device];
  *repaired = 0;
  for (int attempt = 0; attempt < RECONCILE_ATTEMPTS; attempt++) {
    struct survey survey = {.at_rest = 1};
    uint64_t word = __atomic_load_n(&slice->used, __ATOMIC_ACQUIRE);
    if (survey_device(page, device, &survey)) continue;
    int64_t held = (int64_t)survey.held;
    int64_t surplus = (int64_t)counted_bytes(word) - (held > 0 ? held : 0);
    uint64_t change = COUNTED_ONE_OP - (uint64_t)(surplus > 0 ? surplus : 0);
    if (!__atomic_compare_exchange_n(&slice->used, &word, word + change, 0, __ATOMIC_ACQ_REL,
                                     __ATOMIC_RELAXED))
      continue;
    *repaired = (uint64_t)(surplus > 0 ? surplus : 0);
    if (survey.at_rest) __atomic_store_n(&slice->suspect, 0, __ATOMIC_RELEASE);
    return 0;
  }
  return -EAGAIN;
}

VGPU_API int vgpu_usage_reconcile(struct vgpu_usage *page, uint32_t device, uint64_t *repaired) {
  struct guard guard;
  if (device >= VGPU_DEVICES_MAX) return -EINVAL;
  if (sigsetjmp(guard_arm(&guard), 0)) return -EFAULT;
  int error = reconcile(page, device, repaired);
  guard_disarm(&guard);
  return error;
}

/* ---- reading ------------------------------------------------------------ */

VGPU_API uint64_t vgpu_usage_used(const struct vgpu_usage *page, uint32_t device) {
  return device < VGPU_DEVICES_MAX
             ? counted_bytes(__atomic_load_n(&page->devices[device].used, __ATOMIC_RELAXED))
             : 0;
}

VGPU_API int64_t vgpu_usage_memory(const struct vgpu_usage *page, uint32_t slot, uint32_t device,
                                   int64_t *by_kind) {
  uint64_t sum = 0;
  if (slot > VGPU_SLOTS_MAX || device >= VGPU_DEVICES_MAX) return 0;
  const struct vgpu_slot_device *account = &page->accounts[slot * VGPU_DEVICES_MAX + device];
  for (int kind = 0; kind < VGPU_MEMORY_KINDS; kind++) {
    uint64_t bytes = 0;
    for (int lane = 0; lane < VGPU_LANES; lane++)
      bytes += (uint64_t)__atomic_load_n(&account->lanes[lane].memory[kind], __ATOMIC_RELAXED);
    if (by_kind) by_kind[kind] = (int64_t)bytes;
    sum += bytes;
  }
  return (int64_t)sum;
}

/* ---- claiming ----------------------------------------------------------- */

static uint64_t own_start_time(void) {
  char text[1024];
  int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
  ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
  if (fd >= 0) close(fd);
  if (length <= 0) return 0;
  text[length] = 0;
  char *at = strrchr(text, ')'); /* the command may hold spaces; field 2 ends here */
  for (int field = 2; at && field < 22; field++) at = strchr(at + 1, ' ');
  return at ? strtoull(at + 1, NULL, 10) : 0;
}

static void own_name(uint8_t *name, size_t space) {
  int fd = open("/proc/self/comm", O_RDONLY | O_CLOEXEC);
  ssize_t length = fd < 0 ? 0 : read(fd, name, space - 1);
  if (fd >= 0) close(fd);
  name[length > 0 ? length - 1 : 0] = 0; /* without the newline */
}

/* Disk or memory for the slot's accounts, so that writing them cannot fault. */
static int reserve_accounts(int fd, uint32_t slot) {
  size_t from = offsetof(struct vgpu_usage, accounts) +
                (size_t)slot * VGPU_DEVICES_MAX * sizeof(struct vgpu_slot_device);
  if (!fallocate(fd, 0, (off_t)from, VGPU_DEVICES_MAX * sizeof(struct vgpu_slot_device))) return 0;
  return errno == EOPNOTSUPP ? 0 : -errno;
}

static void raise_slots_used(struct vgpu_usage *page, uint32_t count) {
  uint32_t seen = __atomic_load_n(&page->slots_used, __ATOMIC_RELAXED);
  while (seen < count && !__atomic_compare_exchange_n(&page->slots_used, &seen, count, 1,
                                                      __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
  }
}

static void move_in(struct vgpu_usage *page, uint32_t slot) {
  struct vgpu_slot *mine = &page->slots[slot];
  if (__atomic_load_n(&mine->state, __ATOMIC_ACQUIRE) != VGPU_SLOT_FREE) reap_slot(page, slot);
  mine->pid = getpid();
  mine->start_time = own_start_time();
  mine->pid_namespace = own_pid_namespace();
  own_name(mine->name, sizeof mine->name);
  raise_slots_used(page, slot + 1);
  FAIL_POINT("claim:filled");
  __atomic_store_n(&mine->state, VGPU_SLOT_LIVE, __ATOMIC_RELEASE);
}

/* -ENOSPC when every slot is taken. */
static int claim_free(struct account *account) {
  for (uint32_t slot = 0; slot < VGPU_SLOTS_MAX; slot++) {
    if (__atomic_load_n(&account->page->slots[slot].state, __ATOMIC_RELAXED) != VGPU_SLOT_FREE) continue;
    if (lock_slot(account->fd, slot, F_WRLCK)) continue;
    FAIL_POINT("claim:locked");
    int error = reserve_accounts(account->fd, slot);
    if (error) {
      lock_slot(account->fd, slot, F_UNLCK);
      return error;
    }
    account->slot = slot;
    move_in(account->page, slot);
    return 0;
  }
  return -ENOSPC;
}

/* The last slot: its users hold read locks, so it is reaped when the last is gone. */
static int share_last(struct account *account) {
  int error = lock_slot(account->fd, VGPU_SLOTS_MAX, F_RDLCK);
  if (error) return error;
  account->slot = VGPU_SLOTS_MAX;
  __atomic_store_n(&account->page->slots[VGPU_SLOTS_MAX].state, VGPU_SLOT_LIVE, __ATOMIC_RELEASE);
  __atomic_fetch_add(&account->page->overflow, 1, __ATOMIC_RELAXED);
  return 0;
}

int account_claim(struct account *account) {
  if (account->fd < 0) return -EBADF;
  account->slot = UINT32_MAX; /* none yet: whoever is dead may go */
  reap_thoroughly(account, 0); /* a zombie seems alive, and its successor looks how much is free */
  if (!claim_free(account)) return 0;
  return share_last(account);
}
