/* Arrays and mipmapped arrays: opaque storage whose size only the driver knows. */
#include <stdlib.h>

#include "memory.h"

enum { ALIGNMENT = 64 << 10 };

struct CUarray_st {
  uint32_t mark;
  CUDA_ARRAY3D_DESCRIPTOR shape;
  uint64_t bytes, storage; /* storage: address of the range, 0: sparse or deferred */
};

struct CUmipmappedArray_st {
  uint32_t mark;
  CUDA_ARRAY3D_DESCRIPTOR shape;
  unsigned levels;
  uint64_t bytes, storage;
  struct CUarray_st level[16];
};

static uint64_t element_bytes(CUarray_format format) {
  switch (format) {
    case CU_AD_FORMAT_UNSIGNED_INT8:
    case CU_AD_FORMAT_SIGNED_INT8: return 1;
    case CU_AD_FORMAT_UNSIGNED_INT16:
    case CU_AD_FORMAT_SIGNED_INT16:
    case CU_AD_FORMAT_HALF: return 2;
    case CU_AD_FORMAT_UNSIGNED_INT32:
    case CU_AD_FORMAT_SIGNED_INT32:
    case CU_AD_FORMAT_FLOAT: return 4;
    default: return 0;
  }
}

static bool is_shape(const CUDA_ARRAY3D_DESCRIPTOR *shape) {
  if (shape == NULL || shape->Width == 0 || element_bytes(shape->Format) == 0) return false;
  return shape->NumChannels == 1 || shape->NumChannels == 2 || shape->NumChannels == 4;
}

static uint64_t at_least_one(uint64_t extent) { return extent == 0 ? 1 : extent; }

