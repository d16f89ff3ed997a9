/* What the parts of the simulated NVML share: entering a query and finding its device. */
#ifndef SIM_NVML_H
#define SIM_NVML_H

#include "engine.h"
#include "nvml_abi.h"
#include "state.h"

extern struct sim_state *nvml_state; /* set by nvmlInit */

/* Every query begins here: checks, the set latency or hang, the machine brought up to now.
 * On NVML_SUCCESS the state is locked and *device is the device's number. */
nvmlReturn_t nvml_enter(nvmlDevice_t handle, int *device);
static inline void nvml_leave(void) { state_unlock(nvml_state); }
nvmlDevice_t nvml_handle(int device);
/* Bus address of a device, as nvmlDeviceGetPciInfo_v3 and link ends state it. */
nvmlPciInfo_t nvml_pci(int device);
/* The device of a handle, or -1. */
int nvml_device(nvmlDevice_t handle);

#endif
