/* The address space and what pieces of it cost; the entry points are in linear.c and pointer.c. */
#include "memory.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

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

/* ---- fork ------------------------------------------------------------ */

/* The address space stays mapped, and is handed out anew. */
void memory_abandon(void) {
  if (arena != 0) arena_next = memory_granules(arena);
  range_count = 0;
  for (int class = 0; class < CLASSES; class++) vacant[class].count = 0;
  memset(small_bytes, 0, sizeof small_bytes);
  memset(small_charged, 0, sizeof small_charged);
}
