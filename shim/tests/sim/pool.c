/* Stream-ordered memory: pools that hold more than is allocated from them. A free is
 * done at once, as if the stream had got there; what a pool holds beyond its release
 * threshold goes back to the device at the next synchronisation.
 */
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "pool.h"

enum { GROWTH = 32 << 20, UNIT = 512 };

struct CUmemPoolHandle_st {
  uint32_t mark;
  int device;
  unsigned tenant;
  struct sim_slot *slot;
  uint64_t reserved, reserved_high, used, used_high, threshold, bound;
  uint64_t reuse[3]; /* the three reuse policies, kept and ignored */
  bool destroyed;
  struct CUmemPoolHandle_st *next;
};

static struct CUmemPoolHandle_st *pools;
static CUmemoryPool defaults[SIM_TENANTS][SIM_DEVICES], currents[SIM_TENANTS][SIM_DEVICES];

static bool is_pool(CUmemoryPool pool) { return pool != NULL && pool->mark == MARK_POOL && !pool->destroyed; }

static struct sim_slot *own_slot(void) {
  state_lock(process_state);
  struct sim_slot *slot = state_slot(process_state, state_tenant());
  state_unlock(process_state);
  return slot;
}

static CUmemoryPool make(int device, uint64_t bound) {
  CUmemoryPool pool = calloc(1, sizeof *pool);
  struct sim_slot *slot = own_slot();
  if (pool == NULL || slot == NULL) return free(pool), NULL;
  *pool = (struct CUmemPoolHandle_st){.mark = MARK_POOL, .device = device, .tenant = state_tenant(), .slot = slot,
                                      .bound = bound, .reuse = {1, 1, 1}, .next = pools};
  return pools = pool;
}

CUmemoryPool pool_default(int device) {
  CUmemoryPool *pool = &defaults[state_tenant()][device];
  if (*pool == NULL) *pool = make(device, 0);
  return *pool;
}

CUmemoryPool pool_current(int device) {
  CUmemoryPool pool = currents[state_tenant()][device];
  return is_pool(pool) ? pool : pool_default(device);
}

/* ---- growing and shrinking ------------------------------------------------------- */

static bool reserve(CUmemoryPool pool, uint64_t bytes) {
  if (pool->bound > 0 && pool->reserved + bytes > pool->bound) return false;
  if (!process_charge(pool->slot, pool->device, bytes)) return false;
  pool->reserved += bytes;
  if (pool->reserved > pool->reserved_high) pool->reserved_high = pool->reserved;
  return true;
}

static bool make_room(CUmemoryPool pool, uint64_t size) {
  if (pool->used + size <= pool->reserved) return true;
  uint64_t missing = memory_granules(pool->used + size - pool->reserved);
  uint64_t generous = (missing + GROWTH - 1) / GROWTH * GROWTH;
  return reserve(pool, generous) || reserve(pool, missing);
}

static void shrink(CUmemoryPool pool, uint64_t keep) {
  uint64_t least = memory_granules(pool->used > keep ? pool->used : keep);
  if (pool->reserved <= least) return;
  process_discharge(pool->slot, pool->device, pool->reserved - least);
  pool->reserved = least;
}

void pools_release(void) {
  process_lock();
  for (CUmemoryPool pool = pools; pool != NULL; pool = pool->next)
    if (pool->mark == MARK_POOL && pool->threshold < pool->reserved) shrink(pool, pool->threshold);
  process_unlock();
}

static uint64_t units(uint64_t size) { return (size + UNIT - 1) / UNIT * UNIT; }

CUresult pool_allocate(CUmemoryPool pool, struct CUctx_st *context, uint64_t size, CUdeviceptr *address) {
  if (!make_room(pool, units(size))) return CUDA_ERROR_OUT_OF_MEMORY;
  struct range *range = memory_take(context, RANGE_POOL, size);
  if (range == NULL) return CUDA_ERROR_OUT_OF_MEMORY;
  range->pool = pool;
  pool->used += units(size);
  if (pool->used > pool->used_high) pool->used_high = pool->used;
  *address = range->base;
  return CUDA_SUCCESS;
}

static void bury(CUmemoryPool pool) {
  shrink(pool, 0);
  if (pool->used == 0) pool->mark = MARK_DEAD;
}

CUresult pool_free(struct range *range) {
  CUmemoryPool pool = range->pool;
  pool->used -= units(range->size);
  memory_give(range);
  if (pool->destroyed) bury(pool);
  return CUDA_SUCCESS;
}

