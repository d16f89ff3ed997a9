/* A pool holds more than was asked of it: it grows in the driver's steps and
 * keeps what was freed. So the account follows RESERVED_MEM_CURRENT.
 *
 * Before an allocation its bytes are reserved unless the pool has them at hand;
 * after it, and after whatever lets pools shrink, the account is set to what
 * the driver says. A pool that grew by more than the request and over the limit
 * loses the allocation again.
 */
#include "pool.h"

#include <pthread.h>

#include "context.h"
#include "graph.h"
#include "guest.h"
#include "memory.h"
#include "pointers.h"
#include "portable.h"
#include "real.h"

OLDEST(pthread_mutex_trylock);

enum { POOLS = 256 };

struct pool {
  CUmemoryPool handle; /* NULL: free */
  uint32_t device;
  uint64_t charged;    /* bytes in the account */
};

static struct pool pools[POOLS];
static uint32_t pools_known; /* pools at and above this were never used */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* held over driver calls */

void pools_after_fork(void) {
  pthread_mutex_init(&lock, NULL);
  for (uint32_t i = 0; i < pools_known; i++) pools[i].handle = NULL;
  pools_known = 0;
}

static struct pool *find(CUmemoryPool handle) {
  for (uint32_t i = 0; i < pools_known; i++)
    if (pools[i].handle == handle) return &pools[i];
  return NULL;
}

static struct pool *enrol(CUmemoryPool handle, uint32_t device) {
  struct pool *pool = find(handle);
  if (!pool) pool = find(NULL);
  if (!pool && pools_known < POOLS) pool = &pools[pools_known++];
  if (pool && !pool->handle) *pool = (struct pool){.handle = handle, .device = device};
  return pool;
}

static uint64_t attribute(CUmemoryPool pool, CUmemPool_attribute which, uint64_t otherwise) {
  uint64_t value = 0;
  return real()->cuMemPoolGetAttribute(pool, which, &value) ? otherwise : value;
}

/* With the lock held. */
static void refresh(struct pool *pool) {
  uint64_t held = attribute(pool->handle, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT, pool->charged);
  memory_adjust(pool->device, VGPU_MEMORY_POOL, (int64_t)held - (int64_t)pool->charged);
  pool->charged = held;
}

void pools_refresh(void) {
  if (__builtin_expect(!__atomic_load_n(&pools_known, __ATOMIC_RELAXED), 1)) return;
  pthread_mutex_lock(&lock);
  for (uint32_t i = 0; i < pools_known; i++)
    if (pools[i].handle) refresh(&pools[i]);
  pthread_mutex_unlock(&lock);
}

/* Not from within an allocation from a pool, which holds the lock and comes here itself. */
int pools_shrink(uint32_t device) {
  uint64_t before = 0, after = 0;
  if (!__atomic_load_n(&pools_known, __ATOMIC_RELAXED) || pthread_mutex_trylock(&lock)) return 0;
  for (uint32_t i = 0; i < pools_known; i++) {
    if (!pools[i].handle || pools[i].device != device) continue;
    before += pools[i].charged;
    real()->cuMemPoolTrimTo(pools[i].handle, 0);
    refresh(&pools[i]);
    after += pools[i].charged;
  }
  pthread_mutex_unlock(&lock);
  return after < before;
}

/* ---- allocating --------------------------------------------------------- */

/* What a request may add to the pool at most, as far as can be known before. */
static uint64_t growth(const struct pool *pool, uint64_t size) {
  uint64_t used = attribute(pool->handle, CU_MEMPOOL_ATTR_USED_MEM_CURRENT, pool->charged);
  uint64_t idle = pool->charged > used ? pool->charged - used : 0;
  return size > idle ? size : 0; /* what is idle may be in pieces; then `settle` corrects */
}

