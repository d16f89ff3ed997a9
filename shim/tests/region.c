/* The pages themselves: whatever a file holds, opening it does no harm; readers
 * see whole lines; what the arithmetic of intervals says is true. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "busy.h"
#include "check.h"
#include "driver.h"
#include "guest.h"
#include "limiter.h"
#include "pointers.h"
#include "slice.h"

#define GIB (1ull << 30)

static uint64_t random_state = 88172645463325252ull;

static uint64_t dice(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state;
}

static void page_path(char *path, const struct slice *slice, const char *name) {
  snprintf(path, 320, "%s/%s", slice->directory, name);
}

/* ---- files that are no pages ------------------------------------------------------ */

static void fill(const char *path, size_t size, int random) {
  int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
  char block[4096];
  CHECK(fd >= 0);
  for (size_t done = 0; done < size; done += sizeof block) {
    for (size_t i = 0; i < sizeof block; i++) block[i] = random ? (char)dice() : 0;
    CHECK(write(fd, block, size - done < sizeof block ? size - done : sizeof block) >= 0);
  }
  close(fd);
}

static void foreign_files(void) {
  char path[320];
  struct vgpu_limits *limits;
  struct vgpu_usage *usage;
  int fd;
  struct slice slice = slice_new(GIB, 50);
  page_path(path, &slice, "foreign");
  for (size_t size = 0; size <= 2 * sizeof *limits; size += 97) {
    fill(path, size, size % 2);
    CHECK_EQUAL(vgpu_limits_open(path, 0, &limits), -EPROTO);
    CHECK_EQUAL(vgpu_usage_open(path, &usage, &fd), -EPROTO);
  }
  CHECK_EQUAL(vgpu_limits_open("/nonexistent/limits", 0, &limits), -ENOENT);
  CHECK(vgpu_limits_open("/", 0, &limits) < 0);
  CHECK(vgpu_limits_open("/dev/zero", 0, &limits) < 0);
}

static void wrong_versions(void) {
  char path[320];
  struct vgpu_limits *limits;
  struct slice slice = slice_new(GIB, 50);
  page_path(path, &slice, "limits");
  slice.limits->version++;
  CHECK_EQUAL(vgpu_limits_open(path, 0, &limits), -EPROTO);
  slice.limits->version--;
  slice.limits->size -= 8;
  CHECK_EQUAL(vgpu_limits_open(path, 0, &limits), -EPROTO);
  slice.limits->size += 8;
  slice.limits->device_count = 17;
  CHECK_EQUAL(vgpu_limits_open(path, 0, &limits), -EPROTO);
  slice.limits->device_count = 1;
  CHECK_EQUAL(vgpu_limits_open(path, 0, &limits), 0);
}

/* Allocating over scribbled accounts may refuse or allow nonsense; it must not crash or hang. */
static void scribbled_accounts(void) {
  CUdeviceptr ptr;
  struct slice slice = slice_new(GIB, 50);
  gpu_context();
  for (int round = 0; round < 200; round++) {
    uint64_t *words = (uint64_t *)slice.usage->slots;
    for (int i = 0; i < 2000; i++) words[dice() % (sizeof slice.usage->slots / 8)] = dice();
    words = (uint64_t *)&slice.usage->devices[0];
    for (int i = 0; i < 200; i++) words[dice() % (sizeof slice.usage->devices[0] / 8)] = dice();
    words = (uint64_t *)&slice.usage->accounts[dice() % 64];
    for (int i = 0; i < 40; i++) words[dice() % (sizeof slice.usage->accounts[0] / 8)] = dice();
    slice.usage->slots_used = (uint32_t)dice();
    if (!cuMemAlloc_v2(&ptr, dice() % GIB)) CHECK_EQUAL(cuMemFree_v2(ptr), CUDA_SUCCESS);
    vgpu_usage_reap(slice.usage, slice.fd);
    uint64_t repaired;
    vgpu_usage_reconcile(slice.usage, 0, &repaired);
  }
}

static void scribbled_limits(void) {
  CUdeviceptr ptr;
  struct slice slice = slice_new(GIB, 50);
  gpu_context();
  CUfunction function = gpu_function("k_1us");
  for (int round = 0; round < 300; round++) {
    struct vgpu_limits_device line = slice_line(&slice);
    uint64_t *words = (uint64_t *)&line;
    for (size_t i = 3; i < sizeof line / 8; i++) words[i] = dice() >> dice() % 64;
    line.memory_wait_ms = 0;
    line.flags = 0;
    slice_write(&slice, &line);
    if (!cuMemAlloc_v2(&ptr, 1 << 20)) CHECK_EQUAL(cuMemFree_v2(ptr), CUDA_SUCCESS);
    CHECK_EQUAL(launch_on(function, 1, NULL), CUDA_SUCCESS);
  }
}

