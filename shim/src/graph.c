/* Memory of graphs lies outside the ordinary calls: a node asks for it when the
 * graph is built, the driver takes it at launch and keeps it. So a graph's
 * asking is added up while it is built, reserved before it is launched, and the
 * account then follows GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT.
 */
#include "graph.h"

#include <pthread.h>
#include <stdlib.h>

#include "context.h"
#include "guest.h"
#include "launch.h"
#include "portable.h"
#include "real.h"

OLDEST(pthread_mutex_trylock);

/* Bytes asked for, by graph or executable graph. */
struct tally {
  struct tally *next;
  const void *owner;
  uint64_t bytes;
};

enum { CHAINS = 256 };

static struct tally *tallies[CHAINS];
static uint32_t tallied; /* owners with bytes; 0 keeps launches out of here */
static uint64_t charged[VGPU_DEVICES_MAX];
static uint64_t captured_bytes;
static uint32_t captures;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void graph_after_fork(void) {
  pthread_mutex_init(&lock, NULL);
  for (size_t i = 0; i < CHAINS; i++) tallies[i] = NULL;
  for (size_t i = 0; i < VGPU_DEVICES_MAX; i++) charged[i] = 0;
  tallied = captures = 0;
  captured_bytes = 0;
}

/* ---- tallies; with the lock held ---------------------------------------- */

static struct tally **chain_of(const void *owner) {
  return &tallies[(uint64_t)(uintptr_t)owner * 0x9e3779b97f4a7c15u >> 56];
}

static struct tally *find(const void *owner) {
  struct tally *tally = *chain_of(owner);
  while (tally && tally->owner != owner) tally = tally->next;
  return tally;
}

static uint64_t bytes_of(const void *owner) {
  const struct tally *tally = find(owner);
  return tally ? tally->bytes : 0;
}

static void add_bytes(const void *owner, uint64_t bytes) {
  struct tally *tally = find(owner);
  if (!tally) {
    tally = bytes ? calloc(1, sizeof *tally) : NULL;
    if (!tally) return; /* the launch is then corrected afterwards only */
    *tally = (struct tally){.next = *chain_of(owner), .owner = owner};
    *chain_of(owner) = tally;
    __atomic_fetch_add(&tallied, 1, __ATOMIC_RELAXED);
  }
  tally->bytes += bytes;
}

static void forget(const void *owner) {
  for (struct tally **at = chain_of(owner); *at; at = &(*at)->next)
    if ((*at)->owner == owner) {
      struct tally *gone = *at;
      *at = gone->next;
      free(gone);
      __atomic_fetch_sub(&tallied, 1, __ATOMIC_RELAXED);
      return;
    }
}

static void add(const void *owner, uint64_t bytes) {
  pthread_mutex_lock(&lock);
  add_bytes(owner, bytes);
  pthread_mutex_unlock(&lock);
}

static void inherit(const void *heir, const void *from) {
  if (!__atomic_load_n(&tallied, __ATOMIC_RELAXED)) return;
  pthread_mutex_lock(&lock);
  add_bytes(heir, bytes_of(from));
  pthread_mutex_unlock(&lock);
}

static void remove_owner(const void *owner) {
  if (!__atomic_load_n(&tallied, __ATOMIC_RELAXED)) return;
  pthread_mutex_lock(&lock);
  forget(owner);
  pthread_mutex_unlock(&lock);
}

/* ---- what graphs hold ---------------------------------------------------- */

static uint64_t attribute(uint32_t device, CUgraphMem_attribute which, uint64_t otherwise) {
  uint64_t value = 0;
  return real()->cuDeviceGetGraphMemAttribute(guest_ordinal(device), which, &value) ? otherwise : value;
}

static void refresh(uint32_t device) {
  uint64_t held = attribute(device, CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT, charged[device]);
  memory_adjust(device, VGPU_MEMORY_GRAPH, (int64_t)held - (int64_t)charged[device]);
  charged[device] = held;
}

static uint64_t growth(uint32_t device, uint64_t bytes) {
  uint64_t used = attribute(device, CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT, charged[device]);
  uint64_t idle = charged[device] > used ? charged[device] - used : 0;
  return bytes > idle ? bytes - idle : 0;
}

