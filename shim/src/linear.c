/* cuMemAlloc and its family, and cuMemFree.
 *
 * A free is always forwarded: a pointer that is not in our books may be a
 * stream-ordered allocation, an imported one or another library's, and only the
 * driver can say.
 */
#include "guest.h"
#include "memory.h"
#include "pointers.h"
#include "pool.h"
#include "real.h"
#include "spill.h"

enum { PITCH_ALIGNMENT = 512 };

CUresult cuMemAlloc(CUdeviceptr_v1 *ptr, unsigned size) {
  struct charge charge;
  CUresult refused = memory_reserve(&charge, VGPU_MEMORY_LINEAR, size);
  if (refused) return refused;
  CUresult result = real()->cuMemAlloc(ptr, size);
  return memory_commit(&charge, result, result ? 0 : *ptr);
}

CUresult cuMemAlloc_v2(CUdeviceptr *ptr, size_t size) {
  struct charge charge;
  CUresult refused = memory_reserve(&charge, VGPU_MEMORY_LINEAR, size);
  if (refused) return refused == CUDA_ERROR_OUT_OF_MEMORY ? spill_allocate(ptr, size) : refused;
  CUresult result = real()->cuMemAlloc_v2(ptr, size);
  return memory_commit(&charge, result, result ? 0 : *ptr);
}

/* The pitch is the driver's choice: reserve for the usual one, then correct. What
 * turns out not to fit is freed again. */
static uint64_t usual_pitch(uint64_t width) {
  return (width + PITCH_ALIGNMENT - 1) / PITCH_ALIGNMENT * PITCH_ALIGNMENT;
}

CUresult cuMemAllocPitch(CUdeviceptr_v1 *ptr, unsigned *pitch, unsigned width, unsigned height,
                         unsigned element) {
  struct charge charge;
  CUresult refused = memory_reserve(&charge, VGPU_MEMORY_LINEAR, usual_pitch(width) * height);
  if (refused) return refused;
  CUresult result = real()->cuMemAllocPitch(ptr, pitch, width, height, element);
  if (!result && memory_resize(&charge, (uint64_t)*pitch * height)) {
    real()->cuMemFree(*ptr);
    result = CUDA_ERROR_OUT_OF_MEMORY;
  }
  return memory_commit(&charge, result, result ? 0 : *ptr);
}

CUresult cuMemAllocPitch_v2(CUdeviceptr *ptr, size_t *pitch, size_t width, size_t height,
                            unsigned element) {
  struct charge charge;
  CUresult refused = memory_reserve(&charge, VGPU_MEMORY_LINEAR, usual_pitch(width) * height);
  if (refused) return refused;
  CUresult result = real()->cuMemAllocPitch_v2(ptr, pitch, width, height, element);
  if (!result && memory_resize(&charge, *pitch * height)) {
    real()->cuMemFree_v2(*ptr);
    result = CUDA_ERROR_OUT_OF_MEMORY;
  }
  return memory_commit(&charge, result, result ? 0 : *ptr);
}

CUresult cuMemAllocManaged(CUdeviceptr *ptr, size_t size, unsigned flags) {
  struct charge charge;
  CUresult refused = memory_reserve(&charge, VGPU_MEMORY_MANAGED, size);
  if (refused) return refused;
  CUresult result = real()->cuMemAllocManaged(ptr, size, flags);
  return memory_commit(&charge, result, result ? 0 : *ptr);
}

CUresult cuMemFree(CUdeviceptr_v1 ptr) {
  struct pointer pointer;
  int booked = memory_detach(ptr, &pointer);
  CUresult result = real()->cuMemFree(ptr);
  if (booked) memory_settle_free(ptr, &pointer, result);
  return result;
}

CUresult cuMemFree_v2(CUdeviceptr ptr) {
  struct pointer pointer;
  int booked = memory_detach(ptr, &pointer);
  CUresult result = real()->cuMemFree_v2(ptr);
  if (booked)
    memory_settle_free(ptr, &pointer, result);
  else
    pools_refresh(); /* cuMemFree is legal for what a pool gave */
  return result;
}