/* A writer that died in the middle leaves seq odd: readers go on with what they had. */
static void dead_writer(void) {
  CUdeviceptr ptr;
  struct slice slice = slice_new(GIB, 50);
  gpu_context();
  CHECK_EQUAL(cuMemAlloc_v2(&ptr, GIB / 2), CUDA_SUCCESS);
  slice.limits->devices[0].seq |= 1;
  slice.limits->devices[0].memory_limit = 0;
  slice.limits->generation++;
  CHECK_EQUAL(cuMemAlloc_v2(&ptr, GIB / 2), CUDA_SUCCESS);
  CHECK_EQUAL(cuMemAlloc_v2(&ptr, GIB / 2), CUDA_ERROR_OUT_OF_MEMORY);
  struct vgpu_limits_device line = {.memory_limit = 2 * GIB, .compute_percent = 50};
  memcpy(line.uuid, slice.limits->devices[0].uuid, 16);
  slice_write(&slice, &line); /* the next writer heals it */
  CHECK_EQUAL(cuMemAlloc_v2(&ptr, GIB / 2), CUDA_SUCCESS);
}

/* ---- pages that cannot be used ------------------------------------------------------- */

static void unlinked(void) {
  CUdeviceptr ptr;
  char path[320];
  struct slice slice = slice_new(GIB, 50);
  gpu_context();
  CHECK_EQUAL(cuMemAlloc_v2(&ptr, GIB / 2), CUDA_SUCCESS);
  page_path(path, &slice, "limits");
  CHECK(!unlink(path));
  page_path(path, &slice, "usage/accounts");
  CHECK(!unlink(path));
  CHECK_EQUAL(cuMemAlloc_v2(&ptr, GIB), CUDA_ERROR_OUT_OF_MEMORY);
  CHECK_EQUAL(cuMemAlloc_v2(&ptr, GIB / 2), CUDA_SUCCESS);
}

static void without_usage(void) {
  CUdeviceptr ptr;
  char path[320];
  struct slice slice = slice_new(GIB, 50);
  page_path(path, &slice, "usage/accounts");
  fill(path, 100, 1);
  gpu_context();
  CHECK_EQUAL(cuMemAlloc_v2(&ptr, GIB / 2), CUDA_SUCCESS);
  CHECK_EQUAL(cuMemAlloc_v2(&ptr, GIB), CUDA_ERROR_OUT_OF_MEMORY);
}

static void quiet_stderr(void) { CHECK(freopen("/dev/null", "w", stderr)); }

static void missing_limits(void) {
  CUdeviceptr ptr;
  char path[320], mark[320];
  struct slice slice = slice_new(GIB, 50);
  page_path(path, &slice, "limits");
  page_path(mark, &slice, "required");
  fill(mark, 0, 0);
  CHECK(!rename(path, strcat(strcpy(mark, path), ".late")));
  quiet_stderr();
  gpu_context();
  CUfunction function = gpu_function("k_1us");
  CHECK_EQUAL(cuMemAlloc_v2(&ptr, 1), CUDA_ERROR_NOT_PERMITTED);
  CHECK_EQUAL(launch_on(function, 1, NULL), CUDA_ERROR_NOT_PERMITTED);
  CHECK(!rename(mark, path)); /* the agent was late */
  uint64_t patience = vgpu_clock_ns() + 5000000000;
  while (cuMemAlloc_v2(&ptr, 1) && vgpu_clock_ns() < patience) sched_yield();
  CHECK_EQUAL(launch_on(function, 1, NULL), CUDA_SUCCESS);
  CHECK_EQUAL(cuMemAlloc_v2(&ptr, GIB), CUDA_ERROR_OUT_OF_MEMORY);
}

static void broken_limits(void) {
  CUdeviceptr ptr;
  char path[320];
  struct slice slice = slice_new(GIB, 50);
  page_path(path, &slice, "limits");
  CHECK(!truncate(path, 100));
  quiet_stderr();
  gpu_context();
  CHECK_EQUAL(cuMemAlloc_v2(&ptr, 1), CUDA_ERROR_NOT_PERMITTED);
}

static void no_slice(void) {
  CUdeviceptr ptr;
  struct slice slice = slice_new(0, 1);
  (void)slice;
  unsetenv("VGPU_DIR");
  gpu_context();
  CHECK_EQUAL(cuMemAlloc_v2(&ptr, GIB), CUDA_SUCCESS);
  CHECK_EQUAL(cuMemFree_v2(ptr), CUDA_SUCCESS);
}

