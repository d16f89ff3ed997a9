/* The device as the application sees it: as large as its slice. */
#include "context.h"
#include "guest.h"
#include "memory.h"
#include "real.h"

static unsigned narrow(uint64_t bytes) { return bytes > UINT32_MAX ? UINT32_MAX : (unsigned)bytes; }

/* 1: filled in; 0: the driver's answer stands. */
static int slice_view(uint64_t *total, uint64_t *used) {
  if (guest_enter() != GUEST_LIMITED) return 0;
  struct context current = context_current();
  if (!current.index) return 0; /* the driver says that there is no context */
  guest_claim(); /* what the dead held is free before anybody asks how much is */
  if (current.device < VGPU_DEVICES_MAX) return memory_view(current.device, total, used);
  *total = *used = 0;
  return 1;
}

CUresult cuMemGetInfo_v2(size_t *available, size_t *total) {
  uint64_t all, used;
  if (!slice_view(&all, &used)) return real()->cuMemGetInfo_v2(available, total);
  if (available) *available = all - used;
  if (total) *total = all;
  return CUDA_SUCCESS;
}

CUresult cuMemGetInfo(unsigned *available, unsigned *total) {
  uint64_t all, used;
  if (!slice_view(&all, &used)) return real()->cuMemGetInfo(available, total);
  if (available) *available = narrow(all - used);
  if (total) *total = narrow(all);
  return CUDA_SUCCESS;
}

static uint64_t shown_total(CUdevice device, uint64_t physical) {
  uint64_t total = 0, used;
  if (guest_enter() != GUEST_LIMITED) return physical;
  uint32_t index = guest_device(device);
  if (index >= VGPU_DEVICES_MAX) return 0;
  return memory_view(index, &total, &used) ? total : physical;
}

CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice device) {
  CUresult result = real()->cuDeviceTotalMem_v2(bytes, device);
  if (!result && bytes) *bytes = shown_total(device, *bytes);
  return result;
}

CUresult cuDeviceTotalMem(unsigned *bytes, CUdevice device) {
  CUresult result = real()->cuDeviceTotalMem(bytes, device);
  if (!result && bytes) *bytes = narrow(shown_total(device, *bytes));
  return result;
}