/* Keeps the lock until graph_settle when something was asked for. */
CUresult graph_reserve(CUgraphExec exec, struct charge *charge) {
  *charge = (struct charge){.device = VGPU_DEVICES_MAX};
  if (__builtin_expect(!__atomic_load_n(&tallied, __ATOMIC_RELAXED), 1)) return CUDA_SUCCESS;
  struct context current = context_current();
  if (current.device >= VGPU_DEVICES_MAX) return CUDA_SUCCESS;
  pthread_mutex_lock(&lock);
  uint64_t bytes = bytes_of(exec);
  CUresult refused = bytes ? memory_reserve_on(charge, VGPU_MEMORY_GRAPH, growth(current.device, bytes),
                                               current.device)
                           : CUDA_SUCCESS;
  if (refused || !bytes) pthread_mutex_unlock(&lock);
  return refused;
}

/* What was launched once has its memory and keeps it until it is destroyed. */
void graph_settle(CUgraphExec exec, const struct charge *charge, CUresult result) {
  if (charge->device >= VGPU_DEVICES_MAX) return;
  if (result == CUDA_SUCCESS) forget(exec);
  uint64_t held = attribute(charge->device, CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT, charged[charge->device]);
  int64_t grown = (int64_t)held - (int64_t)charged[charge->device];
  memory_adjust(charge->device, VGPU_MEMORY_GRAPH, grown - (int64_t)charge->bytes);
  charged[charge->device] = held;
  pthread_mutex_unlock(&lock);
}

/* Not while the lock is held further up: a launch's own reservation then fails as it is. */
int graph_shrink(uint32_t device) {
  if (!__atomic_load_n(&charged[device], __ATOMIC_RELAXED) || pthread_mutex_trylock(&lock)) return 0;
  uint64_t before = charged[device];
  real()->cuDeviceGraphMemTrim(guest_ordinal(device));
  refresh(device);
  int freed = charged[device] < before;
  pthread_mutex_unlock(&lock);
  return freed;
}

/* ---- building ------------------------------------------------------------ */

CUresult cuGraphAddMemAllocNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *after, size_t count,
                                CUDA_MEM_ALLOC_NODE_PARAMS *params) {
  if (guest_enter() == GUEST_REFUSED) return CUDA_ERROR_NOT_PERMITTED;
  CUresult result = real()->cuGraphAddMemAllocNode(node, graph, after, count, params);
  if (!result && guest.state == GUEST_LIMITED) add(graph, params->bytesize);
  return result;
}

static void count_node(CUgraph graph, const CUgraphNodeParams *params) {
  if (guest.state != GUEST_LIMITED) return;
  if (params->type == CU_GRAPH_NODE_TYPE_MEM_ALLOC) add(graph, params->alloc.bytesize);
  if (params->type == CU_GRAPH_NODE_TYPE_GRAPH) inherit(graph, params->graph);
}

CUresult cuGraphAddNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *after, size_t count,
                        CUgraphNodeParams *params) {
  if (guest_enter() == GUEST_REFUSED) return CUDA_ERROR_NOT_PERMITTED;
  CUresult result = real()->cuGraphAddNode(node, graph, after, count, params);
  if (!result) count_node(graph, params);
  return result;
}

CUresult cuGraphAddNode_v2(CUgraphNode *node, CUgraph graph, const CUgraphNode *after,
                           const CUgraphEdgeData *edges, size_t count, CUgraphNodeParams *params) {
  if (guest_enter() == GUEST_REFUSED) return CUDA_ERROR_NOT_PERMITTED;
  CUresult result = real()->cuGraphAddNode_v2(node, graph, after, edges, count, params);
  if (!result) count_node(graph, params);
  return result;
}

CUresult cuGraphDestroy(CUgraph graph) {
  remove_owner(graph); /* first: the handle may be another graph's right after the call */
  return real()->cuGraphDestroy(graph);
}

static CUresult instantiated(CUresult result, const CUgraphExec *exec, CUgraph graph) {
  if (!result) inherit(*exec, graph);
  return result;
}

CUresult cuGraphInstantiate(CUgraphExec *exec, CUgraph graph, CUgraphNode *error, char *log, size_t size) {
  return instantiated(real()->cuGraphInstantiate(exec, graph, error, log, size), exec, graph);
}

CUresult cuGraphInstantiate_v2(CUgraphExec *exec, CUgraph graph, CUgraphNode *error, char *log, size_t size) {
  return instantiated(real()->cuGraphInstantiate_v2(exec, graph, error, log, size), exec, graph);
}

CUresult cuGraphInstantiateWithFlags(CUgraphExec *exec, CUgraph graph, unsigned long long flags) {
  return instantiated(real()->cuGraphInstantiateWithFlags(exec, graph, flags), exec, graph);
}

