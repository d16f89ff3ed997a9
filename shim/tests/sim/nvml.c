/* The simulated NVML: initialisation, devices and their memory and utilisation.
 * Processes are in nvml_process.c, links and events in nvml_topology.c.
 */
#include "nvml.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "record.h"

const struct entry entries[] = {
#define ENTRY(symbol, name, since, form, argc, stream, body) {#symbol, #name, since, FORM_##form, argc, stream, 0},
#define ABSENT(symbol, name, since, form) {#symbol, #name, since, FORM_##form, 0, 0, 1},
#include "nvml_entries.def"
#undef ENTRY
#undef ABSENT
};
const unsigned entry_count = sizeof entries / sizeof entries[0];

struct nvmlDevice_st { int number; };

struct sim_state *nvml_state;
static struct nvmlDevice_st handles[SIM_DEVICES];
static _Atomic int users;

__attribute__((constructor)) static void on_load(void) {
  for (int i = 0; i < SIM_DEVICES; i++) handles[i].number = i;
  record_open();
}

nvmlReturn_t sim_absent(void) { return NVML_ERROR_NOT_SUPPORTED; }

/* ---- initialisation ---------------------------------------------------------------- */

nvmlReturn_t sim_nvmlInit_v2(void) {
  nvml_state = state_open();
  if (nvml_state == NULL) return NVML_ERROR_DRIVER_NOT_LOADED;
  users++;
  return NVML_SUCCESS;
}

nvmlReturn_t sim_nvmlInit(void) { return sim_nvmlInit_v2(); }

nvmlReturn_t sim_nvmlInitWithFlags(unsigned flags) {
  (void)flags;
  return sim_nvmlInit_v2();
}

nvmlReturn_t sim_nvmlShutdown(void) {
  if (users == 0) return NVML_ERROR_UNINITIALIZED;
  users--;
  return NVML_SUCCESS;
}

static bool is_ready(void) {
  nvml_state = state_open(); /* a forked child maps it anew */
  return users > 0 && nvml_state != NULL;
}

static void be_slow(void) {
  enum { LOOK_NS = 10000000 };
  uint64_t latency = option_value(nvml_state, OPTION_nvml_latency_ns);
  if (latency > 0) clock_sleep_until(nvml_state, clock_now(nvml_state) + latency);
  while (option_value(nvml_state, OPTION_nvml_hang)) clock_sleep_until(nvml_state, clock_now(nvml_state) + LOOK_NS);
}

int nvml_device(nvmlDevice_t handle) {
  if (handle < &handles[0] || handle >= &handles[SIM_DEVICES]) return -1;
  int number = handle->number;
  return (uint64_t)number < option_value(nvml_state, OPTION_devices) ? number : -1;
}

nvmlDevice_t nvml_handle(int device) { return &handles[device]; }

nvmlReturn_t nvml_enter(nvmlDevice_t handle, int *device) {
  if (!is_ready()) return NVML_ERROR_UNINITIALIZED;
  *device = nvml_device(handle);
  if (*device < 0) return NVML_ERROR_INVALID_ARGUMENT;
  be_slow();
  state_lock(nvml_state);
  state_reap(nvml_state);
  engine_advance(nvml_state);
  return NVML_SUCCESS;
}

/* ---- the system ---------------------------------------------------------------------- */

static nvmlReturn_t copy_text(char *out, unsigned length, const char *text) {
  if (out == NULL) return NVML_ERROR_INVALID_ARGUMENT;
  if (strlen(text) >= length) return NVML_ERROR_INSUFFICIENT_SIZE;
  memcpy(out, text, strlen(text) + 1);
  return NVML_SUCCESS;
}

nvmlReturn_t sim_nvmlSystemGetDriverVersion(char *out, unsigned length) {
  char text[32];
  if (!is_ready()) return NVML_ERROR_UNINITIALIZED;
  /* branches came with CUDA versions: 13.0 with 580, 12.x with 525 and later */
  uint64_t cuda = option_value(nvml_state, OPTION_driver_version);
  snprintf(text, sizeof text, "%s.159.03", cuda >= 13000 ? "580" : cuda >= 12080 ? "570" : cuda >= 12000 ? "525" : "470");
  return copy_text(out, length, text);
}