/* Pools belong to the device: they go with the last context of the tenant on it. */
void pools_forget(struct CUctx_st *context) {
  if (context->slot->contexts[context->device] > 1) return;
  for (CUmemoryPool pool = pools; pool != NULL; pool = pool->next) {
    if (pool->mark != MARK_POOL || pool->slot != context->slot || pool->device != context->device) continue;
    memory_forget_pool(pool);
    shrink(pool, 0);
  }
}

/* ---- allocation ------------------------------------------------------------------- */

static CUresult allocate(CUdeviceptr *address, size_t size, CUmemoryPool pool, CUstream stream) {
  if (process_minimal && address != NULL) return memory_minimal(address, size);
  struct stream_place place;
  CUresult result = stream_place(stream, &place);
  if (result != CUDA_SUCCESS) return result;
  if (address == NULL || size == 0) return CUDA_ERROR_INVALID_VALUE;
  if (place.handle != NULL && place.handle->capture != NULL) return capture_allocation(place.handle, size, address);
  process_lock();
  if (pool == NULL) pool = pool_current(place.context->device);
  result = is_pool(pool) ? pool_allocate(pool, place.context, size, address) : CUDA_ERROR_INVALID_VALUE;
  process_unlock();
  return result;
}

CUresult sim_cuMemAllocAsync(CUdeviceptr *address, size_t size, CUstream stream) {
  return allocate(address, size, NULL, stream);
}

CUresult sim_cuMemAllocFromPoolAsync(CUdeviceptr *address, size_t size, CUmemoryPool pool, CUstream stream) {
  return pool == NULL ? CUDA_ERROR_INVALID_VALUE : allocate(address, size, pool, stream);
}

CUresult sim_cuMemFree_v2(CUdeviceptr address);

CUresult sim_cuMemFreeAsync(CUdeviceptr address, CUstream stream) {
  if (process_minimal) return process_ready();
  struct stream_place place;
  CUresult result = stream_place(stream, &place);
  if (result != CUDA_SUCCESS) return result;
  if (place.handle != NULL && place.handle->capture != NULL) return capture_free(place.handle, address);
  return address == 0 ? CUDA_ERROR_INVALID_VALUE : sim_cuMemFree_v2(address);
}

/* ---- pools -------------------------------------------------------------------------- */

