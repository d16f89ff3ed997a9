/* This process as a guest of its slice: its pages, its slot, its devices. */
#ifndef VGPU_GUEST_H
#define VGPU_GUEST_H

#include "accounts.h"
#include "cuda_abi.h"

enum guest_state {
  GUEST_UNKNOWN = 0,
  GUEST_FREE,     /* in no slice: everything is forwarded */
  GUEST_LIMITED,
  GUEST_REFUSED   /* in a slice whose limits are missing: nothing is allocated or launched */
};

/* What the limits page says of one device, as last read whole. */
struct guest_limits {
  uint64_t memory_limit;   /* VGPU_UNLIMITED: the driver's own */
  uint64_t memory_ceiling;
  uint64_t spill_limit;
  uint64_t context_bytes;
  uint32_t memory_wait_ms;
  uint32_t compute_percent; /* in force: held + lent, within 1..100; 100 = no limit */
  uint32_t burst_ms;
  uint32_t busy_permille;
  uint32_t flags;
};

struct guest {
  enum guest_state state;
  uint32_t seen;           /* generation the copies below are from */
  struct vgpu_limits *page;
  struct account account;
  int claimed;
  int required;            /* an agent made the slice: without its pages nothing is allowed */
  struct guest_limits limits[VGPU_DEVICES_MAX];
};

extern struct guest guest;

/* Opens the pages at the first call; cheap afterwards. */
enum guest_state guest_enter_slow(void);

static inline enum guest_state guest_enter(void) {
  enum guest_state state = __atomic_load_n(&guest.state, __ATOMIC_ACQUIRE);
  return __builtin_expect(state == GUEST_FREE || state == GUEST_LIMITED, 1) ? state : guest_enter_slow();
}

/* A slot in the usage page, before anything is counted. */
void guest_claim(void);

void guest_refresh(void);

/* The limits in force now; re-read only when the agent wrote. */
static inline const struct guest_limits *guest_limits_of(uint32_t device) {
  uint32_t now = __atomic_load_n(&guest.page->generation, __ATOMIC_RELAXED);
  if (__builtin_expect(now != __atomic_load_n(&guest.seen, __ATOMIC_RELAXED), 0)) guest_refresh();
  return &guest.limits[device];
}

/* A driver's ordinal as an index of our pages; VGPU_DEVICES_MAX: a device that
 * the slice does not have, of which nothing is allowed. */
uint32_t guest_device(CUdevice device);

/* The reverse; -1 when this process does not see the device. */
CUdevice guest_ordinal(uint32_t device);

/* Index of a UUID in the limits page, or VGPU_DEVICES_MAX. */
uint32_t guest_device_by_uuid(const uint8_t *uuid);

/* Bytes a device's memory has, asked of the driver once. */
uint64_t guest_total_memory(uint32_t device);

/* Time, as the limiter sees it; tests put another clock in its place. */
struct guest_clock {
  uint64_t (*now)(void);
  /* Returns at `deadline` or when the limits changed; NULL page: only at the deadline. */
  void (*wait_until)(const struct vgpu_limits *page, uint32_t seen, uint64_t deadline);
};
extern struct guest_clock guest_clock;

#endif
