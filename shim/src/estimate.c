/* A fixed table, looked up without a lock. An entry that two threads replace at
 * once holds a wrong figure for a few launches; measuring corrects it, and what
 * was charged is corrected from the measurement anyway. */
#include "estimate.h"

enum { ENTRIES = 8192, NEIGHBOURS = 4, SMOOTHING = 4 };

static struct estimate table[ENTRIES];

static void take_over(struct estimate *entry, uint64_t key) {
  __atomic_store_n(&entry->samples, 0, __ATOMIC_RELAXED);
  __atomic_store_n(&entry->probing, 0, __ATOMIC_RELAXED);
  __atomic_store_n(&entry->ns, 0, __ATOMIC_RELAXED);
  __atomic_store_n(&entry->key, key, __ATOMIC_RELEASE);
}

struct estimate *estimate_of(uint64_t key) {
  uint64_t first = key * 0x9e3779b97f4a7c15u >> 51;
  for (uint64_t i = 0; i < NEIGHBOURS; i++) {
    struct estimate *entry = &table[(first + i) % ENTRIES];
    uint64_t held = __atomic_load_n(&entry->key, __ATOMIC_ACQUIRE);
    if (held == key) return entry;
    if (held) continue;
    take_over(entry, key);
    return entry;
  }
  struct estimate *victim = &table[(first + (key >> 7) % NEIGHBOURS) % ENTRIES];
  take_over(victim, key);
  return victim;
}

void estimate_learn(struct estimate *estimate, uint64_t ns) {
  uint32_t samples = __atomic_load_n(&estimate->samples, __ATOMIC_RELAXED);
  uint64_t old = __atomic_load_n(&estimate->ns, __ATOMIC_RELAXED);
  uint64_t mean = samples ? (old * (SMOOTHING - 1) + ns) / SMOOTHING : ns;
  __atomic_store_n(&estimate->ns, mean, __ATOMIC_RELAXED);
  __atomic_store_n(&estimate->samples, samples + (samples < 1000), __ATOMIC_RELEASE);
  __atomic_store_n(&estimate->probing, 0, __ATOMIC_RELAXED);
}

void estimates_forget(void) {
  for (int i = 0; i < ENTRIES; i++) take_over(&table[i], 0);
}
