/* cuMemCreate, cuMemMap and what undoes them.
 *
 * Releasing a handle frees nothing while the memory is mapped, and a handle's
 * value may be given out again while the old memory lives on. So the books keep
 * blocks, to which handles and mapped ranges point.
 */
#include "vmm.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

#include "guest.h"
#include "memory.h"
#include "real.h"

struct block {
  struct block *next;
  struct charge charge;
  CUmemGenericAllocationHandle handle; /* 0: released for good */
  uint32_t references;
  uint32_t mappings;
};

struct range {
  struct range *next;
  CUdeviceptr start;
  size_t size;
  struct block *block;
};

enum { CHAINS = 1024 };

static struct block *blocks[CHAINS]; /* by handle; released ones stay where they were */
static struct range *ranges[CHAINS]; /* by start */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static size_t chain(uint64_t key) { return (size_t)(key * 0x9e3779b97f4a7c15u >> 54); }

/* The child's driver knows nothing of them, and malloc may be locked: let them lie. */
void vmm_after_fork(void) {
  pthread_mutex_init(&lock, NULL);
  for (size_t i = 0; i < CHAINS; i++) {
    blocks[i] = NULL;
    ranges[i] = NULL;
  }
}

static struct block *find_block(CUmemGenericAllocationHandle handle) {
  struct block *block = blocks[chain(handle)];
  while (block && (block->handle != handle || !block->references)) block = block->next;
  return block;
}

static struct range *find_range(CUdeviceptr start) {
  struct range *range = ranges[chain(start)];
  while (range && range->start != start) range = range->next;
  return range;
}

static void remember_block(const struct charge *charge, CUmemGenericAllocationHandle handle) {
  struct block *block = malloc(sizeof *block); /* without it the charge simply stays */
  if (!block) return;
  *block = (struct block){.charge = *charge, .handle = handle, .references = 1};
  pthread_mutex_lock(&lock);
  block->next = blocks[chain(handle)];
  blocks[chain(handle)] = block;
  pthread_mutex_unlock(&lock);
}

static void drop_if_unused(struct block *block) {
  if (block->references || block->mappings) return;
  struct block **at = &blocks[chain(block->handle)];
  while (*at != block) at = &(*at)->next;
  *at = block->next;
  memory_give_back(&block->charge);
  free(block);
}

static uint32_t device_of(const CUmemAllocationProp *prop) {
  return prop->location.type == CU_MEM_LOCATION_TYPE_DEVICE ? guest_device(prop->location.id)
                                                            : VGPU_DEVICES_MAX;
}

CUresult cuMemCreate(CUmemGenericAllocationHandle *handle, size_t size, const CUmemAllocationProp *prop,
                     unsigned long long flags) {
  struct charge charge;
  int on_device = prop && prop->location.type == CU_MEM_LOCATION_TYPE_DEVICE;
  if (!on_device || guest_enter() == GUEST_FREE) return real()->cuMemCreate(handle, size, prop, flags);
  CUresult refused = memory_reserve_on(&charge, VGPU_MEMORY_VMM, size, device_of(prop));
  if (refused) return refused;
  CUresult result = real()->cuMemCreate(handle, size, prop, flags);
  if (result)
    memory_give_back(&charge);
  else
    remember_block(&charge, *handle);
  return result;
}

CUresult cuMemRelease(CUmemGenericAllocationHandle handle) {
  CUresult result;
  pthread_mutex_lock(&lock); /* over the call: the handle may be another's right after it */
  struct block *block = find_block(handle);
  result = real()->cuMemRelease(handle);
  if (block && !result) {
    block->references--;
    drop_if_unused(block);
  }
  pthread_mutex_unlock(&lock);
  return result;
}

static void remember_range(CUdeviceptr start, size_t size, struct block *block) {
  struct range *range = malloc(sizeof *range);
  block->mappings++;
  if (!range) return; /* then the block never comes to zero: counted too much, not too little */
  *range = (struct range){.next = ranges[chain(start)], .start = start, .size = size, .block = block};
  ranges[chain(start)] = range;
}