static uint64_t bytes_at(const CUDA_ARRAY3D_DESCRIPTOR *shape, unsigned level) {
  uint64_t width = at_least_one(shape->Width >> level), height = at_least_one(shape->Height >> level);
  bool layered = (shape->Flags & CUDA_ARRAY3D_LAYERED) != 0;
  uint64_t depth = at_least_one(layered ? shape->Depth : shape->Depth >> level);
  uint64_t bytes = width * height * depth * shape->NumChannels * element_bytes(shape->Format);
  return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static bool has_storage(const CUDA_ARRAY3D_DESCRIPTOR *shape) {
  return (shape->Flags & (CUDA_ARRAY3D_SPARSE | CUDA_ARRAY3D_DEFERRED_MAPPING)) == 0;
}

static CUresult take_storage(const CUDA_ARRAY3D_DESCRIPTOR *shape, uint64_t bytes, uint64_t *storage) {
  struct CUctx_st *context;
  struct range *range;
  CUresult result = context_current(&context);
  *storage = 0;
  if (result != CUDA_SUCCESS || !has_storage(shape)) return result;
  process_lock();
  result = memory_allocate(context, RANGE_INNER, bytes, &range);
  if (result == CUDA_SUCCESS) *storage = range->base;
  process_unlock();
  return result;
}

static void give_storage(uint64_t storage) {
  if (storage == 0) return;
  process_lock();
  struct range *range = memory_find(storage); /* gone already if its context is */
  if (range != NULL && range->kind == RANGE_INNER && range->base == storage) memory_free(range);
  process_unlock();
}

/* ---- arrays ------------------------------------------------------------------------ */

CUresult sim_cuArray3DCreate_v2(CUarray *array, const CUDA_ARRAY3D_DESCRIPTOR *shape) {
  if (array == NULL || !is_shape(shape)) return CUDA_ERROR_INVALID_VALUE;
  struct CUarray_st *made = calloc(1, sizeof *made);
  if (made == NULL) return CUDA_ERROR_OUT_OF_MEMORY;
  *made = (struct CUarray_st){.mark = MARK_ARRAY, .shape = *shape, .bytes = bytes_at(shape, 0)};
  CUresult result = take_storage(shape, made->bytes, &made->storage);
  if (result != CUDA_SUCCESS) return free(made), result;
  *array = made;
  return CUDA_SUCCESS;
}

CUresult sim_cuArrayCreate_v2(CUarray *array, const CUDA_ARRAY_DESCRIPTOR *shape) {
  if (shape == NULL) return CUDA_ERROR_INVALID_VALUE;
  CUDA_ARRAY3D_DESCRIPTOR full = {shape->Width, shape->Height, 0, shape->Format, shape->NumChannels, 0};
  return sim_cuArray3DCreate_v2(array, &full);
}

CUresult sim_cuArrayCreate(CUarray *array, const CUDA_ARRAY_DESCRIPTOR_v1 *shape) {
  if (shape == NULL) return CUDA_ERROR_INVALID_VALUE;
  CUDA_ARRAY3D_DESCRIPTOR full = {shape->Width, shape->Height, 0, shape->Format, shape->NumChannels, 0};
  return sim_cuArray3DCreate_v2(array, &full);
}

CUresult sim_cuArray3DCreate(CUarray *array, const CUDA_ARRAY3D_DESCRIPTOR_v1 *shape) {
  if (shape == NULL) return CUDA_ERROR_INVALID_VALUE;
  CUDA_ARRAY3D_DESCRIPTOR full = {shape->Width, shape->Height, shape->Depth, shape->Format, shape->NumChannels, shape->Flags};
  return sim_cuArray3DCreate_v2(array, &full);
}

static bool is_array(CUarray array) { return array != NULL && array->mark == MARK_ARRAY; }

CUresult sim_cuArrayDestroy(CUarray array) {
  if (!is_array(array)) return CUDA_ERROR_INVALID_HANDLE;
  give_storage(array->storage);
  array->mark = MARK_DEAD;
  free(array);
  return CUDA_SUCCESS;
}

CUresult sim_cuArray3DGetDescriptor_v2(CUDA_ARRAY3D_DESCRIPTOR *shape, CUarray array) {
  if (shape == NULL || !is_array(array)) return CUDA_ERROR_INVALID_HANDLE;
  *shape = array->shape;
  return CUDA_SUCCESS;
}

CUresult sim_cuArrayGetDescriptor_v2(CUDA_ARRAY_DESCRIPTOR *shape, CUarray array) {
  if (shape == NULL || !is_array(array)) return CUDA_ERROR_INVALID_HANDLE;
  *shape = (CUDA_ARRAY_DESCRIPTOR){array->shape.Width, array->shape.Height, array->shape.Format, array->shape.NumChannels};
  return CUDA_SUCCESS;
}

CUresult sim_cuArrayGetMemoryRequirements(CUDA_ARRAY_MEMORY_REQUIREMENTS *needs, CUarray array, CUdevice device) {
  if (needs == NULL || !is_array(array) || !device_exists(device)) return CUDA_ERROR_INVALID_VALUE;
  *needs = (CUDA_ARRAY_MEMORY_REQUIREMENTS){.size = array->bytes, .alignment = ALIGNMENT};
  return CUDA_SUCCESS;
}

/* ---- mipmaps -------------------------------------------------------------------------- */

static bool is_mipmap(CUmipmappedArray mipmap) { return mipmap != NULL && mipmap->mark == MARK_MIPMAP; }

static CUDA_ARRAY3D_DESCRIPTOR level_shape(const CUDA_ARRAY3D_DESCRIPTOR *shape, unsigned level) {
  CUDA_ARRAY3D_DESCRIPTOR at = *shape;
  at.Width = at_least_one(shape->Width >> level);
  at.Height = shape->Height == 0 ? 0 : at_least_one(shape->Height >> level);
  if (!(shape->Flags & CUDA_ARRAY3D_LAYERED)) at.Depth = shape->Depth == 0 ? 0 : at_least_one(shape->Depth >> level);
  return at;
}

CUresult sim_cuMipmappedArrayCreate(CUmipmappedArray *mipmap, const CUDA_ARRAY3D_DESCRIPTOR *shape, unsigned levels) {
  if (mipmap == NULL || !is_shape(shape) || levels == 0 || levels > 16) return CUDA_ERROR_INVALID_VALUE;
  struct CUmipmappedArray_st *made = calloc(1, sizeof *made);
  if (made == NULL) return CUDA_ERROR_OUT_OF_MEMORY;
  made->mark = MARK_MIPMAP;
  made->shape = *shape;
  made->levels = levels;
  for (unsigned i = 0; i < levels; i++) {
    made->level[i] = (struct CUarray_st){.mark = MARK_ARRAY, .shape = level_shape(shape, i), .bytes = bytes_at(shape, i)};
    made->bytes += made->level[i].bytes;
  }
  CUresult result = take_storage(shape, made->bytes, &made->storage);
  if (result != CUDA_SUCCESS) return free(made), result;
  *mipmap = made;
  return CUDA_SUCCESS;
}

CUresult sim_cuMipmappedArrayDestroy(CUmipmappedArray mipmap) {
  if (!is_mipmap(mipmap)) return CUDA_ERROR_INVALID_HANDLE;
  give_storage(mipmap->storage);
  mipmap->mark = MARK_DEAD;
  free(mipmap);
  return CUDA_SUCCESS;
}

CUresult sim_cuMipmappedArrayGetLevel(CUarray *array, CUmipmappedArray mipmap, unsigned level) {
  if (array == NULL || !is_mipmap(mipmap) || level >= mipmap->levels) return CUDA_ERROR_INVALID_VALUE;
  *array = &mipmap->level[level];
  return CUDA_SUCCESS;
}

CUresult sim_cuMipmappedArrayGetMemoryRequirements(CUDA_ARRAY_MEMORY_REQUIREMENTS *needs, CUmipmappedArray mipmap,
                                                   CUdevice device) {
  if (needs == NULL || !is_mipmap(mipmap) || !device_exists(device)) return CUDA_ERROR_INVALID_VALUE;
  *needs = (CUDA_ARRAY_MEMORY_REQUIREMENTS){.size = mipmap->bytes, .alignment = ALIGNMENT};
  return CUDA_SUCCESS;
}
