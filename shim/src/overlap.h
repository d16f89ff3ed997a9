/* What a launch adds to the time that the GPU is busy, when other streams work beside it.
 *
 * A guess for the gate, made from estimates before anything runs: a stream's work lies
 * end to end, that of different streams side by side. Where it does not, measuring
 * corrects what was charged. Nothing here waits or books.
 */
#ifndef VGPU_OVERLAP_H
#define VGPU_OVERLAP_H

#include <stdint.h>

/* Of one context. Threads race for these words; what that costs is a wrong guess. */
struct overlap {
  uint64_t ends_ns;   /* when all of its streams should be done */
  uint64_t window_ns; /* until when work is paid for that went through the gate */
};

/* Whether a launch runs beside work that went through the gate, for half its time at
 * least: then it needs no turn of its own. `stream_ends_ns` is the stream's own end. */
int overlap_rides(const struct overlap *overlap, const uint64_t *stream_ends_ns, uint64_t ns, uint64_t now);

/* Puts it there; returns the busy time that it adds, at most `ns`. */
uint64_t overlap_ride(struct overlap *overlap, uint64_t *stream_ends_ns, uint64_t ns, uint64_t now);

/* The same for one that had its turn: beside it others may ride. */
uint64_t overlap_open(struct overlap *overlap, uint64_t *stream_ends_ns, uint64_t ns, uint64_t now);

#endif