CUresult cuMemMap(CUdeviceptr ptr, size_t size, size_t offset, CUmemGenericAllocationHandle handle,
                  unsigned long long flags) {
  pthread_mutex_lock(&lock);
  struct block *block = find_block(handle);
  CUresult result = real()->cuMemMap(ptr, size, offset, handle, flags);
  if (block && !result) remember_range(ptr, size, block);
  pthread_mutex_unlock(&lock);
  return result;
}

static void forget_range(struct range *range) {
  struct range **at = &ranges[chain(range->start)];
  while (*at != range) at = &(*at)->next;
  *at = range->next;
  range->block->mappings--;
  drop_if_unused(range->block);
  free(range);
}

/* One call may unmap several ranges that lie side by side. Looking up every start
 * would walk the whole span; the ranges that we know are fewer. */
static void forget_ranges(CUdeviceptr start, size_t size) {
  struct range *exact = find_range(start);
  if (exact && exact->size == size) {
    forget_range(exact);
    return;
  }
  for (size_t i = 0; i < CHAINS; i++)
    for (struct range *range = ranges[i], *next; range; range = next) {
      next = range->next;
      if (range->start >= start && range->start - start < size) forget_range(range);
    }
}

CUresult cuMemUnmap(CUdeviceptr ptr, size_t size) {
  pthread_mutex_lock(&lock);
  CUresult result = real()->cuMemUnmap(ptr, size);
  if (!result) forget_ranges(ptr, size);
  pthread_mutex_unlock(&lock);
  return result;
}

static struct block *block_at(CUdeviceptr address) {
  for (size_t i = 0; i < CHAINS; i++)
    for (struct range *range = ranges[i]; range; range = range->next)
      if (address >= range->start && address - range->start < range->size) return range->block;
  return NULL;
}

/* A new reference, under the old handle's value or another. */
static void retain(struct block *block, CUmemGenericAllocationHandle handle) {
  struct block **at = &blocks[chain(block->handle)];
  while (*at != block) at = &(*at)->next;
  *at = block->next;
  block->handle = handle;
  block->references++;
  block->next = blocks[chain(handle)];
  blocks[chain(handle)] = block;
}

CUresult cuMemRetainAllocationHandle(CUmemGenericAllocationHandle *handle, void *address) {
  pthread_mutex_lock(&lock);
  CUresult result = real()->cuMemRetainAllocationHandle(handle, address);
  struct block *block = result ? NULL : block_at((CUdeviceptr)(uintptr_t)address);
  if (block) retain(block, *handle);
  pthread_mutex_unlock(&lock);
  return result;
}

/* Tiles of sparse arrays. The driver keeps what is mapped there alive, and there
 * is no address to count it under: a block mapped once this way stays charged
 * until it is released and unmapped as often. */
static void count_tiles(const CUarrayMapInfo *list, unsigned count) {
  enum { MAP = 1 };
  for (unsigned i = 0; i < count; i++) {
    struct block *block = find_block(list[i].memHandle.memHandle);
    if (!block) continue;
    if (list[i].memOperationType == MAP)
      block->mappings++;
    else if (block->mappings)
      block->mappings--;
    drop_if_unused(block);
  }
}

typedef CUresult (*map_array_function)(CUarrayMapInfo *, unsigned, CUstream);

static CUresult map_array(CUarrayMapInfo *list, unsigned count, CUstream stream, map_array_function forward) {
  pthread_mutex_lock(&lock);
  CUresult result = forward(list, count, stream);
  if (!result) count_tiles(list, count);
  pthread_mutex_unlock(&lock);
  return result;
}

CUresult cuMemMapArrayAsync(CUarrayMapInfo *list, unsigned count, CUstream stream) {
  return map_array(list, count, stream, real()->cuMemMapArrayAsync);
}

CUresult cuMemMapArrayAsync_ptsz(CUarrayMapInfo *list, unsigned count, CUstream stream) {
  return map_array(list, count, stream, real()->cuMemMapArrayAsync_ptsz);
}