/* ---- readers and writers -------------------------------------------------------------- */

static struct slice shared;
static int done;

static void *write_patterns(void *unused) {
  for (uint64_t value = 1; !__atomic_load_n(&done, __ATOMIC_RELAXED); value++) {
    struct vgpu_limits_device line = {.memory_limit = value, .memory_target = value, .memory_ceiling = value,
                                      .spill_limit = value, .context_bytes = value, .revision = value};
    slice_write(&shared, &line);
  }
  return unused;
}

static void whole_lines(void) {
  pthread_t writer;
  uint64_t last = 0;
  shared = slice_new(GIB, 50);
  pthread_create(&writer, NULL, write_patterns, NULL);
  while (__atomic_load_n(&shared.limits->generation, __ATOMIC_ACQUIRE) < 10) sched_yield();
  for (int i = 0; i < 200000; i++) {
    struct vgpu_limits_device line;
    if (vgpu_limits_read(shared.limits, 0, &line)) continue; /* the writer never rests */
    CHECK(line.memory_limit == line.revision && line.context_bytes == line.revision);
    CHECK(line.spill_limit == line.revision && line.revision >= last);
    last = line.revision;
  }
  __atomic_store_n(&done, 1, __ATOMIC_RELAXED);
  pthread_join(writer, NULL);
}

static void *change_once(void *page) {
  struct slice *slice = page;
  while (!__atomic_load_n(&done, __ATOMIC_ACQUIRE)) sched_yield();
  slice_set(slice, 1, 1);
  return NULL;
}

static void woken_readers(void) {
  pthread_t writer;
  char path[320];
  struct vgpu_limits *reading;
  shared = slice_new(GIB, 50);
  page_path(path, &shared, "limits");
  CHECK_EQUAL(vgpu_limits_open(path, 0, &reading), 0); /* read-only, as in a container */
  uint32_t seen = reading->generation;
  CHECK_EQUAL(vgpu_limits_wait(reading, seen, 1000000), -ETIMEDOUT);
  pthread_create(&writer, NULL, change_once, &shared);
  __atomic_store_n(&done, 1, __ATOMIC_RELEASE);
  CHECK_EQUAL(vgpu_limits_wait(reading, seen, 60000000000), 0);
  CHECK(reading->generation != seen);
  pthread_join(writer, NULL);
}

/* ---- properties -------------------------------------------------------------------------- */

enum { LINE = 4000 };

static void unions(void) {
  for (int round = 0; round < 300; round++) {
    struct covered covered = {.count = 0};
    char truth[LINE] = {0};
    for (int i = 0; i < 20; i++) {
      uint64_t from = dice() % (LINE - 300), until = from + dice() % 300;
      uint64_t fresh = 0;
      for (uint64_t at = from; at < until; at++) fresh += !truth[at];
      memset(truth + from, 1, until - from);
      CHECK_EQUAL(covered_add(&covered, from, until), fresh);
    }
  }
}

static void shared_unions(void) {
  static uint64_t ring[VGPU_BUSY_WORDS];
  const uint64_t q = VGPU_BUSY_QUANTUM_NS, base = q * VGPU_BUSY_BITS * 1000000;
  for (int round = 0; round < 300; round++) {
    char truth[LINE] = {0};
    uint64_t start = base + (uint64_t)round * LINE * q;
    for (int i = 0; i < 20; i++) {
      uint64_t from = dice() % (LINE - 300), until = from + 1 + dice() % 300, fresh = 0;
      for (uint64_t at = from; at < until; at++) fresh += !truth[at];
      memset(truth + from, 1, until - from);
      CHECK_EQUAL(busy_mark(ring, start + from * q, start + until * q), fresh * q);
    }
  }
}

/* The numbers of the ring's turns come round after 15 hours. */
static void at_any_hour(void) {
  static uint64_t idle[VGPU_BUSY_WORDS];
  const uint64_t q = VGPU_BUSY_QUANTUM_NS, hour = 3600000000000ull / q * q;
  const uint64_t turn = q * VGPU_BUSY_BITS * VGPU_BUSY_WORDS;
  for (uint64_t now = 0; now < 40 * hour; now += hour) {
    uint64_t *fresh = calloc(VGPU_BUSY_WORDS, sizeof *fresh);
    CHECK_EQUAL(busy_mark(fresh, now, now + 10 * q), 10 * q);
    CHECK_EQUAL(busy_mark(fresh, now, now + 10 * q), 0);
    CHECK_EQUAL(busy_mark(fresh, now + turn, now + turn + 10 * q), 10 * q);
    CHECK_EQUAL(busy_mark(fresh, now, now + 10 * q), 10 * q); /* forgotten, and what is newer is kept */
    CHECK_EQUAL(busy_mark(fresh, now + turn, now + turn + 10 * q), 0);
    free(fresh);
    if ((now / hour) % 9) continue; /* nobody was busy for nine hours */
    CHECK_EQUAL(busy_mark(idle, now, now + 10 * q), 10 * q);
    CHECK_EQUAL(busy_mark(idle, now, now + 10 * q), 0);
  }
}

