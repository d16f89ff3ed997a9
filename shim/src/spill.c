/* Managed memory for what does not fit, within a budget of its own. */
#include "spill.h"

#include "context.h"
#include "guest.h"
#include "pointers.h"
#include "real.h"

enum { SMALLEST = 2 << 20 };

static int take_budget(uint32_t device, uint64_t bytes) {
  uint64_t *spilled = &guest.account.page->devices[device].spilled;
  uint64_t limit = guest_limits_of(device)->spill_limit;
  uint64_t held = __atomic_load_n(spilled, __ATOMIC_RELAXED);
  do {
    if (bytes > limit || held > limit - bytes) return -1;
  } while (!__atomic_compare_exchange_n(spilled, &held, held + bytes, 1, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED));
  __atomic_fetch_add(&account_of(guest.account.page, guest.account.slot, device)->spilled, bytes,
                     __ATOMIC_RELAXED);
  return 0;
}

void spill_returned(uint32_t device, uint64_t bytes) {
  __atomic_fetch_sub(&account_of(guest.account.page, guest.account.slot, device)->spilled, bytes,
                     __ATOMIC_RELAXED);
  __atomic_fetch_sub(&guest.account.page->devices[device].spilled, bytes, __ATOMIC_RELAXED);
}

/* Hints only: an old driver that lacks them still has the memory. */
static void advise(CUdeviceptr ptr, size_t size, uint32_t device) {
  real()->cuMemAdvise(ptr, size, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, CU_DEVICE_CPU);
  real()->cuMemAdvise(ptr, size, CU_MEM_ADVISE_SET_ACCESSED_BY, guest_ordinal(device));
}

CUresult spill_allocate(CUdeviceptr *ptr, size_t size) {
  struct context current = context_current();
  uint32_t device = current.device;
  if (size < SMALLEST || device >= VGPU_DEVICES_MAX || take_budget(device, size))
    return CUDA_ERROR_OUT_OF_MEMORY;
  CUresult result = real()->cuMemAllocManaged(ptr, size, CU_MEM_ATTACH_GLOBAL);
  if (result != CUDA_SUCCESS) {
    spill_returned(device, size);
    return result;
  }
  advise(*ptr, size, device);
  pointers_add(*ptr, (struct pointer){.bytes = size, .kind = POINTER_SPILLED, .device = device,
                                      .context = current.index});
  return result;
}
