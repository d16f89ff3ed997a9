/* The ring on which a slice's busy time is drawn, so that what its processes did
 * at the same time counts once, and the agent can see what slices shared. */
#ifndef VGPU_BUSY_H
#define VGPU_BUSY_H

#include <stdint.h>

/* Marks [from, until) of CLOCK_MONOTONIC; returns the ns that nobody had marked yet. */
uint64_t busy_mark(uint64_t *ring, uint64_t from, uint64_t until);

/* Intervals that one process has counted already, for its own streams. */
enum { COVERED = 32 };
struct covered {
  uint32_t count;
  struct {
    uint64_t from, until;
  } spans[COVERED]; /* sorted, apart from each other */
};

/* Adds [from, until); returns the ns that were not covered before. */
uint64_t covered_add(struct covered *covered, uint64_t from, uint64_t until);

#endif