static void divided_time(void) {
  struct slice a = slice_new(GIB, 50), b = slice_new(GIB, 50);
  const uint64_t q = VGPU_BUSY_QUANTUM_NS, base = q * VGPU_BUSY_BITS * 5000;
  struct vgpu_usage *pages[] = {a.usage, b.usage};
  const uint32_t devices[] = {0, 1}; /* one GPU, numbered otherwise in the second slice */
  uint64_t covered[2], owned[2];
  busy_mark(a.usage->devices[0].busy, base, base + 100 * q);
  busy_mark(b.usage->devices[1].busy, base + 50 * q, base + 200 * q);
  CHECK_EQUAL(vgpu_busy_shares(pages, devices, 2, base, base + VGPU_BUSY_BITS * 10 * q, covered, owned), 0);
  CHECK_EQUAL(covered[0], 100 * q);
  CHECK_EQUAL(covered[1], 150 * q);
  CHECK_EQUAL(owned[0], 75 * q);
  CHECK_EQUAL(owned[1], 125 * q);
}

static void pointer_table(void) {
  enum { KEYS = 5000 };
  static uint64_t bytes[KEYS]; /* the model: 0 = absent */
  for (int i = 0; i < 400000; i++) {
    uint64_t which = dice() % KEYS, key = (which + 1) * 512;
    struct pointer found = {.bytes = 0};
    if (bytes[which] && dice() % 2) {
      CHECK(pointers_take(key, &found));
      CHECK_EQUAL(found.bytes, bytes[which]);
      CHECK_EQUAL(found.context, which % POINTER_CONTEXTS);
      bytes[which] = 0;
    } else if (!bytes[which]) {
      CHECK(!pointers_find(key, &found));
      bytes[which] = 1 + dice() % VGPU_BYTES_MASK;
      CHECK_EQUAL(pointers_add(key, (struct pointer){.bytes = bytes[which], .kind = (uint32_t)(which % 7),
                                                     .context = (uint32_t)which % POINTER_CONTEXTS}), 0);
    }
  }
}

/* Whatever is charged and refunded in whatever steps, the debt is the sum. */
static void debts_add_up(void) {
  for (int round = 0; round < 1000; round++) {
    uint64_t now = 1000000000000ull;
    struct vgpu_usage_device account = {.schedule = now};
    struct guest_limits limits = {.compute_percent = 1 + (uint32_t)(dice() % 100), .burst_ms = 25};
    int64_t sum = 0;
    for (int i = 0; i < 50; i++) {
      int64_t gpu_ns = (int64_t)(dice() % 10000000) - 2000000;
      if (sum + gpu_ns < 0) continue;
      sum += gpu_ns;
      limiter_book(&account, &limits, gpu_ns, now);
    }
    int64_t debt = (int64_t)(account.schedule - now), expected = sum * 100 / limits.compute_percent;
    CHECK(debt - expected <= 50 && expected - debt <= 50); /* a nanosecond of rounding a step */
  }
}

static const struct test tests[] = {
    {"a file that is no page is refused, whatever it holds", foreign_files},
    {"a page of another version or size is refused", wrong_versions},
    {"scribbled accounts neither crash nor hang a process", scribbled_accounts},
    {"scribbled limits neither crash nor hang a process", scribbled_limits},
    {"a writer that died in the middle blocks nobody, and the next one heals the line", dead_writer},
    {"pages that are unlinked while mapped stay in force", unlinked},
    {"without a usable usage page the limit holds for each process alone", without_usage},
    {"where there must be limits and are none, allocation and launch are refused until there are", missing_limits},
    {"a broken limits page refuses as a missing one does", broken_limits},
    {"outside a slice everything is forwarded", no_slice},
    {"a reader sees whole lines only, and never an older one", whole_lines},
    {"a reader of a read-only page is woken by a change", woken_readers},
    {"the union of a process's intervals is exact", unions},
    {"the union on the ring is exact to the quantum", shared_unions},
    {"busy time is drawn at any hour, on a new page and after a long rest", at_any_hour},
    {"time that two slices were busy at once is divided between them", divided_time},
    {"the pointer table agrees with a plain model", pointer_table},
    {"charges and refunds add up to the debt", debts_add_up},
};

int main(void) { return RUN_TESTS(tests); }
