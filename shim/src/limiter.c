/* Arithmetic of the shared schedule; no clock of its own, no waiting. */
#include "limiter.h"

#include "guest.h"

enum { NS_PER_MS = 1000000, SLACK_NS = 1 * NS_PER_MS };

/* An hour of debt is a scribbled page. */
static const uint64_t ABSURD_NS = 3600ull * 1000 * NS_PER_MS;

static uint64_t sane(uint64_t schedule, const struct guest_limits *limits, uint64_t now) {
  uint64_t earliest = now - limits->burst_ms * (uint64_t)NS_PER_MS;
  return schedule < earliest || schedule > now + ABSURD_NS ? earliest : schedule;
}

uint64_t limiter_book(struct vgpu_usage_device *slice, const struct guest_limits *limits, int64_t gpu_ns,
                      uint64_t now) {
  uint64_t seen = __atomic_load_n(&slice->schedule, __ATOMIC_RELAXED), turn;
  uint64_t price = (uint64_t)(gpu_ns * 100 / (int64_t)limits->compute_percent);
  do {
    turn = sane(seen, limits, now);
  } while (!__atomic_compare_exchange_n(&slice->schedule, &seen, turn + price, 1, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED)); /* relaxed: the word stands for itself */
  return turn;
}

uint64_t limiter_turn(uint64_t turn, uint32_t old_percent, uint32_t percent, uint64_t now) {
  if (turn <= now || turn > now + ABSURD_NS) return turn;
  return now + (turn - now) * old_percent / percent;
}

/* Of all processes one sees that the figure is old, and changes both. */
void limiter_reckon(struct vgpu_usage_device *slice, uint32_t percent, uint64_t now) {
  uint64_t old = __atomic_load_n(&slice->schedule_percent, __ATOMIC_RELAXED);
  if (old == percent) return;
  if (!__atomic_compare_exchange_n(&slice->schedule_percent, &old, percent, 0, __ATOMIC_RELAXED,
                                   __ATOMIC_RELAXED))
    return;
  if (!old || old > 100) return;
  uint64_t seen = __atomic_load_n(&slice->schedule, __ATOMIC_RELAXED);
  while (!__atomic_compare_exchange_n(&slice->schedule, &seen, limiter_turn(seen, (uint32_t)old, percent, now), 1,
                                      __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
}

int limiter_waits(uint64_t turn, uint64_t now) { return turn > now + SLACK_NS && turn < now + ABSURD_NS; }
