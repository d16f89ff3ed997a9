/* The GPU: work queues and who runs when. No thread drives it; whoever looks at it
 * under the state's lock first brings it up to now, event by event.
 */
#ifndef SIM_ENGINE_H
#define SIM_ENGINE_H

#include "state.h"

/* Brings every device up to now. Call with the lock held, as all below. */
void engine_advance(struct sim_state *state);

/* The clock jumps: devices go on from `now`, without slices or samples of before. */
void engine_restart(struct sim_state *state, uint64_t now);

/* The slot's channel on the device, made at need; -1: no more channels. */
int engine_channel(struct sim_state *state, struct sim_slot *slot, int device);

/* Appends to a stream. False: the stream or the channel is at its depth. */
bool engine_submit(struct sim_state *state, int channel, uint32_t stream, struct sim_item item);

/* Whether the stream has nothing pending that was submitted before `tail`. */
bool engine_reached(struct sim_state *state, int channel, uint32_t stream, uint32_t tail);
uint64_t engine_pending(struct sim_state *state, int channel);

/* A time, later than now, before which the first `items` of that stream cannot be done. */
uint64_t engine_earliest(struct sim_state *state, int channel, uint32_t stream, uint32_t items);

/* Utilisation in percent as NVML states it: the mean of the samples in its window. */
unsigned engine_utilization(struct sim_state *state, const uint16_t *samples, uint64_t count, uint64_t first);

#endif
