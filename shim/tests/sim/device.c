/* cuInit and the devices: how many, what they are called, what they can. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "process.h"
#include "record.h"
#include "sim.h"

struct sim_state *process_state;
_Atomic bool process_minimal;
static pthread_mutex_t process_mutex;
static pid_t initialised_in;
static _Atomic int fail_allocation;

static void reset_lock(void) {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
  pthread_mutex_init(&process_mutex, &attributes);
  pthread_mutexattr_destroy(&attributes);
}

static void in_child(void) {
  initialised_in = 0;
  process_state = NULL;
  reset_lock();
  contexts_abandon();
  streams_abandon();
  events_abandon();
  memory_abandon();
  pools_abandon();
  vmm_abandon();
  graphs_abandon();
}

__attribute__((constructor)) static void on_load(void) {
  const char *minimal = getenv("VGPU_SIM_MINIMAL");
  process_minimal = minimal != NULL && *minimal == '1';
  reset_lock();
  pthread_atfork(NULL, NULL, in_child);
  record_open();
}

void sim_minimal(int on) { process_minimal = on != 0; }
void process_lock(void) { pthread_mutex_lock(&process_mutex); }
void process_unlock(void) { pthread_mutex_unlock(&process_mutex); }
CUresult process_ready(void) { return initialised_in != 0 ? CUDA_SUCCESS : CUDA_ERROR_NOT_INITIALIZED; }

CUresult sim_cuInit(unsigned int flags) {
  if (flags != 0) return CUDA_ERROR_INVALID_VALUE;
  if (initialised_in != 0) return CUDA_SUCCESS;
  struct sim_state *state = state_open();
  if (state == NULL) return CUDA_ERROR_OPERATING_SYSTEM;
  if (state_forked() && !option_value(state, OPTION_fork_reinit)) return CUDA_ERROR_NOT_INITIALIZED;
  if (option_value(state, OPTION_devices) == 0) return CUDA_ERROR_NO_DEVICE;
  process_lock();
  process_state = state;
  initialised_in = getpid();
  process_unlock();
  return CUDA_SUCCESS;
}

CUresult sim_cuDriverGetVersion(int *version) {
  struct sim_state *state = state_open();
  if (version == NULL) return CUDA_ERROR_INVALID_VALUE;
  if (state == NULL) return CUDA_ERROR_OPERATING_SYSTEM;
  *version = (int)option_value(state, OPTION_driver_version);
  return CUDA_SUCCESS;
}

/* ---- memory's toll -------------------------------------------------------------- */

void sim_fail_allocation(unsigned nth) { fail_allocation = (int)nth; }

static bool allocation_fails(void) {
  if (fail_allocation <= 0) return false;
  return --fail_allocation == 0;
}

bool process_charge(struct sim_slot *slot, int device, uint64_t bytes) {
  if (allocation_fails()) return false;
  state_lock(process_state);
  bool charged = state_charge(process_state, slot, device, bytes);
  state_unlock(process_state);
  return charged;
}

void process_discharge(struct sim_slot *slot, int device, uint64_t bytes) {
  state_lock(process_state);
  state_discharge(process_state, slot, device, bytes);
  state_unlock(process_state);
}

/* ---- devices ----------------------------------------------------------------------- */

bool device_exists(int device) {
  return device >= 0 && (uint64_t)device < option_value(process_state, OPTION_devices);
}

static CUresult check_device(const void *out, CUdevice device) {
  CUresult ready = process_ready();
  if (ready != CUDA_SUCCESS) return ready;
  if (out == NULL) return CUDA_ERROR_INVALID_VALUE;
  return device_exists(device) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

CUresult sim_cuDeviceGetCount(int *count) {
  if (process_state == NULL) return CUDA_ERROR_NOT_INITIALIZED;
  if (count == NULL) return CUDA_ERROR_INVALID_VALUE;
  *count = (int)option_value(process_state, OPTION_devices);
  return CUDA_SUCCESS;
}

CUresult sim_cuDeviceGet(CUdevice *device, int ordinal) {
  CUresult result = check_device(device, ordinal);
  if (result == CUDA_SUCCESS) *device = ordinal;
  return result;
}

CUresult sim_cuDeviceGetName(char *name, int length, CUdevice device) {
  CUresult result = check_device(name, device);
  if (result != CUDA_SUCCESS || length <= 0) return result;
  snprintf(name, (size_t)length, "%s", process_state->devices[device].name);
  return CUDA_SUCCESS;
}

static unsigned hex_digit(char c) { return c <= '9' ? (unsigned)(c - '0') : ((unsigned)c | 0x20U) - 'a' + 10U; }

static void parse_uuid(const char *text, CUuuid *uuid) {
  unsigned digits = 0;
  memset(uuid, 0, sizeof *uuid);
  for (text += strncmp(text, "GPU-", 4) == 0 ? 4 : 0; *text != '\0' && digits < 32; text++) {
    if (*text == '-') continue;
    uuid->bytes[digits / 2] = (unsigned char)((unsigned)uuid->bytes[digits / 2] << 4 | hex_digit(*text));
    digits++;
  }
}

CUresult sim_cuDeviceGetUuid(CUuuid *uuid, CUdevice device) {
  CUresult result = check_device(uuid, device);
  if (result == CUDA_SUCCESS) parse_uuid(process_state->devices[device].uuid, uuid);
  return result;
}

CUresult sim_cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice device) { return sim_cuDeviceGetUuid(uuid, device); }

