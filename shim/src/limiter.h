/* The compute limit of a slice: a debt in time, shared by all its processes.
 *
 * One word per device, `schedule`: the moment at which all GPU time used so far
 * is paid for at the share in force. Using g ns moves it by g * 100 / percent;
 * it never lies further back than the burst, so idle time can be caught up only
 * a little. A single compare-and-swap, so there is nothing a crash could tear.
 */
#ifndef VGPU_LIMITER_H
#define VGPU_LIMITER_H

#include <stdint.h>

struct guest_limits;

/* Moves the schedule for `gpu_ns` used; below zero takes back what was charged too much. */
void limiter_charge(uint64_t *schedule, const struct guest_limits *limits, int64_t gpu_ns, uint64_t now);

/* The deadline to sleep to before more may be used, 0: none. Small debts do not
 * sleep: a wake-up costs more than they are worth. */
uint64_t limiter_deadline(const uint64_t *schedule, uint64_t now);

#endif
