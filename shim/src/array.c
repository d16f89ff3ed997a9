/* Arrays and mipmaps: reserved by what they must hold, corrected to what the
 * driver says they take. Sparse and deferred ones hold nothing by themselves. */
#include "guest.h"
#include "memory.h"
#include "pointers.h"
#include "real.h"

static uint64_t bytes_per_component(CUarray_format format) {
  switch (format) {
    case CU_AD_FORMAT_UNSIGNED_INT8:
    case CU_AD_FORMAT_SIGNED_INT8: return 1;
    case CU_AD_FORMAT_UNSIGNED_INT16:
    case CU_AD_FORMAT_SIGNED_INT16:
    case CU_AD_FORMAT_HALF: return 2;
    default: return 4; /* packed and block-compressed formats take less: corrected later */
  }
}

static uint64_t at_least_one(uint64_t extent) { return extent ? extent : 1; }

static uint64_t level_bytes(const CUDA_ARRAY3D_DESCRIPTOR *shape, unsigned level) {
  int layered = shape->Flags & CUDA_ARRAY3D_LAYERED; /* then depth counts layers */
  uint64_t depth = layered ? shape->Depth : shape->Depth >> level;
  return at_least_one(shape->Width >> level) * at_least_one(shape->Height >> level) * at_least_one(depth) *
         at_least_one(shape->NumChannels) * bytes_per_component(shape->Format);
}

static uint64_t expected_bytes(const CUDA_ARRAY3D_DESCRIPTOR *shape, unsigned levels) {
  uint64_t sum = 0;
  if (shape->Flags & (CUDA_ARRAY3D_SPARSE | CUDA_ARRAY3D_DEFERRED_MAPPING)) return 0;
  for (unsigned level = 0; level < levels && level < 32; level++) sum += level_bytes(shape, level);
  return sum;
}

/* What the driver says, or what was expected where it cannot say (before 11.6). */
static CUresult correct(struct charge *charge, CUresult asked, const CUDA_ARRAY_MEMORY_REQUIREMENTS *needs) {
  return !charge->bytes || asked ? CUDA_SUCCESS : memory_resize(charge, needs->size);
}

static CUdevice ordinal_of(const struct charge *charge) {
  return charge->device < VGPU_DEVICES_MAX ? guest_ordinal(charge->device) : -1;
}

static CUresult book_array(struct charge *charge, CUresult result, const CUarray *array) {
  CUDA_ARRAY_MEMORY_REQUIREMENTS needs;
  if (charge->device >= VGPU_DEVICES_MAX) return result;
  if (!result &&
      correct(charge, real()->cuArrayGetMemoryRequirements(&needs, *array, ordinal_of(charge)), &needs)) {
    real()->cuArrayDestroy(*array);
    result = CUDA_ERROR_OUT_OF_MEMORY;
  }
  return memory_commit(charge, result, result ? 0 : (uint64_t)(uintptr_t)*array);
}

static CUDA_ARRAY3D_DESCRIPTOR widen(const CUDA_ARRAY3D_DESCRIPTOR_v1 *shape) {
  return (CUDA_ARRAY3D_DESCRIPTOR){.Width = shape->Width, .Height = shape->Height, .Depth = shape->Depth,
                                   .Format = shape->Format, .NumChannels = shape->NumChannels,
                                   .Flags = shape->Flags};
}

static CUresult reserve(struct charge *charge, const CUDA_ARRAY3D_DESCRIPTOR *shape, unsigned levels) {
  return memory_reserve(charge, VGPU_MEMORY_ARRAY, expected_bytes(shape, levels));
}

CUresult cuArrayCreate(CUarray *array, const CUDA_ARRAY_DESCRIPTOR_v1 *shape) {
  struct charge charge;
  if (!shape) return real()->cuArrayCreate(array, shape);
  CUDA_ARRAY3D_DESCRIPTOR wide = {.Width = shape->Width, .Height = shape->Height, .Format = shape->Format,
                                  .NumChannels = shape->NumChannels};
  CUresult refused = reserve(&charge, &wide, 1);
  return refused ? refused : book_array(&charge, real()->cuArrayCreate(array, shape), array);
}

CUresult cuArrayCreate_v2(CUarray *array, const CUDA_ARRAY_DESCRIPTOR *shape) {
  struct charge charge;
  if (!shape) return real()->cuArrayCreate_v2(array, shape);
  CUDA_ARRAY3D_DESCRIPTOR wide = {.Width = shape->Width, .Height = shape->Height, .Format = shape->Format,
                                  .NumChannels = shape->NumChannels};
  CUresult refused = reserve(&charge, &wide, 1);
  return refused ? refused : book_array(&charge, real()->cuArrayCreate_v2(array, shape), array);
}

CUresult cuArray3DCreate(CUarray *array, const CUDA_ARRAY3D_DESCRIPTOR_v1 *shape) {
  struct charge charge;
  if (!shape) return real()->cuArray3DCreate(array, shape);
  CUDA_ARRAY3D_DESCRIPTOR wide = widen(shape);
  CUresult refused = reserve(&charge, &wide, 1);
  return refused ? refused : book_array(&charge, real()->cuArray3DCreate(array, shape), array);
}

CUresult cuArray3DCreate_v2(CUarray *array, const CUDA_ARRAY3D_DESCRIPTOR *shape) {
  struct charge charge;
  if (!shape) return real()->cuArray3DCreate_v2(array, shape);
  CUresult refused = reserve(&charge, shape, 1);
  return refused ? refused : book_array(&charge, real()->cuArray3DCreate_v2(array, shape), array);
}

CUresult cuArrayDestroy(CUarray array) {
  struct pointer pointer;
  uint64_t key = (uint64_t)(uintptr_t)array;
  int booked = memory_detach(key, &pointer);
  CUresult result = real()->cuArrayDestroy(array);
  if (booked) memory_settle_free(key, &pointer, result);
  return result;
}

CUresult cuMipmappedArrayCreate(CUmipmappedArray *mipmap, const CUDA_ARRAY3D_DESCRIPTOR *shape, unsigned levels) {
  struct charge charge;
  CUDA_ARRAY_MEMORY_REQUIREMENTS needs;
  if (!shape) return real()->cuMipmappedArrayCreate(mipmap, shape, levels);
  CUresult refused = reserve(&charge, shape, levels);
  if (refused) return refused;
  CUresult result = real()->cuMipmappedArrayCreate(mipmap, shape, levels);
  if (charge.device >= VGPU_DEVICES_MAX) return result;
  if (!result && correct(&charge, real()->cuMipmappedArrayGetMemoryRequirements(&needs, *mipmap,
                                                                               ordinal_of(&charge)), &needs)) {
    real()->cuMipmappedArrayDestroy(*mipmap);
    result = CUDA_ERROR_OUT_OF_MEMORY;
  }
  return memory_commit(&charge, result, result ? 0 : (uint64_t)(uintptr_t)*mipmap);
}

CUresult cuMipmappedArrayDestroy(CUmipmappedArray mipmap) {
  struct pointer pointer;
  uint64_t key = (uint64_t)(uintptr_t)mipmap;
  int booked = memory_detach(key, &pointer);
  CUresult result = real()->cuMipmappedArrayDestroy(mipmap);
  if (booked) memory_settle_free(key, &pointer, result);
  return result;
}
