/* Where devices sit and how they are linked; errors and the events that tell of them. */
#include <stdlib.h>

#include "clock.h"
#include "nvml.h"

static nvmlReturn_t enter_pair(nvmlDevice_t a, nvmlDevice_t b, int *first, int *second) {
  nvmlReturn_t result = nvml_enter(a, first);
  if (result != NVML_SUCCESS) return result;
  *second = nvml_device(b);
  if (*second >= 0) return NVML_SUCCESS;
  nvml_leave();
  return NVML_ERROR_INVALID_ARGUMENT;
}

nvmlReturn_t sim_nvmlDeviceGetNumaNodeId(nvmlDevice_t handle, unsigned *node) {
  int device;
  nvmlReturn_t result = nvml_enter(handle, &device);
  if (result != NVML_SUCCESS) return result;
  int numa = nvml_state->devices[device].numa;
  nvml_leave();
  if (numa < 0) return NVML_ERROR_NOT_SUPPORTED;
  *node = (unsigned)numa;
  return NVML_SUCCESS;
}

nvmlReturn_t sim_nvmlDeviceGetMemoryAffinity(nvmlDevice_t handle, unsigned words, unsigned long *set, unsigned scope) {
  unsigned node;
  (void)scope;
  nvmlReturn_t result = sim_nvmlDeviceGetNumaNodeId(handle, &node);
  if (result != NVML_SUCCESS) return result;
  for (unsigned i = 0; i < words; i++) set[i] = node / 64 == i ? 1UL << node % 64 : 0;
  return NVML_SUCCESS;
}

static unsigned level_between(int a, int b) {
  if (a == b) return NVML_TOPOLOGY_INTERNAL;
  return nvml_state->devices[a].numa == nvml_state->devices[b].numa ? NVML_TOPOLOGY_NODE : NVML_TOPOLOGY_SYSTEM;
}

nvmlReturn_t sim_nvmlDeviceGetTopologyCommonAncestor(nvmlDevice_t a, nvmlDevice_t b, unsigned *level) {
  int first, second;
  nvmlReturn_t result = enter_pair(a, b, &first, &second);
  if (result != NVML_SUCCESS) return result;
  *level = level_between(first, second);
  nvml_leave();
  return NVML_SUCCESS;
}

nvmlReturn_t sim_nvmlDeviceGetTopologyNearestGpus(nvmlDevice_t handle, unsigned level, unsigned *count, nvmlDevice_t *out) {
  int device;
  nvmlReturn_t result = nvml_enter(handle, &device);
  if (result != NVML_SUCCESS) return result;
  unsigned found = 0, room = out == NULL ? 0 : *count;
  for (int other = 0; other < (int)option_value(nvml_state, OPTION_devices); other++) {
    if (other == device || level_between(device, other) != level) continue;
    if (found < room) out[found] = nvml_handle(other);
    found++;
  }
  *count = found;
  nvml_leave();
  return NVML_SUCCESS;
}

nvmlReturn_t sim_nvmlDeviceGetP2PStatus(nvmlDevice_t a, nvmlDevice_t b, unsigned index, unsigned *status) {
  int first, second;
  (void)index;
  nvmlReturn_t result = enter_pair(a, b, &first, &second);
  if (result != NVML_SUCCESS) return result;
  *status = nvml_state->devices[first].links[second] > 0 ? NVML_P2P_STATUS_OK : NVML_P2P_STATUS_NOT_SUPPORTED;
  nvml_leave();
  return NVML_SUCCESS;
}

/* Links are numbered by the device they lead to. -1: there is none of that number. */
static int link_end(int device, unsigned link) {
  for (int other = 0; other < SIM_DEVICES; other++) {
    unsigned links = nvml_state->devices[device].links[other];
    if (link < links) return other;
    link -= links;
  }
  return -1;
}

nvmlReturn_t sim_nvmlDeviceGetNvLinkState(nvmlDevice_t handle, unsigned link, unsigned *active) {
  int device;
  nvmlReturn_t result = nvml_enter(handle, &device);
  if (result != NVML_SUCCESS) return result;
  bool linked = link_end(device, 0) >= 0;
  *active = link_end(device, link) >= 0;
  nvml_leave();
  if (link >= NVML_NVLINK_MAX_LINKS) return NVML_ERROR_INVALID_ARGUMENT;
  return linked ? NVML_SUCCESS : NVML_ERROR_NOT_SUPPORTED;
}

