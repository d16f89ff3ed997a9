/* Stream-ordered memory: what pools hold, not what was asked of them. */
#ifndef VGPU_POOL_H
#define VGPU_POOL_H

#include <stdint.h>

/* Brings the account in line with what the pools hold now; next to nothing
 * when this process uses none. */
void pools_refresh(void);
/* Makes the device's pools give back what they do not use; 1: something came back. */
int pools_shrink(uint32_t device);
void pools_after_fork(void);

#endif
