/* A lock for a few instructions. In private memory only: a killed process leaves none. */
#ifndef VGPU_SPIN_H
#define VGPU_SPIN_H

#include <sched.h>
#include <stdint.h>

struct spin {
  uint32_t held;
};

static inline int spin_try(struct spin *lock) {
  return !__atomic_load_n(&lock->held, __ATOMIC_RELAXED) &&
         !__atomic_exchange_n(&lock->held, 1, __ATOMIC_ACQUIRE);
}

/* Gives the processor away early: with more threads than processors the holder
 * is likely to be one that was preempted. */
static inline void spin_lock(struct spin *lock) {
  for (uint32_t turn = 1; !spin_try(lock); turn++)
    if (turn % 16 == 0) sched_yield();
}

static inline void spin_unlock(struct spin *lock) {
  __atomic_store_n(&lock->held, 0, __ATOMIC_RELEASE);
}

#endif
