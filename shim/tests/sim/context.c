/* Contexts: primary and created ones, the stack per thread, what each costs. */
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "engine.h"
#include "process.h"

enum { STACK = 32 };

/* initial-exec: one load instead of a call, and few enough bytes for a library loaded late. */
static _Thread_local __attribute__((tls_model("initial-exec"))) struct CUctx_st *current;
static _Thread_local struct CUctx_st *stack[STACK]; /* top: current, while depth > 0 */
static _Thread_local int depth;
static struct CUctx_st *primaries[SIM_TENANTS][SIM_DEVICES];

bool context_is(struct CUctx_st *context) { return context != NULL && context->mark == MARK_CONTEXT; }

CUresult context_current(struct CUctx_st **context) {
  CUresult ready = process_ready();
  if (ready != CUDA_SUCCESS) return ready;
  if (current == NULL) return CUDA_ERROR_INVALID_CONTEXT;
  *context = current;
  return context_is(current) ? CUDA_SUCCESS : CUDA_ERROR_CONTEXT_IS_DESTROYED;
}

static void push(struct CUctx_st *context) { current = stack[depth++] = context; }

static struct CUctx_st *pop(void) {
  struct CUctx_st *top = stack[--depth];
  current = depth == 0 ? NULL : stack[depth - 1];
  return top;
}

int context_channel(struct CUctx_st *context) {
  return engine_channel(process_state, context->slot, context->device);
}

/* ---- life ------------------------------------------------------------------- */

static struct sim_slot *claim_slot(int device) {
  state_lock(process_state);
  struct sim_slot *slot = state_slot(process_state, state_tenant());
  if (slot != NULL) slot->contexts[device]++;
  state_unlock(process_state);
  return slot;
}

static void release_slot(struct sim_slot *slot, int device) {
  state_lock(process_state);
  slot->contexts[device]--;
  state_unlock(process_state);
}

