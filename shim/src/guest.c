/* Opens the slice's pages when the process first allocates or launches, and
 * keeps a copy of the limits that is re-read when the agent changes them.
 *
 * Three outcomes. No directory, or one without page and mark: the process is no
 * guest and pays nothing. A sound limits page: limited. A mark but no sound
 * page: refused, with one line on stderr, and looked at again later: the agent
 * may be late.
 */
#define _GNU_SOURCE
#include "guest.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "directory.h"
#include "launch.h"
#include "memory.h"
#include "pages.h"
#include "real.h"

enum { LOOK_AGAIN_NS = 10000000, NS_PER_MS = 1000000 };

static void wait_until(const struct vgpu_limits *page, uint32_t seen, uint64_t deadline) {
  uint64_t now = vgpu_clock_ns();
  if (now >= deadline) return;
  if (page)
    vgpu_limits_wait(page, seen, deadline - now);
  else
    usleep((useconds_t)((deadline - now) / 1000 + 1));
}

struct guest guest = {.account = {.fd = -1}};
struct guest_clock guest_clock = {.now = vgpu_clock_ns, .wait_until = wait_until};

static uint32_t lock_word;
static uint64_t looked_ns;
static uint32_t device_of[64]; /* 1 + index, by ordinal; 0: not asked yet */

static void lock(void) {
  while (__atomic_exchange_n(&lock_word, 1, __ATOMIC_ACQUIRE)) sched_yield();
}

static void unlock(void) { __atomic_store_n(&lock_word, 0, __ATOMIC_RELEASE); }

/* ---- fork --------------------------------------------------------------- */

/* The child is a process of its own: it lets go of the parent's lock (an open
 * copy would keep a dead parent's slot taken) and claims a slot when it needs one. */
static void after_fork(void) {
  if (guest.account.fd >= 0) close(guest.account.fd);
  guest.account.fd = -1;
  guest.claimed = 0;
  lock_word = 0;
  account_after_fork();
  memory_after_fork();
  launch_after_fork();
}

static void watch_forks(void) {
  static int watching;
  if (!watching) pthread_atfork(NULL, NULL, after_fork);
  watching = 1;
}

/* ---- limits ------------------------------------------------------------- */

static uint32_t within(uint64_t value, uint32_t low, uint32_t high) {
  return value < low ? low : value > high ? high : (uint32_t)value;
}

static uint32_t percent_in_force(const struct vgpu_limits_device *line) {
  uint64_t wanted = (uint64_t)line->compute_percent + line->lent_percent;
  uint32_t ceiling = line->ceiling_percent ? line->ceiling_percent : 100;
  return within(wanted < ceiling ? wanted : ceiling, 1, 100);
}

/* Field by field and atomically: other threads read while this is written. */
static void adopt(struct guest_limits *to, const struct vgpu_limits_device *line) {
#define ADOPT(field, value) __atomic_store_n(&to->field, value, __ATOMIC_RELAXED)
  ADOPT(memory_limit, line->memory_limit);
  ADOPT(memory_ceiling, line->memory_ceiling);
  ADOPT(spill_limit, line->flags & VGPU_DEVICE_OVERSUBSCRIBE ? line->spill_limit : 0);
  ADOPT(context_bytes, line->context_bytes > VGPU_BYTES_MASK ? 0 : line->context_bytes);
  ADOPT(memory_wait_ms, within(line->memory_wait_ms, 0, 60000));
  ADOPT(compute_percent, percent_in_force(line));
  ADOPT(burst_ms, line->burst_ms ? within(line->burst_ms, 1, 1000) : 25);
  ADOPT(busy_permille, line->busy_permille ? within(line->busy_permille, 1, 1000) : 1000);
  ADOPT(flags, line->flags);
#undef ADOPT
}

/* Lines that cannot be read whole keep their last copy; the next call tries again. */
void guest_refresh(void) {
  lock();
  uint32_t now = __atomic_load_n(&guest.page->generation, __ATOMIC_ACQUIRE);
  uint32_t count = within(guest.page->device_count, 0, VGPU_DEVICES_MAX);
  int whole = 1;
  for (uint32_t device = 0; device < count; device++) {
    struct vgpu_limits_device line;
    if (!vgpu_limits_read(guest.page, device, &line))
      adopt(&guest.limits[device], &line);
    else
      whole = 0;
  }
  if (whole) __atomic_store_n(&guest.seen, now, __ATOMIC_RELAXED);
  unlock();
}

/* ---- entering ----------------------------------------------------------- */

/* A page of our own where the slice has none: the limit then holds for this process
 * alone. Not where an agent made the slice: whoever took its accounts away gets nothing. */
static int private_usage(struct vgpu_usage **page) {
  void *at = mmap(NULL, sizeof **page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                  -1, 0);
  if (at == MAP_FAILED) return -errno;
  *page = at;
  pages_usage_format(*page);
  return 0;
}

static int open_usage(struct account *account, int required) {
  char path[4096];
  if (directory_file(path, sizeof path, DIRECTORY_USAGE)) return -ENAMETOOLONG;
  int error = vgpu_usage_open(path, &account->page, &account->fd);
  if (!error || required) return error;
  if (!vgpu_usage_create(path, guest.page->device_count) &&
      !vgpu_usage_open(path, &account->page, &account->fd))
    return 0;
  account->fd = -1;
  return private_usage(&account->page);
}