CUresult sim_cuDeviceTotalMem_v2(size_t *bytes, CUdevice device) {
  CUresult result = check_device(bytes, device);
  if (result == CUDA_SUCCESS) *bytes = process_state->devices[device].memory;
  return result;
}

CUresult sim_cuDeviceTotalMem(unsigned int *bytes, CUdevice device) {
  CUresult result = check_device(bytes, device);
  if (result != CUDA_SUCCESS) return result;
  uint64_t memory = process_state->devices[device].memory;
  *bytes = memory > UINT32_MAX ? UINT32_MAX : (unsigned int)memory;
  return CUDA_SUCCESS;
}

static int attribute_value(CUdevice_attribute attribute, CUdevice device) {
  switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X:
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y: return 1024;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z: return 64;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X: return 2147483647;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y:
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z: return 65535;
    case CU_DEVICE_ATTRIBUTE_WARP_SIZE: return 32;
    case CU_DEVICE_ATTRIBUTE_CLOCK_RATE: return 1980000;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: return (int)process_state->devices[device].multiprocessors;
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR: return 2048;
    case CU_DEVICE_ATTRIBUTE_PCI_BUS_ID: return device + 1;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: return 9;
    case CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY:
    case CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS:
    case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING:
    case CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY:
    case CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS:
    case CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH:
    case CU_DEVICE_ATTRIBUTE_COOPERATIVE_MULTI_DEVICE_LAUNCH:
    case CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED: return 1;
    default: return 0;
  }
}

CUresult sim_cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device) {
  CUresult result = check_device(value, device);
  if (result == CUDA_SUCCESS) *value = attribute_value(attribute, device);
  return result;
}

CUresult sim_cuDeviceComputeCapability(int *major, int *minor, CUdevice device) {
  CUresult result = check_device(major, device);
  if (result != CUDA_SUCCESS || minor == NULL) return result == CUDA_SUCCESS ? CUDA_ERROR_INVALID_VALUE : result;
  *major = attribute_value(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device);
  *minor = 0;
  return CUDA_SUCCESS;
}

CUresult sim_cuDeviceGetProperties(CUdevprop *properties, CUdevice device) {
  CUresult result = check_device(properties, device);
  if (result != CUDA_SUCCESS) return result;
  *properties = (CUdevprop){.maxThreadsPerBlock = 1024, .maxThreadsDim = {1024, 1024, 64},
                            .maxGridSize = {2147483647, 65535, 65535}, .sharedMemPerBlock = 49152,
                            .totalConstantMemory = 65536, .SIMDWidth = 32, .memPitch = 2147483647,
                            .regsPerBlock = 65536, .clockRate = 1980000, .textureAlign = 512};
  return CUDA_SUCCESS;
}

CUresult sim_cuDeviceGetPCIBusId(char *text, int length, CUdevice device) {
  CUresult result = check_device(text, device);
  if (result == CUDA_SUCCESS) snprintf(text, (size_t)length, "0000:%02X:00.0", device + 1);
  return result;
}

CUresult sim_cuDeviceGetByPCIBusId(CUdevice *device, const char *text) {
  CUresult result = check_device(device, 0);
  unsigned domain, bus;
  if (result != CUDA_SUCCESS) return result;
  if (text == NULL || sscanf(text, "%x:%x:", &domain, &bus) != 2) return CUDA_ERROR_INVALID_VALUE;
  if (!device_exists((int)bus - 1)) return CUDA_ERROR_INVALID_DEVICE;
  *device = (int)bus - 1;
  return CUDA_SUCCESS;
}

CUresult sim_cuDeviceCanAccessPeer(int *can, CUdevice device, CUdevice peer) {
  CUresult result = check_device(can, device);
  if (result == CUDA_SUCCESS && !device_exists(peer)) result = CUDA_ERROR_INVALID_DEVICE;
  if (result == CUDA_SUCCESS) *can = device != peer && process_state->devices[device].links[peer] > 0;
  return result;
}

CUresult sim_cuDeviceGetP2PAttribute(int *value, int attribute, CUdevice device, CUdevice peer) {
  (void)attribute;
  return sim_cuDeviceCanAccessPeer(value, device, peer);
}
