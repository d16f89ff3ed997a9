/* Virtual memory management: physical allocations that live while they are referenced
 * or mapped, and address ranges they are mapped into.
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "memory.h"

struct physical { /* one piece of device memory, however many handles name it */
  uint32_t mark;
  int device;
  struct sim_slot *slot; /* who pays; NULL: imported, another process does */
  uint64_t size, references, mappings;
  CUmemAllocationProp properties;
};

struct mapping {
  uint64_t base, size;
  struct physical *physical;
  CUmemAccess_flags access;
};

struct sparse { /* a piece of a sparse array that has memory */
  CUarray array;
  unsigned long long key;
  struct physical *physical;
};

enum { MARK_PHYSICAL = 0x51c0dee0 };

static struct mapping *mappings;
static size_t mapping_count, mapping_room;
static struct sparse *pieces;
static size_t piece_count, piece_room;

static struct physical *physical_of(CUmemGenericAllocationHandle handle) {
  struct physical *physical = (struct physical *)(uintptr_t)handle;
  return physical != NULL && physical->mark == MARK_PHYSICAL && physical->references > 0 ? physical : NULL;
}

/* The device gets its memory back when the last reference and the last mapping are gone. */
static void settle(struct physical *physical) {
  if (physical->references > 0 || physical->mappings > 0) return;
  if (physical->slot != NULL) process_discharge(physical->slot, physical->device, physical->size);
  physical->mark = MARK_DEAD;
}

/* ---- granularity, create, release -------------------------------------------------- */