/* Turns the reservation into the pool's charge; not 0 when the pool outgrew the limit. */
static int settle(struct pool *pool, struct charge *charge) {
  uint64_t held = attribute(pool->handle, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT, pool->charged);
  uint64_t grown = held > pool->charged ? held - pool->charged : 0;
  int error = charge->bytes < grown && memory_resize(charge, grown) != CUDA_SUCCESS;
  if (error) return error;
  if (held < pool->charged) memory_adjust(pool->device, VGPU_MEMORY_POOL, (int64_t)held - (int64_t)pool->charged);
  if (charge->bytes > grown) memory_resize(charge, grown);
  pool->charged = held;
  return 0;
}

typedef CUresult (*allocate_function)(CUdeviceptr *, size_t, CUmemoryPool, CUstream);
typedef CUresult (*allocate_default_function)(CUdeviceptr *, size_t, CUstream);
typedef CUresult (*free_function)(CUdeviceptr, CUstream);

/* One road for all four forms: `from` for a given pool, `plain` for the current one. */
struct request {
  CUdeviceptr *ptr;
  size_t size;
  CUmemoryPool pool;
  CUstream stream;
  CUstream ordered; /* the stream that `stream` means: NULL is another one in the _ptsz forms */
  allocate_function from;
  allocate_default_function plain;
  free_function undo;
};

static CUresult call(const struct request *request) {
  return request->from ? request->from(request->ptr, request->size, request->pool, request->stream)
                       : request->plain(request->ptr, request->size, request->stream);
}

/* With the lock held: the pool must not move between reservation and settlement. */
static CUresult allocate(const struct request *request, struct pool *pool) {
  struct charge charge;
  refresh(pool);
  CUresult refused = memory_reserve_on(&charge, VGPU_MEMORY_POOL, growth(pool, request->size), pool->device);
  if (refused) return refused;
  CUresult result = call(request);
  if (!result && !settle(pool, &charge)) return CUDA_SUCCESS;
  if (!result) {
    request->undo(*request->ptr, request->stream);
    result = CUDA_ERROR_OUT_OF_MEMORY;
  }
  memory_give_back(&charge);
  return result;
}

static CUresult allocate_once(const struct request *request, uint32_t device) {
  pthread_mutex_lock(&lock);
  struct pool *pool = enrol(request->pool, device);
  CUresult result = pool ? allocate(request, pool) : CUDA_ERROR_OUT_OF_MEMORY;
  pthread_mutex_unlock(&lock);
  return result;
}

/* Not ours to charge: pools of host memory, and imported ones, whose exporter pays. */
static int is_charged(CUmemoryPool handle, uint32_t device) {
  CUmemoryPool usual = NULL;
  pthread_mutex_lock(&lock);
  int known = find(handle) != NULL;
  pthread_mutex_unlock(&lock);
  return known || (!real()->cuDeviceGetDefaultMemPool(&usual, guest_ordinal(device)) && usual == handle);
}

static CUresult allocate_from(struct request *request) {
  enum guest_state state = guest_enter();
  if (state == GUEST_REFUSED) return CUDA_ERROR_NOT_PERMITTED;
  struct context current = context_current();
  if (state == GUEST_FREE || !current.index) return call(request);
  if (graph_captures(request->ordered)) return graph_captured_allocation(request->size, call(request));
  if (!request->pool && real()->cuDeviceGetMemPool(&request->pool, guest_ordinal(current.device)))
    return call(request);
  if (request->from && !is_charged(request->pool, current.device)) return call(request);
  guest_claim();
  CUresult result = allocate_once(request, current.device);
  if (result == CUDA_ERROR_OUT_OF_MEMORY && pools_shrink(current.device))
    result = allocate_once(request, current.device);
  return result;
}

CUresult cuMemAllocAsync(CUdeviceptr *ptr, size_t size, CUstream stream) {
  return allocate_from(&(struct request){.ptr = ptr, .size = size, .stream = stream, .ordered = stream,
                                         .plain = real()->cuMemAllocAsync, .undo = real()->cuMemFreeAsync});
}

