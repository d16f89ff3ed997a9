/* Time: the machine's monotonic clock, or a virtual one that only sleepers move. */
#ifndef SIM_CLOCK_H
#define SIM_CLOCK_H

#include "state.h"

uint64_t clock_now(struct sim_state *state); /* ns */
/* Returns at `deadline` or later; call without the lock. */
void clock_sleep_until(struct sim_state *state, uint64_t deadline);

#endif