static CUresult check(const CUmemAllocationProp *properties) {
  if (process_ready() != CUDA_SUCCESS) return CUDA_ERROR_NOT_INITIALIZED;
  if (properties == NULL || properties->type != CU_MEM_ALLOCATION_TYPE_PINNED) return CUDA_ERROR_INVALID_VALUE;
  if (properties->location.type != CU_MEM_LOCATION_TYPE_DEVICE) return CUDA_ERROR_NOT_SUPPORTED;
  return device_exists(properties->location.id) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

CUresult sim_cuMemGetAllocationGranularity(size_t *granularity, const CUmemAllocationProp *properties,
                                           CUmemAllocationGranularity_flags option) {
  CUresult result = check(properties);
  (void)option;
  if (result == CUDA_SUCCESS) *granularity = GRANULE;
  return result;
}

static struct physical *make(const CUmemAllocationProp *properties, uint64_t size, struct sim_slot *slot) {
  struct physical *physical = calloc(1, sizeof *physical);
  if (physical == NULL) return NULL;
  *physical = (struct physical){.mark = MARK_PHYSICAL, .device = properties->location.id, .slot = slot, .size = size,
                                .references = 1, .properties = *properties};
  return physical;
}

CUresult sim_cuMemCreate(CUmemGenericAllocationHandle *handle, size_t size, const CUmemAllocationProp *properties,
                         unsigned long long flags) {
  CUresult result = check(properties);
  if (result != CUDA_SUCCESS) return result;
  if (handle == NULL || size == 0 || size % GRANULE != 0 || flags != 0) return CUDA_ERROR_INVALID_VALUE;
  state_lock(process_state);
  struct sim_slot *slot = state_slot(process_state, state_tenant());
  state_unlock(process_state);
  if (slot == NULL || !process_charge(slot, properties->location.id, size)) return CUDA_ERROR_OUT_OF_MEMORY;
  struct physical *physical = make(properties, size, slot);
  *handle = (CUmemGenericAllocationHandle)(uintptr_t)physical;
  return physical == NULL ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
}

CUresult sim_cuMemRelease(CUmemGenericAllocationHandle handle) {
  process_lock();
  struct physical *physical = physical_of(handle);
  if (physical != NULL) {
    physical->references--;
    settle(physical);
  }
  process_unlock();
  return physical == NULL ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

CUresult sim_cuMemGetAllocationPropertiesFromHandle(CUmemAllocationProp *properties, CUmemGenericAllocationHandle handle) {
  struct physical *physical = physical_of(handle);
  if (physical == NULL || properties == NULL) return CUDA_ERROR_INVALID_VALUE;
  *properties = physical->properties;
  return CUDA_SUCCESS;
}

/* ---- address ranges ------------------------------------------------------------------ */

CUresult sim_cuMemAddressReserve(CUdeviceptr *address, size_t size, size_t alignment, CUdeviceptr wish,
                                 unsigned long long flags) {
  (void)alignment, (void)wish, (void)flags;
  if (process_ready() != CUDA_SUCCESS) return CUDA_ERROR_NOT_INITIALIZED;
  if (address == NULL || size == 0 || size % GRANULE != 0) return CUDA_ERROR_INVALID_VALUE;
  process_lock();
  struct range *range = memory_take(NULL, RANGE_RESERVED, size);
  if (range != NULL) *address = range->base;
  process_unlock();
  return range == NULL ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
}

static bool overlaps(const struct mapping *mapping, uint64_t base, uint64_t size) {
  return mapping->base < base + size && base < mapping->base + mapping->size;
}

static bool anything_mapped(uint64_t base, uint64_t size) {
  for (size_t i = 0; i < mapping_count; i++)
    if (overlaps(&mappings[i], base, size)) return true;
  return false;
}

CUresult sim_cuMemAddressFree(CUdeviceptr address, size_t size) {
  process_lock();
  struct range *range = memory_find(address);
  bool valid = range != NULL && range->kind == RANGE_RESERVED && range->base == address && range->size == size &&
               !anything_mapped(address, size);
  if (valid) memory_give(range);
  process_unlock();
  return valid ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

/* ---- mapping ---------------------------------------------------------------------------- */

static bool grow(void **list, size_t *room, size_t count, size_t element) {
  if (count < *room) return true;
  size_t more = *room == 0 ? 64 : 2 * *room;
  void *grown = realloc(*list, more * element);
  if (grown == NULL) return false;
  *list = grown;
  *room = more;
  return true;
}

static CUresult map(uint64_t address, uint64_t size, uint64_t offset, struct physical *physical) {
  struct range *range = memory_find(address);
  bool inside = range != NULL && range->kind == RANGE_RESERVED && address + size <= range->base + range->size;
  if (!inside || physical == NULL || offset + size > physical->size) return CUDA_ERROR_INVALID_VALUE;
  if (anything_mapped(address, size)) return CUDA_ERROR_ALREADY_MAPPED;
  if (!grow((void **)&mappings, &mapping_room, mapping_count, sizeof *mappings)) return CUDA_ERROR_OUT_OF_MEMORY;
  mappings[mapping_count++] = (struct mapping){address, size, physical, CU_MEM_ACCESS_FLAGS_PROT_NONE};
  physical->mappings++;
  return CUDA_SUCCESS;
}

CUresult sim_cuMemMap(CUdeviceptr address, size_t size, size_t offset, CUmemGenericAllocationHandle handle,
                      unsigned long long flags) {
  if (size == 0 || size % GRANULE != 0 || address % GRANULE != 0 || flags != 0) return CUDA_ERROR_INVALID_VALUE;
  process_lock();
  CUresult result = map(address, size, offset, physical_of(handle));
  process_unlock();
  return result;
}

/* Whole mappings only, as many as the range covers. */
static CUresult unmap(uint64_t base, uint64_t size) {
  for (size_t i = 0; i < mapping_count; i++)
    if (overlaps(&mappings[i], base, size) &&
        (mappings[i].base < base || mappings[i].base + mappings[i].size > base + size))
      return CUDA_ERROR_INVALID_VALUE;
  size_t kept = 0;
  for (size_t i = 0; i < mapping_count; i++) {
    if (!overlaps(&mappings[i], base, size)) {
      mappings[kept++] = mappings[i];
      continue;
    }
    mappings[i].physical->mappings--;
    settle(mappings[i].physical);
  }
  bool any = kept < mapping_count;
  mapping_count = kept;
  return any ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult sim_cuMemUnmap(CUdeviceptr address, size_t size) {
  process_lock();
  CUresult result = unmap(address, size);
  process_unlock();
  return result;
}

static struct mapping *mapping_at(uint64_t address) {
  for (size_t i = 0; i < mapping_count; i++)
    if (overlaps(&mappings[i], address, 1)) return &mappings[i];
  return NULL;
}

CUresult sim_cuMemSetAccess(CUdeviceptr address, size_t size, const CUmemAccessDesc *list, size_t count) {
  if (list == NULL || count == 0) return CUDA_ERROR_INVALID_VALUE;
  process_lock();
  bool any = anything_mapped(address, size);
  for (size_t i = 0; i < mapping_count; i++)
    if (overlaps(&mappings[i], address, size)) mappings[i].access = list[0].flags;
  process_unlock();
  return any ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult sim_cuMemGetAccess(unsigned long long *flags, const CUmemLocation *location, CUdeviceptr address) {
  (void)location;
  process_lock();
  struct mapping *mapping = mapping_at(address);
  if (mapping != NULL) *flags = mapping->access;
  process_unlock();
  return mapping == NULL ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

CUresult sim_cuMemRetainAllocationHandle(CUmemGenericAllocationHandle *handle, void *address) {
  if (handle == NULL) return CUDA_ERROR_INVALID_VALUE;
  process_lock();
  struct mapping *mapping = mapping_at((uint64_t)address);
  if (mapping != NULL) {
    mapping->physical->references++;
    *handle = (CUmemGenericAllocationHandle)(uintptr_t)mapping->physical;
  }
  process_unlock();
  return mapping == NULL ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

bool vmm_range(uint64_t address, uint64_t *base, uint64_t *size, int *device) {
  struct mapping *mapping = mapping_at(address);
  if (mapping == NULL) return false;
  *base = mapping->base;
  *size = mapping->size;
  *device = mapping->physical->device;
  return true;
}

/* ---- sparse arrays ------------------------------------------------------------------------- */

static unsigned long long piece_key(const CUarrayMapInfo *info) {
  if (info->subresourceType == 1) return 1ULL << 63 | info->subresource.miptail.layer;
  return (unsigned long long)info->subresource.sparseLevel.level << 48 |
         (unsigned long long)(info->subresource.sparseLevel.layer & 0xffffU) << 32 |
         (info->subresource.sparseLevel.offsetX ^ info->subresource.sparseLevel.offsetY << 11 ^
          info->subresource.sparseLevel.offsetZ << 22);
}

static void unmap_piece(CUarray array, unsigned long long key) {
  for (size_t i = 0; i < piece_count; i++) {
    if (pieces[i].array != array || pieces[i].key != key) continue;
    pieces[i].physical->mappings--;
    settle(pieces[i].physical);
    pieces[i] = pieces[--piece_count];
    return;
  }
}

static CUresult map_piece(const CUarrayMapInfo *info) {
  struct physical *physical = physical_of(info->memHandle.memHandle);
  unmap_piece(info->resource.array, piece_key(info));
  if (info->memOperationType == 2) return CUDA_SUCCESS;
  if (physical == NULL) return CUDA_ERROR_INVALID_VALUE;
  if (!grow((void **)&pieces, &piece_room, piece_count, sizeof *pieces)) return CUDA_ERROR_OUT_OF_MEMORY;
  pieces[piece_count++] = (struct sparse){info->resource.array, piece_key(info), physical};
  physical->mappings++;
  return CUDA_SUCCESS;
}

CUresult sim_cuMemMapArrayAsync(CUarrayMapInfo *list, unsigned count, CUstream stream) {
  struct stream_place place;
  CUresult result = stream_place(stream, &place);
  if (result != CUDA_SUCCESS) return result;
  if (list == NULL) return CUDA_ERROR_INVALID_VALUE;
  process_lock();
  for (unsigned i = 0; i < count && result == CUDA_SUCCESS; i++) result = map_piece(&list[i]);
  process_unlock();
  return result;
}

/* ---- sharing by file descriptor -------------------------------------------------------------- */

struct export { /* what the file holds */
  uint64_t size;
  int32_t device, pid;
  struct physical *physical; /* meaningful to process `pid` only */
};

CUresult sim_cuMemExportToShareableHandle(void *out, CUmemGenericAllocationHandle handle, CUmemAllocationHandleType type,
                                          unsigned long long flags) {
  struct physical *physical = physical_of(handle);
  if (physical == NULL || out == NULL || flags != 0) return CUDA_ERROR_INVALID_VALUE;
  if (type != CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR) return CUDA_ERROR_NOT_SUPPORTED;
  if (!(physical->properties.requestedHandleTypes & CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR)) return CUDA_ERROR_INVALID_VALUE;
  struct export content = {physical->size, physical->device, (int32_t)getpid(), physical};
  int fd = memfd_create("cuda-allocation", MFD_CLOEXEC);
  if (fd < 0 || write(fd, &content, sizeof content) != (ssize_t)sizeof content) return CUDA_ERROR_OPERATING_SYSTEM;
  *(int *)out = fd;
  return CUDA_SUCCESS;
}

CUresult sim_cuMemImportFromShareableHandle(CUmemGenericAllocationHandle *handle, void *os_handle, CUmemAllocationHandleType type) {
  struct export content;
  if (process_ready() != CUDA_SUCCESS) return CUDA_ERROR_NOT_INITIALIZED;
  if (handle == NULL || type != CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR) return CUDA_ERROR_INVALID_VALUE;
  int fd = (int)(intptr_t)os_handle;
  if (pread(fd, &content, sizeof content, 0) != (ssize_t)sizeof content) return CUDA_ERROR_INVALID_VALUE;
  if (!device_exists(content.device)) return CUDA_ERROR_INVALID_VALUE;
  process_lock();
  struct physical *physical = content.pid == getpid() ? content.physical : NULL;
  if (physical != NULL && physical->mark == MARK_PHYSICAL) {
    physical->references++;
  } else {
    CUmemAllocationProp properties = {.type = CU_MEM_ALLOCATION_TYPE_PINNED,
                                      .location = {CU_MEM_LOCATION_TYPE_DEVICE, content.device}};
    physical = make(&properties, content.size, NULL);
  }
  process_unlock();
  *handle = (CUmemGenericAllocationHandle)(uintptr_t)physical;
  return physical == NULL ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
}

void vmm_abandon(void) { mapping_count = piece_count = 0; }