static enum guest_state open_pages(void) {
  char path[4096], mark[4096];
  if (!*directory_path()) return GUEST_FREE;
  if (directory_file(path, sizeof path, DIRECTORY_LIMITS) ||
      directory_file(mark, sizeof mark, DIRECTORY_REQUIRED))
    return GUEST_REFUSED;
  guest.required = !access(mark, F_OK);
  int error = vgpu_limits_open(path, 0, &guest.page);
  if (!error) {
    error = open_usage(&guest.account, guest.required);
    if (error) vgpu_limits_close(guest.page);
    return error ? GUEST_REFUSED : GUEST_LIMITED;
  }
  /* A page that is there and broken is worse than none. */
  return access(path, F_OK) && !guest.required ? GUEST_FREE : GUEST_REFUSED;
}

static void complain(void) {
  static const char message[] =
      "vgpu: this container must have GPU limits, but its limits or its accounts are missing or not of this "
      "version; GPU allocations and launches are refused while that is so\n";
  static int said;
  if (said++) return;
  if (write(STDERR_FILENO, message, sizeof message - 1) < 0) return;
}

enum guest_state guest_enter_slow(void) {
  lock();
  enum guest_state state = guest.state;
  uint64_t now = vgpu_clock_ns();
  if (state == GUEST_UNKNOWN || (state == GUEST_REFUSED && now - looked_ns > LOOK_AGAIN_NS)) {
    looked_ns = now;
    state = open_pages();
    if (state == GUEST_REFUSED) complain();
    if (state == GUEST_LIMITED) watch_forks();
    __atomic_store_n(&guest.state, state, __ATOMIC_RELEASE);
  }
  unlock();
  return state;
}

static int reopen_usage(struct account *account) {
  char path[4096];
  struct vgpu_usage *page;
  int fd;
  if (directory_file(path, sizeof path, DIRECTORY_USAGE)) return -ENAMETOOLONG;
  int error = vgpu_usage_open(path, &page, &fd);
  if (error) return error;
  vgpu_usage_close(account->page, -1);
  account->page = page;
  account->fd = fd;
  return 0;
}

/* What could not be claimed is counted all the same: in the slot that all share, on the
 * page inherited from a parent whose file is gone, or, where no agent is, on one of our own. */
static void claim_without_lock(struct account *account) {
  account->slot = VGPU_SLOTS_MAX;
  if (guest.required) return;
  private_usage(&account->page);
  account->slot = 0;
}

void guest_claim(void) {
  if (__builtin_expect(__atomic_load_n(&guest.claimed, __ATOMIC_ACQUIRE), 1)) return;
  lock();
  if (!guest.claimed) {
    struct account *account = &guest.account;
    if (account->fd < 0) reopen_usage(account); /* a forked child closed its parent's */
    if (account->fd < 0 || account_claim(account)) claim_without_lock(account);
    __atomic_store_n(&guest.claimed, 1, __ATOMIC_RELEASE);
  }
  unlock();
}

/* ---- devices ------------------------------------------------------------ */

uint32_t guest_device_by_uuid(const uint8_t *uuid) {
  uint32_t count = within(guest.page->device_count, 0, VGPU_DEVICES_MAX);
  for (uint32_t device = 0; device < count; device++)
    if (!memcmp(guest.page->devices[device].uuid, uuid, 16)) return device;
  return VGPU_DEVICES_MAX;
}

static int uuid_of(CUdevice device, CUuuid *uuid) {
  if (real_has((const void *)real()->cuDeviceGetUuid_v2))
    return real()->cuDeviceGetUuid_v2(uuid, device) != CUDA_SUCCESS;
  return real()->cuDeviceGetUuid(uuid, device) != CUDA_SUCCESS;
}

uint32_t guest_device(CUdevice device) {
  CUuuid uuid;
  if (device < 0 || device >= (int)(sizeof device_of / sizeof *device_of)) return VGPU_DEVICES_MAX;
  uint32_t known = __atomic_load_n(&device_of[device], __ATOMIC_RELAXED);
  if (known) return known - 1;
  if (uuid_of(device, &uuid)) return VGPU_DEVICES_MAX; /* not initialised: ask again later */
  known = 1 + guest_device_by_uuid(uuid.bytes);
  __atomic_store_n(&device_of[device], known, __ATOMIC_RELAXED);
  return known - 1;
}

CUdevice guest_ordinal(uint32_t device) {
  int count = 0;
  if (real()->cuDeviceGetCount(&count)) return -1;
  for (CUdevice ordinal = 0; ordinal < count; ordinal++)
    if (guest_device(ordinal) == device) return ordinal;
  return -1;
}

uint64_t guest_total_memory(uint32_t device) {
  static uint64_t totals[VGPU_DEVICES_MAX];
  uint64_t known = __atomic_load_n(&totals[device], __ATOMIC_RELAXED);
  size_t bytes = 0;
  if (known) return known;
  if (real()->cuDeviceTotalMem_v2(&bytes, guest_ordinal(device))) return 0;
  __atomic_store_n(&totals[device], bytes, __ATOMIC_RELAXED);
  return bytes;
}
