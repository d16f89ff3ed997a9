/* Reserve, call, commit or give back: the way every allocation goes. */
#ifndef VGPU_MEMORY_H
#define VGPU_MEMORY_H

#include "cuda_abi.h"
#include "vgpu_region.h"

/* What is reserved for a call under way. */
struct charge {
  uint64_t bytes;
  uint32_t device;  /* VGPU_DEVICES_MAX: nothing is charged */
  uint32_t context;
  enum vgpu_memory_kind kind;
};

/* On the current context's device; CUDA_SUCCESS, or what the application gets. */
CUresult memory_reserve(struct charge *charge, enum vgpu_memory_kind kind, uint64_t bytes);
CUresult memory_reserve_on(struct charge *charge, enum vgpu_memory_kind kind, uint64_t bytes,
                           uint32_t device);
/* Changes what is reserved to what the driver really took; CUDA_ERROR_OUT_OF_MEMORY
 * when that does not fit, and the charge is as before. */
CUresult memory_resize(struct charge *charge, uint64_t bytes);
void memory_give_back(const struct charge *charge);
/* Books the charge under its address or handle if the driver agreed, else gives
 * it back; hands on the driver's result. */
CUresult memory_commit(const struct charge *charge, CUresult result, uint64_t key);
/* Frees by `key`: what was booked comes off when the driver has agreed. */
struct pointer;
int memory_detach(uint64_t key, struct pointer *pointer);
void memory_settle_free(uint64_t key, const struct pointer *pointer, CUresult result);

/* Without asking: memory that the driver took already. Below zero gives back. */
void memory_adjust(uint32_t device, enum vgpu_memory_kind kind, int64_t change);

/* Everything that died with a context. */
void memory_forget_context(uint32_t context);
void memory_after_fork(void);

/* Total and used as the application sees them; 0: ask the driver instead. */
int memory_view(uint32_t device, uint64_t *total, uint64_t *used);

#endif
