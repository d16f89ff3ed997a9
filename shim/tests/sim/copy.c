/* Copies and sets. They move bytes at once, and take the time the option
 * copy_bytes_per_us gives them. The synchronous ones wait for the stream first.
 */
#include <string.h>

#include "engine.h"
#include "graph.h"
#include "memory.h"

enum { HALF_GPU = 500 };

static uint64_t copy_duration(uint64_t bytes) {
  uint64_t bandwidth = option_value(process_state, OPTION_copy_bytes_per_us);
  return bandwidth == 0 ? 0 : bytes * 1000 / bandwidth;
}

/* 1: queued, the bytes may be moved; 0: captured or minimal; the result says whether all is well. */
static CUresult queue(CUstream stream, uint64_t bytes, bool *move) {
  struct stream_place place;
  CUresult result = stream_place(stream, &place);
  *move = result == CUDA_SUCCESS && !process_minimal;
  if (!*move) return result;
  if (place.handle != NULL && place.handle->capture != NULL) {
    *move = false;
    return capture_copy(place.handle, copy_duration(bytes));
  }
  uint64_t duration = copy_duration(bytes);
  if (duration == 0) return CUDA_SUCCESS;
  struct sim_item item = {.kind = ITEM_WORK, .remaining = duration, .share = HALF_GPU};
  return stream_submit(&place, item, NULL);
}

static CUresult finish(CUstream stream) {
  struct stream_place place;
  CUresult result = stream_place(stream, &place);
  return result == CUDA_SUCCESS && !process_minimal ? stream_wait(&place) : result;
}

static bool is_device_address(CUdeviceptr address, uint64_t bytes) {
  process_lock();
  struct range *range = memory_find(address);
  bool inside = range != NULL && address + bytes <= range->base + range->size;
  process_unlock();
  return inside;
}

enum side { HOST, DEVICE, EITHER };

static bool usable(enum side side, uint64_t address, uint64_t bytes) {
  return address != 0 && (side != DEVICE || is_device_address(address, bytes));
}

static CUresult copy(uint64_t to, enum side to_side, uint64_t from, enum side from_side, size_t bytes, CUstream stream) {
  bool move;
  if (bytes == 0) return process_ready();
  if (!process_minimal && (!usable(to_side, to, bytes) || !usable(from_side, from, bytes)))
    return process_ready() == CUDA_SUCCESS ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_NOT_INITIALIZED;
  CUresult result = queue(stream, bytes, &move);
  if (result == CUDA_SUCCESS && move) memmove((void *)to, (const void *)from, bytes);
  return result;
}

static CUresult copy_now(uint64_t to, enum side to_side, uint64_t from, enum side from_side, size_t bytes) {
  CUresult result = copy(to, to_side, from, from_side, bytes, NULL);
  return result == CUDA_SUCCESS ? finish(NULL) : result;
}

CUresult sim_cuMemcpy(CUdeviceptr to, CUdeviceptr from, size_t bytes) { return copy_now(to, EITHER, from, EITHER, bytes); }
CUresult sim_cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
  return copy(to, EITHER, from, EITHER, bytes, stream);
}
CUresult sim_cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t bytes) {
  return copy_now(to, DEVICE, (uint64_t)from, HOST, bytes);
}
CUresult sim_cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t bytes, CUstream stream) {
  return copy(to, DEVICE, (uint64_t)from, HOST, bytes, stream);
}
CUresult sim_cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t bytes) {
  return copy_now((uint64_t)to, HOST, from, DEVICE, bytes);
}
CUresult sim_cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t bytes, CUstream stream) {
  return copy((uint64_t)to, HOST, from, DEVICE, bytes, stream);
}
CUresult sim_cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
  return copy_now(to, DEVICE, from, DEVICE, bytes);
}
CUresult sim_cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
  return copy(to, DEVICE, from, DEVICE, bytes, stream);
}
CUresult sim_cuMemcpyPeer(CUdeviceptr to, CUcontext there, CUdeviceptr from, CUcontext here, size_t bytes) {
  if (!context_is(there) || !context_is(here)) return CUDA_ERROR_INVALID_CONTEXT;
  return copy_now(to, DEVICE, from, DEVICE, bytes);
}
CUresult sim_cuMemcpyPeerAsync(CUdeviceptr to, CUcontext there, CUdeviceptr from, CUcontext here, size_t bytes, CUstream stream) {
  if (!context_is(there) || !context_is(here)) return CUDA_ERROR_INVALID_CONTEXT;
  return copy(to, DEVICE, from, DEVICE, bytes, stream);
}

/* ---- two dimensions ---------------------------------------------------------------- */

static uint64_t row_of(CUmemorytype type, const void *host, CUdeviceptr device, size_t pitch, size_t y, size_t x) {
  if (type == CU_MEMORYTYPE_ARRAY) return 0;
  return (type == CU_MEMORYTYPE_HOST ? (uint64_t)host : device) + y * pitch + x;
}