nvmlReturn_t sim_nvmlSystemGetNVMLVersion(char *out, unsigned length) {
  char text[48], driver[32];
  nvmlReturn_t result = sim_nvmlSystemGetDriverVersion(driver, sizeof driver);
  if (result != NVML_SUCCESS) return result;
  snprintf(text, sizeof text, "%d.%s", (int)option_value(nvml_state, OPTION_driver_version) / 1000, driver);
  return copy_text(out, length, text);
}

nvmlReturn_t sim_nvmlSystemGetCudaDriverVersion_v2(int *version) {
  if (!is_ready()) return NVML_ERROR_UNINITIALIZED;
  if (version == NULL) return NVML_ERROR_INVALID_ARGUMENT;
  *version = (int)option_value(nvml_state, OPTION_driver_version);
  return NVML_SUCCESS;
}

nvmlReturn_t sim_nvmlSystemGetCudaDriverVersion(int *version) { return sim_nvmlSystemGetCudaDriverVersion_v2(version); }

const char *sim_nvmlErrorString(nvmlReturn_t code) {
  switch (code) {
    case NVML_SUCCESS: return "Success";
    case NVML_ERROR_UNINITIALIZED: return "Uninitialized";
    case NVML_ERROR_INVALID_ARGUMENT: return "Invalid Argument";
    case NVML_ERROR_NOT_SUPPORTED: return "Not Supported";
    case NVML_ERROR_NOT_FOUND: return "Not Found";
    case NVML_ERROR_INSUFFICIENT_SIZE: return "Insufficient Size";
    case NVML_ERROR_TIMEOUT: return "Timeout";
    default: return "Unknown Error";
  }
}

/* ---- finding devices ------------------------------------------------------------------- */

nvmlReturn_t sim_nvmlDeviceGetCount_v2(unsigned *count) {
  if (!is_ready()) return NVML_ERROR_UNINITIALIZED;
  if (count == NULL) return NVML_ERROR_INVALID_ARGUMENT;
  *count = (unsigned)option_value(nvml_state, OPTION_devices);
  return NVML_SUCCESS;
}

nvmlReturn_t sim_nvmlDeviceGetCount(unsigned *count) { return sim_nvmlDeviceGetCount_v2(count); }

nvmlReturn_t sim_nvmlDeviceGetHandleByIndex_v2(unsigned index, nvmlDevice_t *device) {
  if (!is_ready()) return NVML_ERROR_UNINITIALIZED;
  if (device == NULL || index >= option_value(nvml_state, OPTION_devices)) return NVML_ERROR_INVALID_ARGUMENT;
  *device = &handles[index];
  return NVML_SUCCESS;
}

nvmlReturn_t sim_nvmlDeviceGetHandleByIndex(unsigned index, nvmlDevice_t *device) {
  return sim_nvmlDeviceGetHandleByIndex_v2(index, device);
}

nvmlReturn_t sim_nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *device) {
  if (!is_ready()) return NVML_ERROR_UNINITIALIZED;
  if (uuid == NULL || device == NULL) return NVML_ERROR_INVALID_ARGUMENT;
  for (unsigned i = 0; i < option_value(nvml_state, OPTION_devices); i++)
    if (strcmp(nvml_state->devices[i].uuid, uuid) == 0) return *device = &handles[i], NVML_SUCCESS;
  return NVML_ERROR_NOT_FOUND;
}

nvmlReturn_t sim_nvmlDeviceGetHandleByPciBusId_v2(const char *text, nvmlDevice_t *device) {
  unsigned domain, bus;
  if (!is_ready()) return NVML_ERROR_UNINITIALIZED;
  if (text == NULL || device == NULL || sscanf(text, "%x:%x:", &domain, &bus) != 2) return NVML_ERROR_INVALID_ARGUMENT;
  if (bus == 0) return NVML_ERROR_NOT_FOUND;
  nvmlReturn_t result = sim_nvmlDeviceGetHandleByIndex_v2(bus - 1, device);
  return result == NVML_ERROR_INVALID_ARGUMENT ? NVML_ERROR_NOT_FOUND : result;
}

