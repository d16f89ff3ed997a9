/* What this process has allocated: address or handle → what was charged for it. */
#ifndef VGPU_POINTERS_H
#define VGPU_POINTERS_H

#include <stdint.h>

struct pointer {
  uint64_t bytes;   /* below 2^44 */
  uint32_t kind;    /* enum vgpu_memory_kind, or POINTER_SPILLED */
  uint32_t device;
  uint32_t context; /* below POINTER_CONTEXTS */
};

enum { POINTER_SPILLED = 7, POINTER_CONTEXTS = 1 << 11 };

/* 0, or -1 when there is no memory for the table. */
int pointers_add(uint64_t key, struct pointer pointer);
/* 1 and removed, or 0: not ours. */
int pointers_take(uint64_t key, struct pointer *pointer);
int pointers_find(uint64_t key, struct pointer *pointer);
/* Takes out all that a context held, handing each to `each`. */
void pointers_take_context(uint32_t context, void (*each)(struct pointer));
void pointers_after_fork(void);

#endif
