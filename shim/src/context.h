/* The contexts of this process: which device each is on, and what dies with it. */
#ifndef VGPU_CONTEXT_H
#define VGPU_CONTEXT_H

#include "cuda_abi.h"

struct context {
  uint32_t index;  /* below POINTER_CONTEXTS, 0 = none is current */
  uint32_t device; /* of our pages; VGPU_DEVICES_MAX: not the slice's */
};

/* The calling thread's current context; index 0 when there is none. */
struct context context_current(void);
/* The number a context's memory is booked under; 0: never seen. */
uint32_t context_index(CUcontext handle);
/* A context was made: to be told of each. */
void context_made(void);
/* One is gone, and its number may go to another one. */
void context_forget(uint32_t index);
void context_after_fork(void);

#endif