static CUresult make(struct CUctx_st **out, int device, unsigned flags) {
  struct sim_slot *slot = claim_slot(device);
  if (slot == NULL) return CUDA_ERROR_OUT_OF_MEMORY;
  uint64_t cost = option_value(process_state, OPTION_context_ns);
  if (cost > 0) clock_sleep_until(process_state, clock_now(process_state) + cost);
  struct CUctx_st *context = calloc(1, sizeof *context);
  if (context == NULL || !process_charge(slot, device, option_value(process_state, OPTION_context_bytes))) {
    release_slot(slot, device);
    free(context);
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  *context = (struct CUctx_st){.mark = MARK_CONTEXT, .device = device, .tenant = state_tenant(),
                               .flags = flags, .slot = slot};
  *out = context;
  return CUDA_SUCCESS;
}

/* What stays behind is the mark, so that a stale handle is noticed. */
static void unmake(struct CUctx_st *context) {
  context_wait(context);
  process_lock();
  memory_forget(context);
  streams_forget(context);
  process_unlock();
  process_discharge(context->slot, context->device, option_value(process_state, OPTION_context_bytes));
  release_slot(context->slot, context->device);
  context->mark = MARK_DEAD;
}

static CUresult create(CUcontext *context, unsigned flags, CUdevice device) {
  CUresult ready = process_ready();
  if (ready != CUDA_SUCCESS) return ready;
  if (context == NULL) return CUDA_ERROR_INVALID_VALUE;
  if (!device_exists(device)) return CUDA_ERROR_INVALID_DEVICE;
  if (depth == STACK) return CUDA_ERROR_OUT_OF_MEMORY;
  CUresult result = make(context, device, flags);
  if (result == CUDA_SUCCESS) push(*context);
  return result;
}

CUresult sim_cuCtxCreate_v2(CUcontext *context, unsigned flags, CUdevice device) {
  return create(context, flags, device);
}

CUresult sim_cuCtxCreate(CUcontext *context, unsigned flags, CUdevice device) {
  return create(context, flags, device);
}

CUresult sim_cuCtxCreate_v3(CUcontext *context, CUexecAffinityParam *affinity, int count, unsigned flags,
                            CUdevice device) {
  if (count < 0 || (count > 0 && affinity == NULL)) return CUDA_ERROR_INVALID_VALUE;
  return create(context, flags, device);
}

CUresult sim_cuCtxCreate_v4(CUcontext *context, CUctxCreateParams *params, unsigned flags, CUdevice device) {
  if (params != NULL && params->numExecAffinityParams < 0) return CUDA_ERROR_INVALID_VALUE;
  return create(context, flags, device);
}

CUresult sim_cuCtxDestroy_v2(CUcontext context) {
  CUresult ready = process_ready();
  if (ready != CUDA_SUCCESS) return ready;
  if (!context_is(context) || context->primary) return CUDA_ERROR_INVALID_CONTEXT;
  if (depth > 0 && current == context) pop();
  unmake(context);
  return CUDA_SUCCESS;
}

CUresult sim_cuCtxDestroy(CUcontext context) { return sim_cuCtxDestroy_v2(context); }

/* ---- primary ------------------------------------------------------------------ */

static struct CUctx_st **primary_of(CUdevice device) { return &primaries[state_tenant()][device]; }

static CUresult check_primary(CUdevice device) {
  CUresult ready = process_ready();
  if (ready != CUDA_SUCCESS) return ready;
  return device_exists(device) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

static CUresult retain(struct CUctx_st **primary, CUdevice device) {
  if (*primary == NULL || (*primary)->mark != MARK_CONTEXT) {
    CUresult result = make(primary, device, 0);
    if (result != CUDA_SUCCESS) return result;
    (*primary)->primary = true;
  }
  (*primary)->references++;
  return CUDA_SUCCESS;
}

CUresult sim_cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
  CUresult result = check_primary(device);
  if (result != CUDA_SUCCESS) return result;
  if (context == NULL) return CUDA_ERROR_INVALID_VALUE;
  process_lock();
  result = retain(primary_of(device), device);
  if (result == CUDA_SUCCESS) *context = *primary_of(device);
  process_unlock();
  return result;
}

static bool is_active(CUdevice device) {
  struct CUctx_st *primary = *primary_of(device);
  return primary != NULL && primary->mark == MARK_CONTEXT;
}

static void drop_primary(CUdevice device) {
  unmake(*primary_of(device));
  *primary_of(device) = NULL;
}

CUresult sim_cuDevicePrimaryCtxRelease_v2(CUdevice device) {
  CUresult result = check_primary(device);
  if (result != CUDA_SUCCESS) return result;
  process_lock();
  if (!is_active(device))
    result = CUDA_ERROR_INVALID_CONTEXT;
  else if (--(*primary_of(device))->references == 0)
    drop_primary(device);
  process_unlock();
  return result;
}

CUresult sim_cuDevicePrimaryCtxRelease(CUdevice device) { return sim_cuDevicePrimaryCtxRelease_v2(device); }

CUresult sim_cuDevicePrimaryCtxReset_v2(CUdevice device) {
  CUresult result = check_primary(device);
  if (result != CUDA_SUCCESS) return result;
  process_lock();
  if (is_active(device)) drop_primary(device);
  process_unlock();
  return CUDA_SUCCESS;
}

CUresult sim_cuDevicePrimaryCtxReset(CUdevice device) { return sim_cuDevicePrimaryCtxReset_v2(device); }

CUresult sim_cuDevicePrimaryCtxSetFlags_v2(CUdevice device, unsigned flags) {
  CUresult result = check_primary(device);
  if (result == CUDA_SUCCESS && is_active(device)) (*primary_of(device))->flags = flags;
  return result;
}

CUresult sim_cuDevicePrimaryCtxSetFlags(CUdevice device, unsigned flags) {
  return sim_cuDevicePrimaryCtxSetFlags_v2(device, flags);
}

CUresult sim_cuDevicePrimaryCtxGetState(CUdevice device, unsigned *flags, int *active) {
  CUresult result = check_primary(device);
  if (result != CUDA_SUCCESS) return result;
  *active = is_active(device);
  *flags = *active ? (*primary_of(device))->flags : 0;
  return CUDA_SUCCESS;
}

/* ---- the thread's stack ----------------------------------------------------------- */

CUresult sim_cuCtxSetCurrent(CUcontext context) {
  CUresult ready = process_ready();
  if (ready != CUDA_SUCCESS) return ready;
  if (context != NULL && !context_is(context)) return CUDA_ERROR_INVALID_CONTEXT;
  if (depth > 0) pop();
  push(context);
  return CUDA_SUCCESS;
}

CUresult sim_cuCtxGetCurrent(CUcontext *context) {
  CUresult ready = process_ready();
  if (ready != CUDA_SUCCESS) return ready;
  if (context == NULL) return CUDA_ERROR_INVALID_VALUE;
  *context = current;
  return CUDA_SUCCESS;
}

CUresult sim_cuCtxPushCurrent_v2(CUcontext context) {
  CUresult ready = process_ready();
  if (ready != CUDA_SUCCESS) return ready;
  if (!context_is(context)) return CUDA_ERROR_INVALID_CONTEXT;
  if (depth == STACK) return CUDA_ERROR_OUT_OF_MEMORY;
  push(context);
  return CUDA_SUCCESS;
}

CUresult sim_cuCtxPushCurrent(CUcontext context) { return sim_cuCtxPushCurrent_v2(context); }

CUresult sim_cuCtxPopCurrent_v2(CUcontext *context) {
  CUresult ready = process_ready();
  if (ready != CUDA_SUCCESS) return ready;
  if (depth == 0) return CUDA_ERROR_INVALID_CONTEXT;
  struct CUctx_st *top = pop();
  if (context != NULL) *context = top;
  return CUDA_SUCCESS;
}

CUresult sim_cuCtxPopCurrent(CUcontext *context) { return sim_cuCtxPopCurrent_v2(context); }

CUresult sim_cuCtxGetDevice(CUdevice *device) {
  struct CUctx_st *context;
  CUresult result = context_current(&context);
  if (result != CUDA_SUCCESS) return result;
  if (device == NULL) return CUDA_ERROR_INVALID_VALUE;
  *device = context->device;
  return CUDA_SUCCESS;
}

CUresult sim_cuCtxGetDevice_v2(CUdevice *device, CUcontext context) {
  if (context == NULL) return sim_cuCtxGetDevice(device);
  if (device == NULL || !context_is(context)) return CUDA_ERROR_INVALID_CONTEXT;
  *device = context->device;
  return CUDA_SUCCESS;
}

CUresult sim_cuCtxGetFlags(unsigned *flags) {
  struct CUctx_st *context;
  CUresult result = context_current(&context);
  if (result == CUDA_SUCCESS) *flags = context->flags;
  return result;
}

CUresult sim_cuCtxGetApiVersion(CUcontext context, unsigned *version) {
  if (context != NULL && !context_is(context)) return CUDA_ERROR_INVALID_CONTEXT;
  *version = 3020;
  return CUDA_SUCCESS;
}

CUresult sim_cuCtxSynchronize(void) {
  struct CUctx_st *context;
  CUresult result = context_current(&context);
  return result == CUDA_SUCCESS ? context_wait(context) : result;
}

CUresult sim_cuCtxSynchronize_v2(CUcontext context) {
  if (context == NULL) return sim_cuCtxSynchronize();
  return context_is(context) ? context_wait(context) : CUDA_ERROR_INVALID_CONTEXT;
}

CUresult sim_cuCtxGetStreamPriorityRange(int *lowest, int *highest) {
  if (lowest != NULL) *lowest = 0;
  if (highest != NULL) *highest = -5;
  return process_ready();
}

CUresult sim_cuCtxSetLimit(int limit, size_t value) {
  struct CUctx_st *context;
  (void)limit, (void)value;
  return context_current(&context);
}

CUresult sim_cuCtxGetLimit(size_t *value, int limit) {
  struct CUctx_st *context;
  CUresult result = context_current(&context);
  (void)limit;
  if (result == CUDA_SUCCESS) *value = 1024;
  return result;
}

CUresult sim_cuCtxEnablePeerAccess(CUcontext peer, unsigned flags) {
  (void)flags;
  return context_is(peer) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
}

CUresult sim_cuCtxDisablePeerAccess(CUcontext peer) { return sim_cuCtxEnablePeerAccess(peer, 0); }

void contexts_abandon(void) {
  current = NULL;
  depth = 0;
  memset(primaries, 0, sizeof primaries);
}
