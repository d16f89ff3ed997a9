/* Overflow into host memory: off unless the agent sets VGPU_DEVICE_OVERSUBSCRIBE. */
#ifndef VGPU_SPILL_H
#define VGPU_SPILL_H

#include <stdint.h>

#include "cuda_abi.h"

/* Instead of "out of memory" for a linear allocation on the current device:
 * managed memory that prefers the host. Its bytes count against spill_limit,
 * not against memory_limit. Never for pools, VMM, IPC or less than 2 MiB. */
CUresult spill_allocate(CUdeviceptr *ptr, size_t size);
void spill_returned(uint32_t device, uint64_t bytes);

#endif
