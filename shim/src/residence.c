/* Contexts: what they cost, and what is gone with them.
 *
 * The driver takes memory for a context that no call reports. Where the agent
 * knows how much (context_bytes), it is charged when the context is made; where
 * it does not, that memory is left to the agent's own measure.
 */
#include "context.h"
#include "guest.h"
#include "launch.h"
#include "memory.h"
#include "pointers.h"
#include "real.h"

/* Contexts are booked under their handle, like all else. */
static uint64_t key_of(CUcontext context) { return (uint64_t)(uintptr_t)context; }

static CUresult reserve_context(struct charge *charge, CUdevice device) {
  *charge = (struct charge){.device = VGPU_DEVICES_MAX};
  if (guest_enter() != GUEST_LIMITED) return CUDA_SUCCESS;
  uint32_t index = guest_device(device);
  if (index >= VGPU_DEVICES_MAX || !guest_limits_of(index)->context_bytes) return CUDA_SUCCESS;
  return memory_reserve_on(charge, VGPU_MEMORY_CONTEXT, guest_limits_of(index)->context_bytes, index);
}

static CUresult made(const struct charge *charge, CUresult result, const CUcontext *context) {
  if (!result) context_made();
  return memory_commit(charge, result, result ? 0 : key_of(*context));
}

CUresult cuCtxCreate(CUcontext *context, unsigned flags, CUdevice device) {
  struct charge charge;
  CUresult refused = reserve_context(&charge, device);
  if (refused) return refused;
  CUresult result = real()->cuCtxCreate(context, flags, device);
  return made(&charge, result, context);
}

CUresult cuCtxCreate_v2(CUcontext *context, unsigned flags, CUdevice device) {
  struct charge charge;
  CUresult refused = reserve_context(&charge, device);
  if (refused) return refused;
  CUresult result = real()->cuCtxCreate_v2(context, flags, device);
  return made(&charge, result, context);
}

CUresult cuCtxCreate_v3(CUcontext *context, CUexecAffinityParam *params, int count, unsigned flags,
                        CUdevice device) {
  struct charge charge;
  CUresult refused = reserve_context(&charge, device);
  if (refused) return refused;
  CUresult result = real()->cuCtxCreate_v3(context, params, count, flags, device);
  return made(&charge, result, context);
}

CUresult cuCtxCreate_v4(CUcontext *context, CUctxCreateParams *params, unsigned flags, CUdevice device) {
  struct charge charge;
  CUresult refused = reserve_context(&charge, device);
  if (refused) return refused;
  CUresult result = real()->cuCtxCreate_v4(context, params, flags, device);
  return made(&charge, result, context);
}

/* What is measured in a context must be let go before it is destroyed; what it
 * held comes off the account when the driver has destroyed it. */
static CUresult destroy(CUcontext context, CUresult (*forward)(CUcontext)) {
  struct pointer own;
  if (guest.state != GUEST_LIMITED) return forward(context);
  launch_forget_context(context);
  uint32_t index = context_index(context);
  int booked = memory_detach(key_of(context), &own);
  CUresult result = forward(context);
  if (booked) memory_settle_free(key_of(context), &own, result);
  if (!result) memory_forget_context(index);
  return result;
}

CUresult cuCtxDestroy(CUcontext context) { return destroy(context, real()->cuCtxDestroy); }
CUresult cuCtxDestroy_v2(CUcontext context) { return destroy(context, real()->cuCtxDestroy_v2); }

/* ---- primary contexts: one per device, alive while anyone retains it ----- */

static struct {
  CUcontext handle;
  struct charge charge;
} primary[VGPU_DEVICES_MAX];

static int is_active(CUdevice device) {
  unsigned flags;
  int active = 0;
  return !real()->cuDevicePrimaryCtxGetState(device, &flags, &active) && active;
}

CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
  struct charge charge = {.device = VGPU_DEVICES_MAX};
  int active = is_active(device);
  CUresult refused = active ? CUDA_SUCCESS : reserve_context(&charge, device);
  if (refused) return refused;
  CUresult result = real()->cuDevicePrimaryCtxRetain(context, device);
  if (!result && !active) context_made();
  if (guest_enter() != GUEST_LIMITED) return result;
  if (result) {
    memory_give_back(&charge);
    return result;
  }
  uint32_t index = guest_device(device);
  if (index >= VGPU_DEVICES_MAX) return result;
  primary[index].handle = *context;
  if (charge.device < VGPU_DEVICES_MAX) primary[index].charge = charge;
  return result;
}

static void forget_primary(uint32_t index) {
  if (primary[index].handle && primary[index].charge.bytes) memory_give_back(&primary[index].charge);
  primary[index].charge.bytes = 0;
  memory_forget_context(context_index(primary[index].handle));
}

/* `forward` may have been the last release, or a reset that frees it all at once. */
static CUresult end_primary(CUdevice device, CUresult (*forward)(CUdevice)) {
  uint32_t index = guest.state == GUEST_LIMITED ? guest_device(device) : VGPU_DEVICES_MAX;
  if (index < VGPU_DEVICES_MAX && primary[index].handle) launch_forget_context(primary[index].handle);
  CUresult result = forward(device);
  if (!result && index < VGPU_DEVICES_MAX && !is_active(device)) forget_primary(index);
  return result;
}

CUresult cuDevicePrimaryCtxRelease(CUdevice device) {
  return end_primary(device, real()->cuDevicePrimaryCtxRelease);
}
CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
  return end_primary(device, real()->cuDevicePrimaryCtxRelease_v2);
}
CUresult cuDevicePrimaryCtxReset(CUdevice device) {
  return end_primary(device, real()->cuDevicePrimaryCtxReset);
}
CUresult cuDevicePrimaryCtxReset_v2(CUdevice device) {
  return end_primary(device, real()->cuDevicePrimaryCtxReset_v2);
}