nvmlReturn_t sim_nvmlDeviceGetHandleByPciBusId(const char *text, nvmlDevice_t *device) {
  return sim_nvmlDeviceGetHandleByPciBusId_v2(text, device);
}

/* ---- what a device is -------------------------------------------------------------------- */

static nvmlReturn_t device_text(nvmlDevice_t handle, char *out, unsigned length, bool uuid) {
  int device;
  nvmlReturn_t result = nvml_enter(handle, &device);
  if (result != NVML_SUCCESS) return result;
  result = copy_text(out, length, uuid ? nvml_state->devices[device].uuid : nvml_state->devices[device].name);
  nvml_leave();
  return result;
}

nvmlReturn_t sim_nvmlDeviceGetName(nvmlDevice_t handle, char *out, unsigned length) {
  return device_text(handle, out, length, false);
}

nvmlReturn_t sim_nvmlDeviceGetUUID(nvmlDevice_t handle, char *out, unsigned length) {
  return device_text(handle, out, length, true);
}

static nvmlReturn_t number(nvmlDevice_t handle, unsigned *out) {
  int device;
  nvmlReturn_t result = nvml_enter(handle, &device);
  if (result != NVML_SUCCESS) return result;
  nvml_leave();
  if (out == NULL) return NVML_ERROR_INVALID_ARGUMENT;
  *out = (unsigned)device;
  return NVML_SUCCESS;
}

nvmlReturn_t sim_nvmlDeviceGetIndex(nvmlDevice_t handle, unsigned *index) { return number(handle, index); }
nvmlReturn_t sim_nvmlDeviceGetMinorNumber(nvmlDevice_t handle, unsigned *minor) { return number(handle, minor); }

nvmlReturn_t sim_nvmlDeviceGetSerial(nvmlDevice_t handle, char *out, unsigned length) {
  unsigned index;
  char text[16];
  nvmlReturn_t result = number(handle, &index);
  if (result != NVML_SUCCESS) return result;
  snprintf(text, sizeof text, "16500%08u", index);
  return copy_text(out, length, text);
}

nvmlReturn_t sim_nvmlDeviceGetCudaComputeCapability(nvmlDevice_t handle, int *major, int *minor) {
  unsigned index;
  nvmlReturn_t result = number(handle, &index);
  if (result != NVML_SUCCESS) return result;
  if (major == NULL || minor == NULL) return NVML_ERROR_INVALID_ARGUMENT;
  *major = 9;
  *minor = 0;
  return NVML_SUCCESS;
}

nvmlPciInfo_t nvml_pci(int device) {
  unsigned char bus = (unsigned char)(device + 1);
  nvmlPciInfo_t pci = {.bus = bus, .pciDeviceId = 0x233010deU, .pciSubSystemId = 0x16c110deU};
  snprintf(pci.busId, sizeof pci.busId, "00000000:%02X:00.0", bus);
  snprintf(pci.busIdLegacy, sizeof pci.busIdLegacy, "0000:%02X:00.0", bus);
  return pci;
}

nvmlReturn_t sim_nvmlDeviceGetPciInfo_v3(nvmlDevice_t handle, nvmlPciInfo_t *pci) {
  unsigned index;
  nvmlReturn_t result = number(handle, &index);
  if (result != NVML_SUCCESS) return result;
  if (pci == NULL) return NVML_ERROR_INVALID_ARGUMENT;
  *pci = nvml_pci((int)index);
  return NVML_SUCCESS;
}