static CUresult check_device(const void *out, CUdevice device) {
  if (process_ready() != CUDA_SUCCESS) return CUDA_ERROR_NOT_INITIALIZED;
  if (out == NULL) return CUDA_ERROR_INVALID_VALUE;
  return device_exists(device) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

CUresult sim_cuMemPoolCreate(CUmemoryPool *pool, const CUmemPoolProps *properties) {
  if (properties == NULL || properties->allocType != CU_MEM_ALLOCATION_TYPE_PINNED) return CUDA_ERROR_INVALID_VALUE;
  if (properties->location.type != CU_MEM_LOCATION_TYPE_DEVICE) return CUDA_ERROR_NOT_SUPPORTED;
  CUresult result = check_device(pool, properties->location.id);
  if (result != CUDA_SUCCESS) return result;
  process_lock();
  *pool = make(properties->location.id, properties->maxSize);
  process_unlock();
  return *pool == NULL ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
}

CUresult sim_cuMemPoolDestroy(CUmemoryPool pool) {
  process_lock();
  bool valid = is_pool(pool) && pool != defaults[pool->tenant][pool->device];
  if (valid) {
    pool->destroyed = true;
    if (currents[pool->tenant][pool->device] == pool) currents[pool->tenant][pool->device] = NULL;
    bury(pool);
  }
  process_unlock();
  return valid ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult sim_cuMemPoolTrimTo(CUmemoryPool pool, size_t keep) {
  process_lock();
  bool valid = is_pool(pool);
  if (valid) shrink(pool, keep);
  process_unlock();
  return valid ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

static CUresult set_attribute(CUmemoryPool pool, CUmemPool_attribute attribute, const void *value) {
  uint64_t wide = *(const uint64_t *)value;
  switch (attribute) {
    case CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES:
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC:
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES: pool->reuse[attribute - 1] = *(const uint32_t *)value; break;
    case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD: pool->threshold = wide; break;
    case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH: /* high marks may only be reset */
      if (wide != 0) return CUDA_ERROR_INVALID_VALUE;
      pool->reserved_high = pool->reserved;
      break;
    case CU_MEMPOOL_ATTR_USED_MEM_HIGH:
      if (wide != 0) return CUDA_ERROR_INVALID_VALUE;
      pool->used_high = pool->used;
      break;
    default: return CUDA_ERROR_INVALID_VALUE;
  }
  return CUDA_SUCCESS;
}

CUresult sim_cuMemPoolSetAttribute(CUmemoryPool pool, CUmemPool_attribute attribute, void *value) {
  process_lock();
  CUresult result = is_pool(pool) && value != NULL ? set_attribute(pool, attribute, value) : CUDA_ERROR_INVALID_VALUE;
  process_unlock();
  return result;
}

static CUresult get_attribute(CUmemoryPool pool, CUmemPool_attribute attribute, void *value) {
  switch (attribute) {
    case CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES:
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC:
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES: *(int *)value = (int)pool->reuse[attribute - 1]; break;
    case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD: *(uint64_t *)value = pool->threshold; break;
    case CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT: *(uint64_t *)value = pool->reserved; break;
    case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH: *(uint64_t *)value = pool->reserved_high; break;
    case CU_MEMPOOL_ATTR_USED_MEM_CURRENT: *(uint64_t *)value = pool->used; break;
    case CU_MEMPOOL_ATTR_USED_MEM_HIGH: *(uint64_t *)value = pool->used_high; break;
    default: return CUDA_ERROR_INVALID_VALUE;
  }
  return CUDA_SUCCESS;
}

CUresult sim_cuMemPoolGetAttribute(CUmemoryPool pool, CUmemPool_attribute attribute, void *value) {
  process_lock();
  CUresult result = is_pool(pool) && value != NULL ? get_attribute(pool, attribute, value) : CUDA_ERROR_INVALID_VALUE;
  process_unlock();
  return result;
}

CUresult sim_cuMemPoolSetAccess(CUmemoryPool pool, const CUmemAccessDesc *map, size_t count) {
  return is_pool(pool) && (count == 0 || map != NULL) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult sim_cuMemPoolGetAccess(CUmemAccess_flags *flags, CUmemoryPool pool, CUmemLocation *location) {
  if (!is_pool(pool) || flags == NULL || location == NULL) return CUDA_ERROR_INVALID_VALUE;
  *flags = location->id == pool->device ? CU_MEM_ACCESS_FLAGS_PROT_READWRITE : CU_MEM_ACCESS_FLAGS_PROT_NONE;
  return CUDA_SUCCESS;
}

CUresult sim_cuDeviceGetDefaultMemPool(CUmemoryPool *pool, CUdevice device) {
  CUresult result = check_device(pool, device);
  if (result != CUDA_SUCCESS) return result;
  process_lock();
  *pool = pool_default(device);
  process_unlock();
  return *pool == NULL ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
}

CUresult sim_cuDeviceGetMemPool(CUmemoryPool *pool, CUdevice device) {
  CUresult result = check_device(pool, device);
  if (result != CUDA_SUCCESS) return result;
  process_lock();
  *pool = pool_current(device);
  process_unlock();
  return *pool == NULL ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
}

CUresult sim_cuDeviceSetMemPool(CUdevice device, CUmemoryPool pool) {
  CUresult result = check_device(pool, device);
  if (result != CUDA_SUCCESS) return result;
  if (!is_pool(pool) || pool->device != device) return CUDA_ERROR_INVALID_VALUE;
  currents[state_tenant()][device] = pool;
  return CUDA_SUCCESS;
}

/* CUDA 13: the same by location. */
static CUresult check_location(const CUmemLocation *location, CUmemAllocationType type) {
  if (location == NULL || type != CU_MEM_ALLOCATION_TYPE_PINNED) return CUDA_ERROR_INVALID_VALUE;
  return location->type == CU_MEM_LOCATION_TYPE_DEVICE ? CUDA_SUCCESS : CUDA_ERROR_NOT_SUPPORTED;
}

CUresult sim_cuMemGetDefaultMemPool(CUmemoryPool *pool, CUmemLocation *location, CUmemAllocationType type) {
  CUresult result = check_location(location, type);
  return result == CUDA_SUCCESS ? sim_cuDeviceGetDefaultMemPool(pool, location->id) : result;
}

CUresult sim_cuMemGetMemPool(CUmemoryPool *pool, CUmemLocation *location, CUmemAllocationType type) {
  CUresult result = check_location(location, type);
  return result == CUDA_SUCCESS ? sim_cuDeviceGetMemPool(pool, location->id) : result;
}

CUresult sim_cuMemSetMemPool(CUmemLocation *location, CUmemAllocationType type, CUmemoryPool pool) {
  CUresult result = check_location(location, type);
  return result == CUDA_SUCCESS ? sim_cuDeviceSetMemPool(location->id, pool) : result;
}

void pools_abandon(void) {
  pools = NULL;
  memset(defaults, 0, sizeof defaults);
  memset(currents, 0, sizeof currents);
}