CUresult cuGraphInstantiateWithParams(CUgraphExec *exec, CUgraph graph, CUDA_GRAPH_INSTANTIATE_PARAMS *params) {
  return instantiated(real()->cuGraphInstantiateWithParams(exec, graph, params), exec, graph);
}

CUresult cuGraphInstantiateWithParams_ptsz(CUgraphExec *exec, CUgraph graph,
                                           CUDA_GRAPH_INSTANTIATE_PARAMS *params) {
  return instantiated(real()->cuGraphInstantiateWithParams_ptsz(exec, graph, params), exec, graph);
}

static void refresh_charged(void) {
  for (uint32_t device = 0; device < VGPU_DEVICES_MAX; device++) {
    if (!__atomic_load_n(&charged[device], __ATOMIC_RELAXED)) continue;
    pthread_mutex_lock(&lock);
    refresh(device);
    pthread_mutex_unlock(&lock);
  }
}

CUresult cuGraphExecDestroy(CUgraphExec exec) {
  remove_owner(exec);
  CUresult result = real()->cuGraphExecDestroy(exec);
  refresh_charged();
  return result;
}

CUresult cuDeviceGraphMemTrim(CUdevice device) {
  CUresult result = real()->cuDeviceGraphMemTrim(device);
  refresh_charged();
  return result;
}

/* ---- capture -------------------------------------------------------------- */

int graph_any_capture(void) { return __atomic_load_n(&captures, __ATOMIC_RELAXED) != 0; }

int graph_captures(CUstream stream) {
  CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
  if (__builtin_expect(!graph_any_capture(), 1)) return 0;
  /* An error means the legacy stream while another is captured: not captured itself. */
  return !real()->cuStreamIsCapturing(stream, &status) && status != CU_STREAM_CAPTURE_STATUS_NONE;
}

CUresult graph_captured_allocation(size_t size, CUresult result) {
  if (!result) __atomic_fetch_add(&captured_bytes, size, __ATOMIC_RELAXED);
  return result;
}

/* Measurements open on the stream are closed first: nothing of ours may be captured. */
static CUresult begun(CUresult result) {
  if (result) __atomic_fetch_sub(&captures, 1, __ATOMIC_RELAXED);
  return result;
}

static void begin(void) {
  launch_close_all();
  __atomic_fetch_add(&captures, 1, __ATOMIC_RELAXED);
}

CUresult cuStreamBeginCapture(CUstream stream) {
  begin();
  return begun(real()->cuStreamBeginCapture(stream));
}

CUresult cuStreamBeginCapture_ptsz(CUstream stream) {
  begin();
  return begun(real()->cuStreamBeginCapture_ptsz(stream));
}

CUresult cuStreamBeginCapture_v2(CUstream stream, CUstreamCaptureMode mode) {
  begin();
  return begun(real()->cuStreamBeginCapture_v2(stream, mode));
}

CUresult cuStreamBeginCapture_v2_ptsz(CUstream stream, CUstreamCaptureMode mode) {
  begin();
  return begun(real()->cuStreamBeginCapture_v2_ptsz(stream, mode));
}

CUresult cuStreamBeginCaptureToGraph(CUstream stream, CUgraph graph, const CUgraphNode *after,
                                     const CUgraphEdgeData *edges, size_t count, CUstreamCaptureMode mode) {
  begin();
  return begun(real()->cuStreamBeginCaptureToGraph(stream, graph, after, edges, count, mode));
}

CUresult cuStreamBeginCaptureToGraph_ptsz(CUstream stream, CUgraph graph, const CUgraphNode *after,
                                          const CUgraphEdgeData *edges, size_t count,
                                          CUstreamCaptureMode mode) {
  begin();
  return begun(real()->cuStreamBeginCaptureToGraph_ptsz(stream, graph, after, edges, count, mode));
}

/* An invalidated capture ends too: only "there was none" leaves the count alone. */
static CUresult ended(CUresult result, const CUgraph *graph) {
  int was_capturing = result == CUDA_SUCCESS || result == CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  if (was_capturing) __atomic_fetch_sub(&captures, 1, __ATOMIC_RELAXED);
  uint64_t bytes = result ? 0 : __atomic_exchange_n(&captured_bytes, 0, __ATOMIC_RELAXED);
  if (bytes && graph && *graph) add(*graph, bytes);
  return result;
}

CUresult cuStreamEndCapture(CUstream stream, CUgraph *graph) {
  return ended(real()->cuStreamEndCapture(stream, graph), graph);
}

CUresult cuStreamEndCapture_ptsz(CUstream stream, CUgraph *graph) {
  return ended(real()->cuStreamEndCapture_ptsz(stream, graph), graph);
}
