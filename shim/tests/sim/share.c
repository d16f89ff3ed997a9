/* Memory from elsewhere: IPC handles between processes, and external memory. Whoever
 * allocated it pays for it; opening it takes only an address.
 */
#include <string.h>
#include <stdlib.h>
#include <unistd.h>

#include "memory.h"

enum { MARK_IPC = 0x51c0def1 };

struct ipc_content { /* fits the 64 bytes of a handle */
  uint32_t mark;
  int32_t pid, device;
  uint32_t slot;
  uint64_t base, size, slot_started;
};

_Static_assert(sizeof(struct ipc_content) <= sizeof(CUipcMemHandle), "the handle's 64 bytes");

/* ---- IPC --------------------------------------------------------------------------- */

CUresult sim_cuIpcGetMemHandle(CUipcMemHandle *handle, CUdeviceptr address) {
  if (process_ready() != CUDA_SUCCESS) return CUDA_ERROR_NOT_INITIALIZED;
  if (handle == NULL) return CUDA_ERROR_INVALID_VALUE;
  process_lock();
  struct range *range = memory_find(address);
  bool linear = range != NULL && range->kind == RANGE_LINEAR;
  if (linear) {
    struct sim_slot *slot = range->context->slot;
    struct ipc_content content = {MARK_IPC, (int32_t)getpid(), range->context->device,
                                  (uint32_t)(slot - process_state->slots), range->base, range->size, slot->started_at};
    memset(handle, 0, sizeof *handle);
    memcpy(handle, &content, sizeof content);
  }
  process_unlock();
  return linear ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

static bool owner_lives(const struct ipc_content *content) {
  if (content->slot >= SIM_SLOTS) return false;
  state_lock(process_state);
  state_reap(process_state);
  struct sim_slot *slot = &process_state->slots[content->slot];
  bool lives = slot->used && slot->started_at == content->slot_started;
  state_unlock(process_state);
  return lives;
}

CUresult sim_cuIpcOpenMemHandle_v2(CUdeviceptr *address, CUipcMemHandle handle, unsigned flags) {
  struct CUctx_st *context;
  struct ipc_content content;
  CUresult result = context_current(&context);
  if (result != CUDA_SUCCESS) return result;
  memcpy(&content, &handle, sizeof content);
  if (address == NULL || flags > CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS || content.mark != MARK_IPC) return CUDA_ERROR_INVALID_VALUE;
  if (content.pid == getpid()) return CUDA_ERROR_INVALID_CONTEXT; /* the exporter may not open its own */
  if (!owner_lives(&content)) return CUDA_ERROR_INVALID_VALUE;
  process_lock();
  struct range *range = memory_take(context, RANGE_SHARED, content.size);
  if (range != NULL) *address = range->base;
  process_unlock();
  return range == NULL ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
}

CUresult sim_cuIpcOpenMemHandle(CUdeviceptr *address, CUipcMemHandle handle, unsigned flags) {
  return sim_cuIpcOpenMemHandle_v2(address, handle, flags);
}

CUresult sim_cuIpcCloseMemHandle(CUdeviceptr address) {
  if (process_ready() != CUDA_SUCCESS) return CUDA_ERROR_NOT_INITIALIZED;
  process_lock();
  struct range *range = memory_find(address);
  bool opened = range != NULL && range->kind == RANGE_SHARED && range->base == address;
  if (opened) memory_free(range);
  process_unlock();
  return opened ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

/* ---- external memory ------------------------------------------------------------------ */

struct CUextMemory_st {
  uint32_t mark;
  uint64_t size;
  struct CUctx_st *context;
};

CUresult sim_cuImportExternalMemory(CUexternalMemory *memory, const CUDA_EXTERNAL_MEMORY_HANDLE_DESC *description) {
  struct CUctx_st *context;
  CUresult result = context_current(&context);
  if (result != CUDA_SUCCESS) return result;
  if (memory == NULL || description == NULL || description->size == 0) return CUDA_ERROR_INVALID_VALUE;
  if (description->type != CU_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD) return CUDA_ERROR_NOT_SUPPORTED;
  *memory = calloc(1, sizeof **memory);
  if (*memory == NULL) return CUDA_ERROR_OUT_OF_MEMORY;
  **memory = (struct CUextMemory_st){MARK_EXTERNAL, description->size, context};
  return CUDA_SUCCESS;
}

static bool is_external(CUexternalMemory memory) { return memory != NULL && memory->mark == MARK_EXTERNAL; }

/* Freed by cuMemFree, as the real driver demands. */
CUresult sim_cuExternalMemoryGetMappedBuffer(CUdeviceptr *address, CUexternalMemory memory,
                                             const CUDA_EXTERNAL_MEMORY_BUFFER_DESC *description) {
  if (!is_external(memory)) return CUDA_ERROR_INVALID_HANDLE;
  if (address == NULL || description == NULL || description->size == 0) return CUDA_ERROR_INVALID_VALUE;
  if (description->offset + description->size > memory->size) return CUDA_ERROR_INVALID_VALUE;
  process_lock();
  struct range *range = memory_take(memory->context, RANGE_SHARED, description->size);
  if (range != NULL) *address = range->base;
  process_unlock();
  return range == NULL ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
}

CUresult sim_cuMipmappedArrayCreate(CUmipmappedArray *mipmap, const CUDA_ARRAY3D_DESCRIPTOR *shape, unsigned levels);

CUresult sim_cuExternalMemoryGetMappedMipmappedArray(CUmipmappedArray *mipmap, CUexternalMemory memory,
                                                     const CUDA_EXTERNAL_MEMORY_MIPMAPPED_ARRAY_DESC *description) {
  if (!is_external(memory)) return CUDA_ERROR_INVALID_HANDLE;
  if (description == NULL) return CUDA_ERROR_INVALID_VALUE;
  CUDA_ARRAY3D_DESCRIPTOR shape = description->arrayDesc;
  shape.Flags |= CUDA_ARRAY3D_DEFERRED_MAPPING; /* its storage is the external memory */
  return sim_cuMipmappedArrayCreate(mipmap, &shape, description->numLevels);
}

CUresult sim_cuDestroyExternalMemory(CUexternalMemory memory) {
  if (!is_external(memory)) return CUDA_ERROR_INVALID_HANDLE;
  memory->mark = MARK_DEAD;
  free(memory);
  return CUDA_SUCCESS;
}
