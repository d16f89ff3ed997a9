/* The process's device address space: ranges of real, lazily backed host memory that
 * stand for device memory, so that copies move bytes. Guarded by process_lock().
 */
#ifndef SIM_MEMORY_H
#define SIM_MEMORY_H

#include "process.h"

enum range_kind {
  RANGE_FREE,
  RANGE_LINEAR,   /* cuMemAlloc, cuMemAllocPitch */
  RANGE_MANAGED,
  RANGE_POOL,     /* cuMemAllocAsync and graph memory */
  RANGE_GRAPH,    /* an allocation node's; its graph pays */
  RANGE_HOST,     /* pinned */
  RANGE_RESERVED, /* cuMemAddressReserve */
  RANGE_SHARED,   /* opened from elsewhere: charged to its owner */
  RANGE_INNER     /* an array's storage: not an address for the application */
};

struct range {
  uint64_t base, size; /* as asked for */
  uint64_t room;       /* what its place in the address space can hold */
  uint64_t charged;    /* physical bytes */
  enum range_kind kind;
  struct CUctx_st *context;
  struct CUmemPoolHandle_st *pool;
  unsigned flags;
  uint64_t id;
};

enum { SMALL_LIMIT = 1 << 20, GRANULE = 2 << 20 };

/* Physical bytes of an allocation of its own. */
static inline uint64_t memory_granules(uint64_t size) { return (size + GRANULE - 1) / GRANULE * GRANULE; }

/* A place of that size; NULL: address space or host memory exhausted. Charges nothing. */
struct range *memory_take(struct CUctx_st *context, enum range_kind kind, uint64_t size);
void memory_give(struct range *range);
/* The range an address lies in, or NULL. */
struct range *memory_find(uint64_t address);

/* Takes and charges. Small allocations of a process share granules. */
CUresult memory_allocate(struct CUctx_st *context, enum range_kind kind, uint64_t size, struct range **out);
void memory_free(struct range *range);

/* pool.c */
CUresult pool_free(struct range *range);
void pools_forget(struct CUctx_st *context);
/* vmm.c */
bool vmm_range(uint64_t address, uint64_t *base, uint64_t *size, int *device);

#endif
