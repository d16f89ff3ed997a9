/* Lets the agent touch a page that a tenant may cut short at any moment: memory
 * whose file was truncated is SIGBUS to whoever reads it, and no check before
 * the read comes late enough. An armed guard turns that into a jump back.
 *
 * Only a process that calls vgpu_guard has the handler; a guest's signals are
 * its own, and there a guard is a few stores.
 */
#ifndef VGPU_GUARD_H
#define VGPU_GUARD_H

#include <setjmp.h>

struct guard {
  sigjmp_buf landing;
  struct guard *outer;
};

/* To be given to sigsetjmp in the frame that stays: where that returns 1, the page was cut short. */
struct __jmp_buf_tag *guard_arm(struct guard *guard);
/* Before the frame ends; after a landing the guard is off already. */
void guard_disarm(const struct guard *guard);

#endif