CUresult cuMemAllocAsync_ptsz(CUdeviceptr *ptr, size_t size, CUstream stream) {
  return allocate_from(&(struct request){.ptr = ptr, .size = size, .stream = stream, .ordered = stream ? stream : CU_STREAM_PER_THREAD,
                                         .plain = real()->cuMemAllocAsync_ptsz,
                                         .undo = real()->cuMemFreeAsync_ptsz});
}

CUresult cuMemAllocFromPoolAsync(CUdeviceptr *ptr, size_t size, CUmemoryPool pool, CUstream stream) {
  return allocate_from(&(struct request){.ptr = ptr, .size = size, .pool = pool, .stream = stream, .ordered = stream,
                                         .from = real()->cuMemAllocFromPoolAsync,
                                         .undo = real()->cuMemFreeAsync});
}

CUresult cuMemAllocFromPoolAsync_ptsz(CUdeviceptr *ptr, size_t size, CUmemoryPool pool, CUstream stream) {
  return allocate_from(&(struct request){.ptr = ptr, .size = size, .pool = pool, .stream = stream, .ordered = stream ? stream : CU_STREAM_PER_THREAD,
                                         .from = real()->cuMemAllocFromPoolAsync_ptsz,
                                         .undo = real()->cuMemFreeAsync_ptsz});
}

/* ---- freeing ------------------------------------------------------------ */

/* cuMemFreeAsync is legal for what cuMemAlloc gave. */
static CUresult free_async(CUdeviceptr ptr, CUstream stream, free_function forward) {
  struct pointer pointer;
  int booked = memory_detach(ptr, &pointer);
  CUresult result = forward(ptr, stream);
  if (booked)
    memory_settle_free(ptr, &pointer, result);
  else
    pools_refresh();
  return result;
}

CUresult cuMemFreeAsync(CUdeviceptr ptr, CUstream stream) {
  return free_async(ptr, stream, real()->cuMemFreeAsync);
}

CUresult cuMemFreeAsync_ptsz(CUdeviceptr ptr, CUstream stream) {
  return free_async(ptr, stream, real()->cuMemFreeAsync_ptsz);
}

/* ---- the pools themselves ----------------------------------------------- */

CUresult cuMemPoolCreate(CUmemoryPool *pool, const CUmemPoolProps *props) {
  if (guest_enter() == GUEST_REFUSED) return CUDA_ERROR_NOT_PERMITTED;
  CUresult result = real()->cuMemPoolCreate(pool, props);
  if (result || guest.state != GUEST_LIMITED || props->location.type != CU_MEM_LOCATION_TYPE_DEVICE)
    return result;
  guest_claim();
  pthread_mutex_lock(&lock);
  uint32_t device = guest_device(props->location.id);
  if (device < VGPU_DEVICES_MAX) enrol(*pool, device);
  pthread_mutex_unlock(&lock);
  return result;
}

/* What is still allocated from a destroyed pool lives on; it stays charged until
 * the process ends, since nobody can ask that pool any more. */
CUresult cuMemPoolDestroy(CUmemoryPool handle) {
  pthread_mutex_lock(&lock);
  struct pool *pool = handle ? find(handle) : NULL;
  uint64_t used = pool ? attribute(handle, CU_MEMPOOL_ATTR_USED_MEM_CURRENT, 0) : 0;
  CUresult result = real()->cuMemPoolDestroy(handle);
  if (pool && !result) {
    memory_adjust(pool->device, VGPU_MEMORY_POOL, (int64_t)used - (int64_t)pool->charged);
    pool->handle = NULL;
  }
  pthread_mutex_unlock(&lock);
  return result;
}

CUresult cuMemPoolTrimTo(CUmemoryPool pool, size_t keep) {
  CUresult result = real()->cuMemPoolTrimTo(pool, keep);
  pools_refresh();
  return result;
}

CUresult cuMemPoolSetAttribute(CUmemoryPool pool, CUmemPool_attribute attribute, void *value) {
  CUresult result = real()->cuMemPoolSetAttribute(pool, attribute, value);
  pools_refresh();
  return result;
}