CUresult sim_cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D *p, CUstream stream) {
  if (p == NULL) return CUDA_ERROR_INVALID_VALUE;
  if (p->srcMemoryType == CU_MEMORYTYPE_ARRAY || p->dstMemoryType == CU_MEMORYTYPE_ARRAY) return CUDA_ERROR_NOT_SUPPORTED;
  for (size_t y = 0; y < p->Height; y++) {
    uint64_t from = row_of(p->srcMemoryType, p->srcHost, p->srcDevice, p->srcPitch, p->srcY + y, p->srcXInBytes);
    uint64_t to = row_of(p->dstMemoryType, p->dstHost, p->dstDevice, p->dstPitch, p->dstY + y, p->dstXInBytes);
    CUresult result = copy(to, p->dstMemoryType == CU_MEMORYTYPE_HOST ? HOST : DEVICE, from,
                           p->srcMemoryType == CU_MEMORYTYPE_HOST ? HOST : DEVICE, p->WidthInBytes, stream);
    if (result != CUDA_SUCCESS) return result;
  }
  return CUDA_SUCCESS;
}

CUresult sim_cuMemcpy2D_v2(const CUDA_MEMCPY2D *p) {
  CUresult result = sim_cuMemcpy2DAsync_v2(p, NULL);
  return result == CUDA_SUCCESS ? finish(NULL) : result;
}

CUresult sim_cuMemcpy2DUnaligned_v2(const CUDA_MEMCPY2D *p) { return sim_cuMemcpy2D_v2(p); }

/* ---- sets ---------------------------------------------------------------------------- */

static void fill(unsigned char *to, unsigned value, size_t element, size_t count) {
  if (element == 1) memset(to, (int)value, count);
  for (size_t i = 0; element > 1 && i < count; i++) memcpy(to + i * element, &value, element);
}

static CUresult set(CUdeviceptr to, size_t pitch, unsigned value, size_t element, size_t width, size_t height, CUstream stream) {
  bool move;
  if (width == 0 || height == 0) return process_ready();
  size_t bytes = pitch * (height - 1) + width * element;
  if (!process_minimal && !usable(DEVICE, to, bytes))
    return process_ready() == CUDA_SUCCESS ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_NOT_INITIALIZED;
  CUresult result = queue(stream, width * element * height, &move);
  for (size_t y = 0; result == CUDA_SUCCESS && move && y < height; y++)
    fill((unsigned char *)to + y * pitch, value, element, width);
  return result;
}

static CUresult set_now(CUdeviceptr to, size_t pitch, unsigned value, size_t element, size_t width, size_t height) {
  CUresult result = set(to, pitch, value, element, width, height, NULL);
  return result == CUDA_SUCCESS ? finish(NULL) : result;
}

CUresult sim_cuMemsetD8_v2(CUdeviceptr to, unsigned char value, size_t count) { return set_now(to, 0, value, 1, count, 1); }
CUresult sim_cuMemsetD16_v2(CUdeviceptr to, unsigned short value, size_t count) { return set_now(to, 0, value, 2, count, 1); }
CUresult sim_cuMemsetD32_v2(CUdeviceptr to, unsigned value, size_t count) { return set_now(to, 0, value, 4, count, 1); }
CUresult sim_cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t count, CUstream stream) {
  return set(to, 0, value, 1, count, 1, stream);
}
CUresult sim_cuMemsetD16Async(CUdeviceptr to, unsigned short value, size_t count, CUstream stream) {
  return set(to, 0, value, 2, count, 1, stream);
}
CUresult sim_cuMemsetD32Async(CUdeviceptr to, unsigned value, size_t count, CUstream stream) {
  return set(to, 0, value, 4, count, 1, stream);
}
CUresult sim_cuMemsetD2D8_v2(CUdeviceptr to, size_t pitch, unsigned char value, size_t width, size_t height) {
  return set_now(to, pitch, value, 1, width, height);
}
CUresult sim_cuMemsetD2D16_v2(CUdeviceptr to, size_t pitch, unsigned short value, size_t width, size_t height) {
  return set_now(to, pitch, value, 2, width, height);
}
CUresult sim_cuMemsetD2D32_v2(CUdeviceptr to, size_t pitch, unsigned value, size_t width, size_t height) {
  return set_now(to, pitch, value, 4, width, height);
}
CUresult sim_cuMemsetD2D8Async(CUdeviceptr to, size_t pitch, unsigned char value, size_t width, size_t height, CUstream stream) {
  return set(to, pitch, value, 1, width, height, stream);
}
CUresult sim_cuMemsetD2D16Async(CUdeviceptr to, size_t pitch, unsigned short value, size_t width, size_t height, CUstream stream) {
  return set(to, pitch, value, 2, width, height, stream);
}
CUresult sim_cuMemsetD2D32Async(CUdeviceptr to, size_t pitch, unsigned value, size_t width, size_t height, CUstream stream) {
  return set(to, pitch, value, 4, width, height, stream);
}
