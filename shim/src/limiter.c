/* Arithmetic of the shared schedule; no clock of its own, no waiting. */
#include "limiter.h"

#include "guest.h"

enum { NS_PER_MS = 1000000, SLACK_NS = 1 * NS_PER_MS };

/* An hour of debt is a scribbled page or a change from 100 to 1 per cent gone wrong. */
static const uint64_t ABSURD_NS = 3600ull * 1000 * NS_PER_MS;

static uint64_t moved(uint64_t schedule, const struct guest_limits *limits, int64_t gpu_ns, uint64_t now) {
  uint64_t earliest = now - limits->burst_ms * (uint64_t)NS_PER_MS;
  if (schedule < earliest || schedule > now + ABSURD_NS) schedule = earliest;
  return schedule + (uint64_t)(gpu_ns * 100 / (int64_t)limits->compute_percent);
}

void limiter_charge(uint64_t *schedule, const struct guest_limits *limits, int64_t gpu_ns, uint64_t now) {
  uint64_t seen = __atomic_load_n(schedule, __ATOMIC_RELAXED);
  while (!__atomic_compare_exchange_n(schedule, &seen, moved(seen, limits, gpu_ns, now), 1, __ATOMIC_RELAXED,
                                      __ATOMIC_RELAXED)) { /* relaxed: the word stands for itself */
  }
}

uint64_t limiter_deadline(const uint64_t *schedule, uint64_t now) {
  uint64_t paid = __atomic_load_n(schedule, __ATOMIC_RELAXED);
  return paid > now + SLACK_NS && paid < now + ABSURD_NS ? paid : 0;
}