nvmlReturn_t sim_nvmlDeviceGetNvLinkRemotePciInfo_v2(nvmlDevice_t handle, unsigned link, nvmlPciInfo_t *pci) {
  int device;
  nvmlReturn_t result = nvml_enter(handle, &device);
  if (result != NVML_SUCCESS) return result;
  int other = link_end(device, link);
  nvml_leave();
  if (other < 0) return NVML_ERROR_NOT_SUPPORTED;
  *pci = nvml_pci(other);
  return NVML_SUCCESS;
}

/* ---- errors and events ----------------------------------------------------------------- */

struct nvmlEventSet_st {
  unsigned long long types[SIM_DEVICES];
  uint64_t seen[SIM_DEVICES];
};

nvmlReturn_t sim_nvmlEventSetCreate(nvmlEventSet_t *set) {
  if (set == NULL) return NVML_ERROR_INVALID_ARGUMENT;
  *set = calloc(1, sizeof **set);
  return *set == NULL ? NVML_ERROR_MEMORY : NVML_SUCCESS;
}

nvmlReturn_t sim_nvmlEventSetFree(nvmlEventSet_t set) {
  free(set);
  return NVML_SUCCESS;
}

nvmlReturn_t sim_nvmlDeviceGetSupportedEventTypes(nvmlDevice_t handle, unsigned long long *types) {
  int device;
  nvmlReturn_t result = nvml_enter(handle, &device);
  if (result != NVML_SUCCESS) return result;
  nvml_leave();
  *types = NVML_EVENT_XID;
  return NVML_SUCCESS;
}

nvmlReturn_t sim_nvmlDeviceRegisterEvents(nvmlDevice_t handle, unsigned long long types, nvmlEventSet_t set) {
  int device;
  nvmlReturn_t result = nvml_enter(handle, &device);
  if (result != NVML_SUCCESS) return result;
  set->types[device] |= types;
  set->seen[device] = nvml_state->devices[device].xid_count;
  nvml_leave();
  return types & ~7ULL & ~(unsigned long long)NVML_EVENT_XID ? NVML_ERROR_NOT_SUPPORTED : NVML_SUCCESS;
}

static bool take_event(nvmlEventSet_t set, nvmlEventData_t *data) {
  for (int device = 0; device < SIM_DEVICES; device++) {
    struct sim_device *d = &nvml_state->devices[device];
    if (!(set->types[device] & NVML_EVENT_XID) || set->seen[device] >= d->xid_count) continue;
    *data = (nvmlEventData_t){nvml_handle(device), NVML_EVENT_XID, d->xids[set->seen[device] % SIM_XIDS],
                              NVML_INSTANCE_NOT_AVAILABLE, NVML_INSTANCE_NOT_AVAILABLE};
    set->seen[device]++;
    return true;
  }
  return false;
}

nvmlReturn_t sim_nvmlEventSetWait_v2(nvmlEventSet_t set, nvmlEventData_t *data, unsigned timeout_ms) {
  enum { LOOK_NS = 5000000 };
  if (nvml_state == NULL) return NVML_ERROR_UNINITIALIZED;
  if (set == NULL || data == NULL) return NVML_ERROR_INVALID_ARGUMENT;
  uint64_t end = clock_now(nvml_state) + (uint64_t)timeout_ms * 1000000U;
  for (;;) {
    if (take_event(set, data)) return NVML_SUCCESS;
    uint64_t now = clock_now(nvml_state);
    if (now >= end) return NVML_ERROR_TIMEOUT;
    clock_sleep_until(nvml_state, now + LOOK_NS < end ? now + LOOK_NS : end);
  }
}

nvmlReturn_t sim_nvmlEventSetWait(nvmlEventSet_t set, nvmlEventData_t *data, unsigned timeout_ms) {
  return sim_nvmlEventSetWait_v2(set, data, timeout_ms);
}
