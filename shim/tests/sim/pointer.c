/* Questions about addresses: which range, which kind, whose. */
#include <string.h>

#include "memory.h"

CUresult sim_cuMemGetAddressRange_v2(CUdeviceptr *base, size_t *size, CUdeviceptr address) {
  CUresult result = process_ready();
  if (result != CUDA_SUCCESS) return result;
  uint64_t start = 0, length = 0;
  int device;
  process_lock();
  struct range *range = memory_find(address);
  bool known = vmm_range(address, &start, &length, &device);
  if (!known && range != NULL && range->kind != RANGE_RESERVED && range->kind != RANGE_INNER) {
    known = true;
    start = range->base;
    length = range->size;
  }
  process_unlock();
  if (!known) return CUDA_ERROR_NOT_FOUND;
  if (base != NULL) *base = start;
  if (size != NULL) *size = length;
  return CUDA_SUCCESS;
}

struct pointer_facts {
  uint64_t base, size, id;
  int device;
  enum range_kind kind;
  struct CUctx_st *context;
  void *pool;
};

static bool facts_of(CUdeviceptr address, struct pointer_facts *facts) {
  *facts = (struct pointer_facts){0};
  process_lock();
  struct range *range = memory_find(address);
  if (range != NULL)
    *facts = (struct pointer_facts){range->base, range->size, range->id, range->context == NULL ? 0 : range->context->device,
                                    range->kind, range->context, range->pool};
  bool known = range != NULL && range->kind != RANGE_RESERVED && range->kind != RANGE_INNER;
  if (vmm_range(address, &facts->base, &facts->size, &facts->device)) known = true;
  process_unlock();
  return known;
}

static CUresult answer(void *data, CUpointer_attribute attribute, CUdeviceptr address, const struct pointer_facts *facts) {
  bool host = facts->kind == RANGE_HOST, managed = facts->kind == RANGE_MANAGED;
  switch (attribute) {
    case CU_POINTER_ATTRIBUTE_CONTEXT: *(CUcontext *)data = facts->context; break;
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE: *(unsigned *)data = host ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE; break;
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER: *(CUdeviceptr *)data = address; break;
    case CU_POINTER_ATTRIBUTE_HOST_POINTER:
      if (!host && !managed) return CUDA_ERROR_INVALID_VALUE;
      *(uint64_t *)data = address;
      break;
    case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS: *(unsigned *)data = 0; break;
    case CU_POINTER_ATTRIBUTE_BUFFER_ID: *(unsigned long long *)data = facts->id; break;
    case CU_POINTER_ATTRIBUTE_IS_MANAGED: *(unsigned *)data = managed; break;
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL: *(int *)data = facts->device; break;
    case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE: *(unsigned *)data = facts->kind == RANGE_LINEAR; break;
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR: *(uint64_t *)data = facts->base; break;
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE: *(size_t *)data = facts->size; break;
    case CU_POINTER_ATTRIBUTE_MAPPED: *(unsigned *)data = 1; break;
    case CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES: *(unsigned long long *)data = 0; break;
    case CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE: *(void **)data = facts->pool; break;
    default: return CUDA_ERROR_INVALID_VALUE;
  }
  return CUDA_SUCCESS;
}

CUresult sim_cuPointerGetAttribute(void *data, CUpointer_attribute attribute, CUdeviceptr address) {
  struct pointer_facts facts;
  CUresult result = process_ready();
  if (result != CUDA_SUCCESS) return result;
  if (data == NULL || !facts_of(address, &facts)) return CUDA_ERROR_INVALID_VALUE;
  return answer(data, attribute, address, &facts);
}

/* Unknown addresses are no error here: their answers are zero. */
CUresult sim_cuPointerGetAttributes(unsigned count, CUpointer_attribute *attributes, void **data, CUdeviceptr address) {
  struct pointer_facts facts;
  CUresult result = process_ready();
  if (result != CUDA_SUCCESS) return result;
  if (attributes == NULL || data == NULL) return CUDA_ERROR_INVALID_VALUE;
  bool known = facts_of(address, &facts);
  for (unsigned i = 0; i < count; i++) {
    if (known && answer(data[i], attributes[i], address, &facts) == CUDA_SUCCESS) continue;
    bool wide = attributes[i] != CU_POINTER_ATTRIBUTE_MEMORY_TYPE && attributes[i] != CU_POINTER_ATTRIBUTE_IS_MANAGED &&
                attributes[i] != CU_POINTER_ATTRIBUTE_SYNC_MEMOPS && attributes[i] != CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL &&
                attributes[i] != CU_POINTER_ATTRIBUTE_MAPPED &&
                attributes[i] != CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE;
    memset(data[i], attributes[i] == CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL ? 0xff : 0, wide ? 8 : 4);
  }
  return CUDA_SUCCESS;
}

CUresult sim_cuPointerSetAttribute(const void *value, CUpointer_attribute attribute, CUdeviceptr address) {
  struct pointer_facts facts;
  if (value == NULL || attribute != CU_POINTER_ATTRIBUTE_SYNC_MEMOPS) return CUDA_ERROR_INVALID_VALUE;
  return facts_of(address, &facts) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
