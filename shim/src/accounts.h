/* Charging and discharging bytes in the usage page, and cleaning up after the dead. */
#ifndef VGPU_ACCOUNTS_H
#define VGPU_ACCOUNTS_H

#include "vgpu_region.h"

/* A process's place in a usage page. */
struct account {
  struct vgpu_usage *page;
  int fd;          /* holds the slot's lock; -1: a private page, no lock needed */
  uint32_t slot;   /* VGPU_SLOTS_MAX: the slot that everybody without one shares */
};

/* Claims a slot for this process; reaps the dead when none is free. 0 or -errno. */
int account_claim(struct account *account);

/* Counts `bytes` on a device if they fit below `limit`; 0 or -ENOMEM, nothing charged. */
int account_charge(const struct account *account, uint32_t device, enum vgpu_memory_kind kind,
                   uint64_t bytes, uint64_t limit);
void account_discharge(const struct account *account, uint32_t device, enum vgpu_memory_kind kind,
                       uint64_t bytes);

/* The locks of lanes are the process's own: a forked child starts with new ones. */
void account_after_fork(void);

/* Reaps at most once in 10 ms, all processes taken together; returns freed slots. */
int account_reap_if_due(const struct account *account, uint32_t device, uint64_t now_ns);

/* Before `bytes` are refused: takes back what the dead held, at once where few processes
 * share the page, where that could make room at all; not 0 when it is worth another try. */
int account_reap_for(const struct account *account, uint32_t device, uint64_t bytes, uint64_t limit);

/* Places where a test may kill the process; nothing in a normal build. */
#ifdef VGPU_FAIL_POINTS
void fail_point(const char *name);
#define FAIL_POINT(name) fail_point(name)
#else
#define FAIL_POINT(name) ((void)0)
#endif

#define COUNTED_ONE_OP (1ull << VGPU_BYTES_BITS)

static inline uint64_t counted_bytes(uint64_t word) { return word & VGPU_BYTES_MASK; }

static inline struct vgpu_slot_device *account_of(struct vgpu_usage *page, uint32_t slot,
                                                  uint32_t device) {
  return &page->accounts[(size_t)slot * VGPU_DEVICES_MAX + device];
}

#endif
