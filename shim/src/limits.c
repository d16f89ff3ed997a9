/* Reading and writing the limits page once it is mapped.
 *
 * The writer bumps `seq` to odd, writes, bumps it to even, then counts
 * `generation` up and wakes whoever sleeps on it. Readers never wait for a
 * writer: they retry a bounded number of times and say -EAGAIN.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "pages.h"

enum { READ_ATTEMPTS = 64, LINE_WORDS = sizeof(struct vgpu_limits_device) / sizeof(uint32_t) };

VGPU_API uint64_t vgpu_clock_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Word by word and atomically. Acquire and release keep the words between the two looks
 * at seq on both sides: what was read is older than the second look, what is written
 * is newer than the odd seq. (Fences would do, but the thread sanitizer has none.) */
static void copy_fields(uint32_t *to, const uint32_t *from) {
  for (size_t word = 1; word < LINE_WORDS; word++) /* word 0 is seq */
    __atomic_store_n(&to[word], __atomic_load_n(&from[word], __ATOMIC_ACQUIRE), __ATOMIC_RELEASE);
}

VGPU_API int vgpu_limits_write(struct vgpu_limits *page, uint32_t index,
                               const struct vgpu_limits_device *line) {
  if (index >= VGPU_DEVICES_MAX || index >= page->device_count) return -EINVAL;
  struct vgpu_limits_device *to = &page->devices[index];
  uint32_t odd = __atomic_load_n(&to->seq, __ATOMIC_RELAXED) | 1; /* also after a writer that died */
  __atomic_store_n(&to->seq, odd, __ATOMIC_RELAXED);
  copy_fields((uint32_t *)to, (const uint32_t *)line);
  __atomic_store_n(&to->seq, odd + 1, __ATOMIC_RELEASE);
  __atomic_fetch_add(&page->generation, 1, __ATOMIC_RELEASE);
  syscall(SYS_futex, &page->generation, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
  return 0;
}

VGPU_API int vgpu_limits_read(const struct vgpu_limits *page, uint32_t index,
                              struct vgpu_limits_device *line) {
  if (index >= VGPU_DEVICES_MAX || index >= page->device_count) return -EINVAL;
  const struct vgpu_limits_device *from = &page->devices[index];
  for (int attempt = 0; attempt < READ_ATTEMPTS; attempt++) {
    uint32_t seq = __atomic_load_n(&from->seq, __ATOMIC_ACQUIRE);
    copy_fields((uint32_t *)line, (const uint32_t *)from);
    line->seq = __atomic_load_n(&from->seq, __ATOMIC_RELAXED);
    if (line->seq == seq && !(seq & 1)) return 0;
  }
  return -EAGAIN;
}

VGPU_API int vgpu_limits_wait(const struct vgpu_limits *page, uint32_t seen, uint64_t timeout_ns) {
  struct timespec left = {.tv_sec = (time_t)(timeout_ns / 1000000000u),
                          .tv_nsec = (long)(timeout_ns % 1000000000u)};
  /* Not FUTEX_PRIVATE: writer and waiters are different processes. */
  long slept = syscall(SYS_futex, &page->generation, FUTEX_WAIT, seen, &left, NULL, 0);
  if (!slept || errno == EAGAIN) return 0;
  return -errno;
}
