/* Arithmetic on a context's and a stream's ends; each word is atomic for itself. */
#include "overlap.h"

static uint64_t load(const uint64_t *word) { return __atomic_load_n(word, __ATOMIC_RELAXED); }
static void store(uint64_t *word, uint64_t value) { __atomic_store_n(word, value, __ATOMIC_RELAXED); }
static uint64_t later(uint64_t a, uint64_t b) { return a > b ? a : b; }

int overlap_rides(const struct overlap *overlap, const uint64_t *stream_ends_ns, uint64_t ns, uint64_t now) {
  return later(load(stream_ends_ns), now) + ns / 2 <= load(&overlap->window_ns);
}

uint64_t overlap_ride(struct overlap *overlap, uint64_t *stream_ends_ns, uint64_t ns, uint64_t now) {
  uint64_t start = later(load(stream_ends_ns), now), end = start + ns, covered = load(&overlap->ends_ns);
  store(stream_ends_ns, end);
  if (end <= covered) return 0;
  store(&overlap->ends_ns, end);
  return end - later(covered, start);
}

uint64_t overlap_open(struct overlap *overlap, uint64_t *stream_ends_ns, uint64_t ns, uint64_t now) {
  uint64_t added = overlap_ride(overlap, stream_ends_ns, ns, now);
  store(&overlap->window_ns, later(load(&overlap->window_ns), load(stream_ends_ns)));
  return added;
}
