/* The compute limit of a slice: a debt in time, shared by all its processes.
 *
 * One word per device, `schedule`: the moment at which all GPU time asked for so
 * far is paid for at the share in force. Asking for g ns moves it by
 * g * 100 / percent, and where it stood before is the asker's turn: so waiters
 * go in the order in which they asked, and none starves. It never lies further
 * back than the burst, so idle time can be caught up only a little. Changes are
 * single compare-and-swaps: there is nothing that a crash could tear.
 */
#ifndef VGPU_LIMITER_H
#define VGPU_LIMITER_H

#include <stdint.h>

struct guest_limits;
struct vgpu_usage_device;

/* Books `gpu_ns` and returns whose turn it then is: the time from which it may be
 * used. Below zero it takes back what was booked too much. */
uint64_t limiter_book(struct vgpu_usage_device *slice, const struct guest_limits *limits, int64_t gpu_ns,
                      uint64_t now);

/* After a change of the share: what is still owed is reckoned at the new one. */
void limiter_reckon(struct vgpu_usage_device *slice, uint32_t percent, uint64_t now);
/* The same for a turn that was given before it. */
uint64_t limiter_turn(uint64_t turn, uint32_t old_percent, uint32_t percent, uint64_t now);

/* Whether a turn is worth sleeping for: a wake-up costs more than a small debt. */
int limiter_waits(uint64_t turn, uint64_t now);

#endif