nvmlReturn_t sim_nvmlDeviceGetPciInfo_v2(nvmlDevice_t handle, nvmlPciInfo_v2_t *pci) {
  nvmlPciInfo_t full;
  nvmlReturn_t result = sim_nvmlDeviceGetPciInfo_v3(handle, &full);
  if (result != NVML_SUCCESS) return result;
  if (pci == NULL) return NVML_ERROR_INVALID_ARGUMENT;
  *pci = (nvmlPciInfo_v2_t){.bus = full.bus, .pciDeviceId = full.pciDeviceId, .pciSubSystemId = full.pciSubSystemId};
  memcpy(pci->busId, full.busIdLegacy, sizeof pci->busId);
  return NVML_SUCCESS;
}

nvmlReturn_t sim_nvmlDeviceGetPciInfo(nvmlDevice_t handle, nvmlPciInfo_v2_t *pci) {
  return sim_nvmlDeviceGetPciInfo_v2(handle, pci);
}

nvmlReturn_t sim_nvmlDeviceIsMigDeviceHandle(nvmlDevice_t handle, unsigned *is_mig) {
  nvmlReturn_t result = number(handle, is_mig);
  if (result == NVML_SUCCESS) *is_mig = 0;
  return result;
}

nvmlReturn_t sim_nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t handle, unsigned *count) {
  return sim_nvmlDeviceIsMigDeviceHandle(handle, count); /* none */
}

/* ---- memory and utilisation ---------------------------------------------------------------- */

nvmlReturn_t sim_nvmlDeviceGetMemoryInfo(nvmlDevice_t handle, nvmlMemory_t *memory) {
  int device;
  nvmlReturn_t result = nvml_enter(handle, &device);
  if (result != NVML_SUCCESS) return result;
  if (memory != NULL) {
    memory->total = nvml_state->devices[device].memory;
    memory->free = state_room(nvml_state, device);
    memory->used = memory->total - memory->free;
  }
  nvml_leave();
  return memory == NULL ? NVML_ERROR_INVALID_ARGUMENT : NVML_SUCCESS;
}

nvmlReturn_t sim_nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t handle, nvmlMemory_v2_t *memory) {
  nvmlMemory_t plain;
  if (memory == NULL) return NVML_ERROR_INVALID_ARGUMENT;
  if (memory->version != NVML_MEMORY_V2) return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
  nvmlReturn_t result = sim_nvmlDeviceGetMemoryInfo(handle, &plain);
  if (result != NVML_SUCCESS) return result;
  memory->total = plain.total;
  memory->free = plain.free;
  memory->reserved = option_value(nvml_state, OPTION_reserved_bytes);
  memory->used = plain.used - memory->reserved;
  return NVML_SUCCESS;
}

nvmlReturn_t sim_nvmlDeviceGetBAR1MemoryInfo(nvmlDevice_t handle, nvmlBAR1Memory_t *bar1) {
  enum { PER_PROCESS = 2 << 20 };
  int device;
  nvmlReturn_t result = nvml_enter(handle, &device);
  if (result != NVML_SUCCESS) return result;
  uint64_t used = 0, total = nvml_state->devices[device].memory;
  for (uint32_t i = 0; i < nvml_state->slots_high; i++)
    if (nvml_state->slots[i].used && nvml_state->slots[i].contexts[device] > 0) used += PER_PROCESS;
  nvml_leave();
  if (bar1 == NULL) return NVML_ERROR_INVALID_ARGUMENT;
  *bar1 = (nvmlBAR1Memory_t){total, total - used, used};
  return NVML_SUCCESS;
}

nvmlReturn_t sim_nvmlDeviceGetUtilizationRates(nvmlDevice_t handle, nvmlUtilization_t *utilization) {
  int device;
  nvmlReturn_t result = nvml_enter(handle, &device);
  if (result != NVML_SUCCESS) return result;
  struct sim_device *d = &nvml_state->devices[device];
  unsigned busy = engine_utilization(nvml_state, d->samples, d->sample_count, 0);
  nvml_leave();
  if (utilization == NULL) return NVML_ERROR_INVALID_ARGUMENT;
  *utilization = (nvmlUtilization_t){.gpu = busy, .memory = 0}; /* simulated kernels move no data */
  return NVML_SUCCESS;
}
