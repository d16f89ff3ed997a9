/* Pools, as other kinds of memory need them: graphs allocate from one, waiting frees. */
#ifndef SIM_POOL_H
#define SIM_POOL_H

#include "process.h"

CUmemoryPool pool_default(int device);
CUmemoryPool pool_current(int device);
CUresult pool_allocate(CUmemoryPool pool, struct CUctx_st *context, uint64_t size, CUdeviceptr *address);

/* A synchronisation: every pool gives back what exceeds its threshold. */
void pools_release(void);

/* linear.c: an address that nobody keeps, for minimal work. */
CUresult memory_minimal(CUdeviceptr *address, uint64_t size);
/* memory.c */
void memory_forget_pool(CUmemoryPool pool);

/* capture.c: the same calls in a capturing stream become nodes. */
CUresult capture_allocation(struct CUstream_st *stream, uint64_t size, CUdeviceptr *address);
CUresult capture_free(struct CUstream_st *stream, CUdeviceptr address);

#endif
