/* Linear, managed and pinned memory: cuMemAlloc and its kin. */
#include "graph.h"
#include "memory.h"
#include "pool.h"

enum { UNIT = 512 }; /* addresses and pitches come in multiples of it */

/* ---- minimal work: addresses that nobody keeps --------------------------------------- */

static uint64_t minimal_address(uint64_t size) {
  static _Atomic uint64_t next = 0x7f0000000000;
  static _Thread_local __attribute__((tls_model("initial-exec"))) uint64_t at, end; /* cheap, few bytes */
  uint64_t room = (size + UNIT - 1) & ~(uint64_t)(UNIT - 1);
  if (end - at < room) {
    uint64_t block = room > (1ULL << 30) ? room : 1ULL << 30;
    at = next;
    while (!__atomic_compare_exchange_n((uint64_t *)&next, &at, at + block, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {}
    end = at + block;
  }
  at += room;
  return at - room;
}

CUresult memory_minimal(CUdeviceptr *address, uint64_t size) {
  *address = minimal_address(size);
  return CUDA_SUCCESS;
}

/* ---- linear -------------------------------------------------------------------------- */

static CUresult allocate_linear(CUdeviceptr *address, size_t size) {
  if (process_minimal && address != NULL) return memory_minimal(address, size);
  struct CUctx_st *context;
  struct range *range;
  CUresult result = context_current(&context);
  if (result != CUDA_SUCCESS) return result;
  if (address == NULL || size == 0) return CUDA_ERROR_INVALID_VALUE;
  if (capture_forbids()) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  process_lock();
  result = memory_allocate(context, RANGE_LINEAR, size, &range);
  if (result == CUDA_SUCCESS) *address = range->base;
  process_unlock();
  return result;
}

CUresult sim_cuMemAlloc_v2(CUdeviceptr *address, size_t size) { return allocate_linear(address, size); }

/* The pre-3.2 forms speak 32-bit addresses, of which this address space has none. */
CUresult sim_cuMemAlloc(CUdeviceptr_v1 *address, unsigned size) {
  (void)address, (void)size;
  return process_ready() == CUDA_SUCCESS ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_ERROR_NOT_INITIALIZED;
}

CUresult sim_cuMemFree(CUdeviceptr_v1 address) {
  (void)address;
  return process_ready() == CUDA_SUCCESS ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_NOT_INITIALIZED;
}

CUresult sim_cuMemAllocPitch(CUdeviceptr_v1 *address, unsigned *pitch, unsigned width, unsigned height, unsigned element) {
  (void)pitch, (void)width, (void)height, (void)element;
  return sim_cuMemAlloc(address, 1);
}

CUresult sim_cuMemAllocPitch_v2(CUdeviceptr *address, size_t *pitch, size_t width, size_t height, unsigned element) {
  if (pitch == NULL || width == 0 || height == 0) return CUDA_ERROR_INVALID_VALUE;
  if (element != 4 && element != 8 && element != 16) return CUDA_ERROR_INVALID_VALUE;
  size_t row = (width + UNIT - 1) / UNIT * UNIT;
  CUresult result = allocate_linear(address, row * height);
  if (result == CUDA_SUCCESS) *pitch = row;
  return result;
}

CUresult sim_cuMemFree_v2(CUdeviceptr address) {
  CUresult result = process_ready();
  if (result != CUDA_SUCCESS) return result;
  if (address == 0 || process_minimal) return CUDA_SUCCESS;
  if (capture_forbids()) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  process_lock();
  struct range *range = memory_find(address);
  if (range == NULL || range->base != address)
    result = CUDA_ERROR_INVALID_VALUE;
  else if (range->kind == RANGE_POOL)
    result = pool_free(range);
  else if (range->kind == RANGE_LINEAR || range->kind == RANGE_MANAGED ||
           range->kind == RANGE_SHARED || range->kind == RANGE_GRAPH)
    memory_free(range);
  else
    result = CUDA_ERROR_INVALID_VALUE;
  process_unlock();
  return result;
}

CUresult sim_cuMemGetInfo_v2(size_t *free_bytes, size_t *total) {
  struct CUctx_st *context;
  CUresult result = context_current(&context);
  if (result != CUDA_SUCCESS) return result;
  if (!process_minimal) {
    state_lock(process_state);
    state_reap(process_state);
    state_unlock(process_state);
  }
  if (free_bytes != NULL) *free_bytes = state_room(process_state, context->device);
  if (total != NULL) *total = process_state->devices[context->device].memory;
  return CUDA_SUCCESS;
}

CUresult sim_cuMemGetInfo(unsigned *free_bytes, unsigned *total) {
  size_t wide_free, wide_total;
  CUresult result = sim_cuMemGetInfo_v2(&wide_free, &wide_total);
  if (result != CUDA_SUCCESS) return result;
  if (free_bytes != NULL) *free_bytes = wide_free > UINT32_MAX ? UINT32_MAX : (unsigned)wide_free;
  if (total != NULL) *total = wide_total > UINT32_MAX ? UINT32_MAX : (unsigned)wide_total;
  return CUDA_SUCCESS;
}

/* ---- managed --------------------------------------------------------------------------- */

/* Occupies the device as far as there is room; the rest lives on the host. */
static void make_resident(struct CUctx_st *context, struct range *range) {
  if (!option_value(process_state, OPTION_managed_resident)) return;
  uint64_t wanted = memory_granules(range->size), room = state_room(process_state, context->device);
  uint64_t fits = wanted < room ? wanted : room / GRANULE * GRANULE;
  if (fits > 0 && process_charge(context->slot, context->device, fits)) range->charged = fits;
}

CUresult sim_cuMemAllocManaged(CUdeviceptr *address, size_t size, unsigned flags) {
  struct CUctx_st *context;
  CUresult result = context_current(&context);
  if (result != CUDA_SUCCESS) return result;
  if (address == NULL || size == 0) return CUDA_ERROR_INVALID_VALUE;
  if (flags != CU_MEM_ATTACH_GLOBAL && flags != CU_MEM_ATTACH_HOST) return CUDA_ERROR_INVALID_VALUE;
  if (process_minimal) return memory_minimal(address, size);
  process_lock();
  struct range *range = memory_take(context, RANGE_MANAGED, size);
  if (range != NULL) {
    make_resident(context, range);
    *address = range->base;
  }
  process_unlock();
  return range == NULL ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
}

static CUresult check_managed(CUdeviceptr address, size_t size) {
  process_lock();
  struct range *range = memory_find(address);
  bool inside = range != NULL && range->kind == RANGE_MANAGED && address + size <= range->base + range->size;
  process_unlock();
  return inside ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

static bool is_place(CUmemLocation location) {
  bool host = location.type >= CU_MEM_LOCATION_TYPE_HOST && location.type <= CU_MEM_LOCATION_TYPE_HOST_NUMA_CURRENT;
  return host || (location.type == CU_MEM_LOCATION_TYPE_DEVICE && device_exists(location.id));
}

static bool is_device_or_host(CUdevice device) { return device == CU_DEVICE_CPU || device_exists(device); }

CUresult sim_cuMemAdvise(CUdeviceptr address, size_t size, CUmem_advise advice, CUdevice device) {
  CUresult result = process_ready();
  if (result != CUDA_SUCCESS) return result;
  bool valid = advice >= CU_MEM_ADVISE_SET_READ_MOSTLY && advice <= CU_MEM_ADVISE_UNSET_ACCESSED_BY;
  if (!valid || !is_device_or_host(device)) return CUDA_ERROR_INVALID_VALUE;
  return check_managed(address, size);
}

CUresult sim_cuMemAdvise_v2(CUdeviceptr address, size_t size, CUmem_advise advice, CUmemLocation location) {
  CUresult result = process_ready();
  if (result != CUDA_SUCCESS) return result;
  bool valid = advice >= CU_MEM_ADVISE_SET_READ_MOSTLY && advice <= CU_MEM_ADVISE_UNSET_ACCESSED_BY;
  if (!valid || !is_place(location)) return CUDA_ERROR_INVALID_VALUE;
  return check_managed(address, size);
}

CUresult sim_cuMemPrefetchAsync(CUdeviceptr address, size_t size, CUdevice device, CUstream stream) {
  struct stream_place place;
  CUresult result = stream_place(stream, &place);
  if (result != CUDA_SUCCESS) return result;
  return is_device_or_host(device) ? check_managed(address, size) : CUDA_ERROR_INVALID_DEVICE;
}

CUresult sim_cuMemPrefetchAsync_v2(CUdeviceptr address, size_t size, CUmemLocation location, unsigned flags,
                                   CUstream stream) {
  struct stream_place place;
  CUresult result = stream_place(stream, &place);
  if (result != CUDA_SUCCESS) return result;
  if (!is_place(location) || flags != 0) return CUDA_ERROR_INVALID_VALUE;
  return check_managed(address, size);
}

CUresult sim_cuStreamAttachMemAsync(CUstream stream, CUdeviceptr address, size_t length, unsigned flags) {
  struct stream_place place;
  CUresult result = stream_place(stream, &place);
  (void)length, (void)flags;
  return result == CUDA_SUCCESS ? check_managed(address, 0) : result;
}

/* ---- pinned host memory ------------------------------------------------------------------ */

CUresult sim_cuMemHostAlloc(void **address, size_t size, unsigned flags) {
  struct CUctx_st *context;
  CUresult result = context_current(&context);
  if (result != CUDA_SUCCESS) return result;
  if (address == NULL || size == 0) return CUDA_ERROR_INVALID_VALUE;
  process_lock();
  struct range *range = memory_take(context, RANGE_HOST, size);
  if (range != NULL) range->flags = flags;
  if (range != NULL) *address = (void *)range->base;
  process_unlock();
  return range == NULL ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
}

CUresult sim_cuMemAllocHost_v2(void **address, size_t size) { return sim_cuMemHostAlloc(address, size, 0); }
CUresult sim_cuMemAllocHost(void **address, unsigned size) { return sim_cuMemHostAlloc(address, size, 0); }

CUresult sim_cuMemFreeHost(void *address) {
  CUresult result = process_ready();
  if (result != CUDA_SUCCESS) return result;
  process_lock();
  struct range *range = memory_find((uint64_t)address);
  bool known = range != NULL && range->kind == RANGE_HOST && range->base == (uint64_t)address;
  if (known) memory_give(range);
  process_unlock();
  return known ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult sim_cuMemHostGetDevicePointer_v2(CUdeviceptr *address, void *host, unsigned flags) {
  if (address == NULL || flags != 0) return CUDA_ERROR_INVALID_VALUE;
  *address = (CUdeviceptr)(uintptr_t)host;
  return process_ready();
}

CUresult sim_cuMemHostGetFlags(unsigned *flags, void *host) {
  process_lock();
  struct range *range = memory_find((uint64_t)host);
  if (range != NULL) *flags = range->flags;
  process_unlock();
  return range == NULL ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

CUresult sim_cuMemHostRegister_v2(void *address, size_t size, unsigned flags) {
  (void)flags;
  return address == NULL || size == 0 ? CUDA_ERROR_INVALID_VALUE : process_ready();
}

CUresult sim_cuMemHostRegister(void *address, size_t size, unsigned flags) {
  return sim_cuMemHostRegister_v2(address, size, flags);
}

CUresult sim_cuMemHostUnregister(void *address) {
  return address == NULL ? CUDA_ERROR_INVALID_VALUE : process_ready();
}
