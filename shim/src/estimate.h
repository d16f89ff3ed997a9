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

/* Never NULL: with the table full an old entry makes room. */
struct estimate *estimate_of(uint64_t key);
void estimate_learn(struct estimate *estimate, uint64_t ns);
void estimates_forget(void);

#endif
