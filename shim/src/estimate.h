/* How long a kernel is expected to run, by function and grid; this process's memory of it. */
#ifndef VGPU_ESTIMATE_H
#define VGPU_ESTIMATE_H

#include <stdint.h>

struct estimate {
  uint64_t key;
  uint32_t probing;  /* a first measurement is under way */
  uint32_t samples;
  uint64_t ns;       /* moving average; meaningful once samples > 0 */
};

static inline uint64_t estimate_key(const void *function, uint64_t x, uint64_t y, uint64_t z) {
  uint64_t key = (uint64_t)(uintptr_t)function ^ (x | y << 32 | z << 48) * 0x9e3779b97f4a7c15u;
  return (key ^ key >> 31) | 1;
}

/* Other threads learn while one reads: each word for itself, samples last. */
static inline int estimate_known(const struct estimate *estimate) {
  return __atomic_load_n(&estimate->samples, __ATOMIC_ACQUIRE) != 0;
}
static inline uint64_t estimate_ns(const struct estimate *estimate) {
  return __atomic_load_n(&estimate->ns, __ATOMIC_RELAXED);
}
static inline void estimate_unprobe(struct estimate *estimate) {
  __atomic_store_n(&estimate->probing, 0, __ATOMIC_RELAXED);
}

/* Never NULL: with the table full an old entry makes room. */
struct estimate *estimate_of(uint64_t key);
void estimate_learn(struct estimate *estimate, uint64_t ns);
void estimates_forget(void);

#endif
