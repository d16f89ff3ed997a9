/* Measuring GPU time: pairs of events around launches, collected when they are done. */
#ifndef VGPU_METER_H
#define VGPU_METER_H

#include "cuda_abi.h"
#include "estimate.h"
#include "overlap.h"

/* What is known of a stream's recent work; shared by threads, approximate by nature. */
struct profile {
  uint64_t mean_ns;   /* per launch */
  uint32_t samples;
  uint32_t sparse;    /* rounds to come in which only single launches are timed */
  uint64_t ends_ns;   /* when its work under way should be done */
};

static inline int profile_known(const struct profile *profile) {
  return __atomic_load_n(&profile->samples, __ATOMIC_RELAXED) != 0;
}
static inline uint64_t profile_mean(const struct profile *profile) {
  return __atomic_load_n(&profile->mean_ns, __ATOMIC_RELAXED);
}
static inline uint32_t profile_sparse(const struct profile *profile) {
  return __atomic_load_n(&profile->sparse, __ATOMIC_RELAXED);
}

/* An interval of work on one stream, from the moment its first launch is let go. */
struct measure {
  struct measure *next;
  CUevent start, end;
  CUstream stream;
  struct profile *profile;
  struct estimate *estimate; /* of its only launch, or NULL */
  uint64_t key;              /* of that estimate */
  uint64_t expected_ns;      /* what was charged for it */
  uint64_t opened_ns;        /* host time */
  uint64_t closed_ns;
  uint32_t context, device;
  uint32_t launches;
  uint32_t epoch;
};

/* Counts up when measures of other threads may belong to a context that is gone. */
extern uint32_t meter_epoch_word;
static inline uint32_t meter_epoch(void) { return __atomic_load_n(&meter_epoch_word, __ATOMIC_ACQUIRE); }

/* Starts an interval; NULL when it cannot be measured (no event to be had). */
struct measure *meter_open(CUstream stream, uint32_t context, uint32_t device, uint64_t now);
/* Ends it behind what was launched last. */
void meter_close(struct measure *measure, uint64_t now);
/* Forgets it unmeasured. */
void meter_drop(struct measure *measure);

/* Books every finished interval; next to nothing when there is none. */
void meter_collect(void);
/* Estimated GPU time launched by this process and not yet measured. */
uint64_t meter_in_flight(uint32_t device);

struct profile *meter_profile(CUstream stream, uint32_t context);
struct overlap *meter_overlap(uint32_t context);

/* Counts launches whose GPU time is known (or estimated) without being measured. */
void meter_count(uint32_t device, uint64_t launches, uint64_t gpu_ns);

void meter_forget_context(uint32_t context);
void meter_after_fork(void);

#endif
