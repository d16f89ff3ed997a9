/* Linear, managed and pinned memory, and questions about addresses. */
#include "memory.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "graph.h"
#include "pool.h"

enum { CLASSES = 640, SMALLEST = 512 };

/* ---- address space ----------------------------------------------------------- */

static uint64_t arena, arena_next, arena_end;
static struct range *ranges; /* ascending by base; places are reused, never merged */
static size_t range_count, range_room;
static struct { uint32_t *indices; size_t count, room; } vacant[CLASSES];
static uint64_t next_id = 1;
static uint64_t small_bytes[SIM_TENANTS][SIM_DEVICES], small_charged[SIM_TENANTS][SIM_DEVICES];

/* Sizes round up to eighths of a power of two, so that a freed place fits again. */
static uint64_t place_size(uint64_t size, unsigned *class) {
  uint64_t units = (size + SMALLEST - 1) / SMALLEST;
  unsigned shift = 0;
  while (units > 15) units = (units + 1) / 2, shift++;
  *class = shift * 16 + (unsigned)units;
  return (units << shift) * SMALLEST;
}

static bool open_arena(void) {
  for (uint64_t bytes = 8ULL << 40; arena == 0 && bytes >= 16ULL << 30; bytes /= 2) {
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) continue;
    madvise(memory, bytes, MADV_DONTDUMP);
    arena = (uint64_t)memory;
    arena_next = memory_granules(arena);
    arena_end = arena + bytes;
  }
  return arena != 0;
}

static struct range *append(uint64_t room) {
  uint64_t alignment = room >= GRANULE ? GRANULE : SMALLEST;
  uint64_t base = (arena_next + alignment - 1) / alignment * alignment;
  if (base + room > arena_end) return NULL;
  if (range_count == range_room) {
    size_t more = range_room == 0 ? 1024 : 2 * range_room;
    struct range *grown = realloc(ranges, more * sizeof *ranges);
    if (grown == NULL) return NULL;
    ranges = grown;
    range_room = more;
  }
  arena_next = base + room;
  ranges[range_count] = (struct range){.base = base, .room = room};
  return &ranges[range_count++];
}

/* Pointers to ranges hold until the next memory_take(). */
struct range *memory_take(struct CUctx_st *context, enum range_kind kind, uint64_t size) {
  unsigned class;
  uint64_t room = place_size(size, &class);
  if (!open_arena() || class >= CLASSES) return NULL;
  struct range *range = vacant[class].count > 0 ? &ranges[vacant[class].indices[--vacant[class].count]] : append(room);
  if (range == NULL) return NULL;
  range->size = size;
  range->kind = kind;
  range->context = context;
  range->pool = NULL;
  range->charged = 0;
  range->flags = 0;
  range->id = next_id++;
  return range;
}

void memory_give(struct range *range) {
  unsigned class;
  place_size(range->size, &class);
  range->kind = RANGE_FREE;
  if (range->room >= SMALL_LIMIT) madvise((void *)range->base, range->room, MADV_DONTNEED);
  if (vacant[class].count == vacant[class].room) {
    size_t room = vacant[class].room == 0 ? 64 : 2 * vacant[class].room;
    uint32_t *grown = realloc(vacant[class].indices, room * sizeof *grown);
    if (grown == NULL) return; /* the place is lost, nothing else */
    vacant[class].indices = grown;
    vacant[class].room = room;
  }
  vacant[class].indices[vacant[class].count++] = (uint32_t)(range - ranges);
}

struct range *memory_find(uint64_t address) {
  size_t low = 0, high = range_count;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (ranges[middle].base <= address)
      low = middle + 1;
    else
      high = middle;
  }
  if (low == 0) return NULL;
  struct range *range = &ranges[low - 1];
  return range->kind != RANGE_FREE && address < range->base + range->size ? range : NULL;
}

/* ---- charging ---------------------------------------------------------------------- */

static bool recharge_small(struct CUctx_st *context, uint64_t bytes) {
  uint64_t *charged = &small_charged[context->tenant][context->device];
  uint64_t wanted = memory_granules(bytes);
  if (wanted > *charged && !process_charge(context->slot, context->device, wanted - *charged)) return false;
  if (wanted < *charged) process_discharge(context->slot, context->device, *charged - wanted);
  *charged = wanted;
  small_bytes[context->tenant][context->device] = bytes;
  return true;
}

static bool is_small(uint64_t size) { return size <= SMALL_LIMIT; }
static uint64_t small_size(uint64_t size) { return (size + SMALLEST - 1) / SMALLEST * SMALLEST; }

static bool charge(struct CUctx_st *context, struct range *range) {
  if (is_small(range->size))
    return recharge_small(context, small_bytes[context->tenant][context->device] + small_size(range->size));
  if (!process_charge(context->slot, context->device, memory_granules(range->size))) return false;
  range->charged = memory_granules(range->size);
  return true;
}

static void discharge(struct range *range) {
  struct CUctx_st *context = range->context;
  if (range->charged > 0) process_discharge(context->slot, context->device, range->charged);
  if (range->kind == RANGE_LINEAR || range->kind == RANGE_INNER)
    if (is_small(range->size))
      recharge_small(context, small_bytes[context->tenant][context->device] - small_size(range->size));
}

CUresult memory_allocate(struct CUctx_st *context, enum range_kind kind, uint64_t size, struct range **out) {
  if (size == 0) return CUDA_ERROR_INVALID_VALUE;
  if (size > process_state->devices[context->device].memory) return CUDA_ERROR_OUT_OF_MEMORY;
  struct range *range = memory_take(context, kind, size);
  if (range == NULL) return CUDA_ERROR_OUT_OF_MEMORY;
  if (!charge(context, range)) return memory_give(range), CUDA_ERROR_OUT_OF_MEMORY;
  *out = range;
  return CUDA_SUCCESS;
}

void memory_free(struct range *range) {
  discharge(range);
  memory_give(range);
}

void memory_forget(struct CUctx_st *context) {
  for (size_t i = 0; i < range_count; i++)
    if (ranges[i].kind != RANGE_FREE && ranges[i].kind != RANGE_POOL && ranges[i].context == context)
      memory_free(&ranges[i]);
  pools_forget(context);
}

void memory_forget_pool(CUmemoryPool pool) {
  for (size_t i = 0; i < range_count; i++)
    if (ranges[i].kind == RANGE_POOL && ranges[i].pool == pool) pool_free(&ranges[i]);
}

/* ---- minimal work: addresses that nobody keeps --------------------------------------- */

static uint64_t minimal_address(uint64_t size) {
  static _Atomic uint64_t next = 0x7f0000000000;
  static _Thread_local __attribute__((tls_model("initial-exec"))) uint64_t at, end; /* cheap, few bytes */
  uint64_t room = (size + SMALLEST - 1) & ~(uint64_t)(SMALLEST - 1);
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
  size_t row = (width + SMALLEST - 1) / SMALLEST * SMALLEST;
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

/* ---- questions about addresses -------------------------------------------------------------- */

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

/* The address space stays mapped, and is handed out anew. */
void memory_abandon(void) {
  if (arena != 0) arena_next = memory_granules(arena);
  range_count = 0;
  for (int class = 0; class < CLASSES; class++) vacant[class].count = 0;
  memset(small_bytes, 0, sizeof small_bytes);
  memset(small_charged, 0, sizeof small_charged);
}
