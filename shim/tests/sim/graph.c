/* Graphs: nodes and edges, executables with their own memory, and capture from streams.
 * A launch runs for the graph's critical path and takes the whole GPU.
 */
#include "graph.h"

#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "memory.h"
#include "pool.h"

enum { WHOLE_GPU = 1000 };

struct CUgraphNode_st {
  uint32_t mark;
  CUgraphNodeType type;
  struct CUgraph_st *graph;
  uint64_t duration, finish; /* ns; finish: along the longest path to it */
  uint64_t bytes;            /* of an allocation node */
  CUdeviceptr address;
  CUDA_KERNEL_NODE_PARAMS kernel;
  CUDA_HOST_NODE_PARAMS host;
  CUevent event;
  struct CUgraphNode_st *next;
};

struct edge { CUgraphNode from, to; };

struct CUgraph_st {
  uint32_t mark;
  CUgraphNode first, last, captured; /* captured: last node of the capture */
  size_t nodes, edges, edge_room;
  struct edge *edge;
  bool invalidated;
  unsigned long long capture_id;
};

struct CUgraphExec_st {
  uint32_t mark;
  uint64_t duration, bytes;
  unsigned flags;
  struct CUgraph_st *graph; /* a copy of its own */
  struct CUctx_st *reserved_in; /* whose graph memory it took at its first launch */
};

static bool is_graph(CUgraph graph) { return graph != NULL && graph->mark == MARK_GRAPH; }
static bool is_node(CUgraphNode node) { return node != NULL && node->mark == MARK_NODE; }
static bool is_exec(CUgraphExec exec) { return exec != NULL && exec->mark == MARK_EXEC; }

/* ---- building -------------------------------------------------------------------- */

static bool add_edge(CUgraph graph, CUgraphNode from, CUgraphNode to) {
  if (graph->edges == graph->edge_room) {
    size_t room = graph->edge_room == 0 ? 16 : 2 * graph->edge_room;
    struct edge *grown = realloc(graph->edge, room * sizeof *grown);
    if (grown == NULL) return false;
    graph->edge = grown;
    graph->edge_room = room;
  }
  graph->edge[graph->edges++] = (struct edge){from, to};
  return true;
}

static CUgraphNode append(CUgraph graph, CUgraphNodeType type) {
  CUgraphNode node = calloc(1, sizeof *node);
  if (node == NULL) return NULL;
  node->mark = MARK_NODE;
  node->type = type;
  node->graph = graph;
  if (graph->last == NULL)
    graph->first = node;
  else
    graph->last->next = node;
  graph->last = node;
  graph->nodes++;
  return node;
}

static CUresult add(CUgraphNode *out, CUgraph graph, const CUgraphNode *dependencies, size_t count, CUgraphNodeType type) {
  if (process_ready() != CUDA_SUCCESS) return CUDA_ERROR_NOT_INITIALIZED;
  if (out == NULL || !is_graph(graph) || (count > 0 && dependencies == NULL)) return CUDA_ERROR_INVALID_VALUE;
  for (size_t i = 0; i < count; i++)
    if (!is_node(dependencies[i])) return CUDA_ERROR_INVALID_VALUE;
  *out = append(graph, type);
  if (*out == NULL) return CUDA_ERROR_OUT_OF_MEMORY;
  for (size_t i = 0; i < count; i++)
    if (!add_edge(graph, dependencies[i], *out)) return CUDA_ERROR_OUT_OF_MEMORY;
  return CUDA_SUCCESS;
}

static struct launch launch_of(const CUDA_KERNEL_NODE_PARAMS *p) {
  return (struct launch){p->func != NULL ? p->func : (CUfunction)p->kern, {p->gridDimX, p->gridDimY, p->gridDimZ},
                         {p->blockDimX, p->blockDimY, p->blockDimZ}, false, p->kernelParams, p->extra};
}

static CUresult set_kernel(CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS *params) {
  struct launch launch = launch_of(params);
  CUresult result = launch_check(&launch);
  if (result != CUDA_SUCCESS) return result;
  node->kernel = *params;
  node->duration = launch_duration(&launch);
  return CUDA_SUCCESS;
}

static CUDA_KERNEL_NODE_PARAMS widen(const CUDA_KERNEL_NODE_PARAMS_v1 *old) {
  CUDA_KERNEL_NODE_PARAMS params = {0};
  memcpy(&params, old, sizeof *old);
  return params;
}

CUresult sim_cuGraphAddKernelNode_v2(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies, size_t count,
                                     const CUDA_KERNEL_NODE_PARAMS *params) {
  if (params == NULL) return CUDA_ERROR_INVALID_VALUE;
  struct launch launch = launch_of(params);
  CUresult result = launch_check(&launch);
  if (result == CUDA_SUCCESS) result = add(node, graph, dependencies, count, CU_GRAPH_NODE_TYPE_KERNEL);
  return result == CUDA_SUCCESS ? set_kernel(*node, params) : result;
}

CUresult sim_cuGraphAddKernelNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies, size_t count,
                                  const CUDA_KERNEL_NODE_PARAMS_v1 *params) {
  if (params == NULL) return CUDA_ERROR_INVALID_VALUE;
  CUDA_KERNEL_NODE_PARAMS wide = widen(params);
  return sim_cuGraphAddKernelNode_v2(node, graph, dependencies, count, &wide);
}

CUresult sim_cuGraphAddEmptyNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies, size_t count) {
  return add(node, graph, dependencies, count, CU_GRAPH_NODE_TYPE_EMPTY);
}

CUresult sim_cuGraphAddMemsetNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies, size_t count,
                                  const CUDA_MEMSET_NODE_PARAMS *params, CUcontext context) {
  (void)context;
  if (params == NULL) return CUDA_ERROR_INVALID_VALUE;
  return add(node, graph, dependencies, count, CU_GRAPH_NODE_TYPE_MEMSET);
}

CUresult sim_cuGraphAddMemcpyNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies, size_t count,
                                  const void *params, CUcontext context) {
  (void)context;
  if (params == NULL) return CUDA_ERROR_INVALID_VALUE;
  return add(node, graph, dependencies, count, CU_GRAPH_NODE_TYPE_MEMCPY);
}

CUresult sim_cuGraphAddHostNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies, size_t count,
                                const CUDA_HOST_NODE_PARAMS *params) {
  if (params == NULL || params->fn == NULL) return CUDA_ERROR_INVALID_VALUE;
  CUresult result = add(node, graph, dependencies, count, CU_GRAPH_NODE_TYPE_HOST);
  if (result == CUDA_SUCCESS) (*node)->host = *params;
  return result;
}

CUresult sim_cuGraphAddEventRecordNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies, size_t count,
                                       CUevent event) {
  CUresult result = add(node, graph, dependencies, count, CU_GRAPH_NODE_TYPE_EVENT_RECORD);
  if (result == CUDA_SUCCESS) (*node)->event = event;
  return result;
}

CUresult sim_cuGraphAddEventWaitNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies, size_t count,
                                     CUevent event) {
  CUresult result = add(node, graph, dependencies, count, CU_GRAPH_NODE_TYPE_WAIT_EVENT);
  if (result == CUDA_SUCCESS) (*node)->event = event;
  return result;
}

/* The address is fixed now, the memory taken at the first launch. */
static CUresult set_allocation(CUgraphNode node, uint64_t size, CUdeviceptr *address) {
  if (size == 0) return CUDA_ERROR_INVALID_VALUE;
  process_lock();
  struct range *range = memory_take(NULL, RANGE_GRAPH, size);
  if (range != NULL) node->address = *address = range->base;
  process_unlock();
  node->bytes = size;
  return range == NULL ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
}

CUresult sim_cuGraphAddMemAllocNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies, size_t count,
                                    CUDA_MEM_ALLOC_NODE_PARAMS *params) {
  if (params == NULL || params->bytesize == 0) return CUDA_ERROR_INVALID_VALUE;
  if (params->poolProps.location.type != CU_MEM_LOCATION_TYPE_DEVICE) return CUDA_ERROR_INVALID_VALUE;
  CUresult result = add(node, graph, dependencies, count, CU_GRAPH_NODE_TYPE_MEM_ALLOC);
  return result == CUDA_SUCCESS ? set_allocation(*node, params->bytesize, &params->dptr) : result;
}

CUresult sim_cuGraphAddMemFreeNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies, size_t count,
                                   CUdeviceptr address) {
  CUresult result = add(node, graph, dependencies, count, CU_GRAPH_NODE_TYPE_MEM_FREE);
  if (result == CUDA_SUCCESS) (*node)->address = address;
  return result;
}

static uint64_t critical_path(CUgraph graph);

CUresult sim_cuGraphAddChildGraphNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies, size_t count,
                                      CUgraph child) {
  if (!is_graph(child)) return CUDA_ERROR_INVALID_VALUE;
  CUresult result = add(node, graph, dependencies, count, CU_GRAPH_NODE_TYPE_GRAPH);
  if (result == CUDA_SUCCESS) (*node)->duration = critical_path(child);
  return result;
}

CUresult sim_cuGraphAddNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies, size_t count,
                            CUgraphNodeParams *params) {
  if (params == NULL) return CUDA_ERROR_INVALID_VALUE;
  switch (params->type) {
    case CU_GRAPH_NODE_TYPE_KERNEL: return sim_cuGraphAddKernelNode_v2(node, graph, dependencies, count, &params->kernel);
    case CU_GRAPH_NODE_TYPE_MEMSET: return sim_cuGraphAddMemsetNode(node, graph, dependencies, count, &params->memset, NULL);
    case CU_GRAPH_NODE_TYPE_HOST: return sim_cuGraphAddHostNode(node, graph, dependencies, count, &params->host);
    case CU_GRAPH_NODE_TYPE_GRAPH: return sim_cuGraphAddChildGraphNode(node, graph, dependencies, count, params->graph);
    case CU_GRAPH_NODE_TYPE_MEM_ALLOC: return sim_cuGraphAddMemAllocNode(node, graph, dependencies, count, &params->alloc);
    case CU_GRAPH_NODE_TYPE_MEM_FREE: return sim_cuGraphAddMemFreeNode(node, graph, dependencies, count, params->free.dptr);
    case CU_GRAPH_NODE_TYPE_WAIT_EVENT:
    case CU_GRAPH_NODE_TYPE_EVENT_RECORD:
    case CU_GRAPH_NODE_TYPE_MEMCPY:
    case CU_GRAPH_NODE_TYPE_EMPTY: return add(node, graph, dependencies, count, params->type);
    default: return CUDA_ERROR_NOT_SUPPORTED;
  }
}

CUresult sim_cuGraphAddNode_v2(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies,
                               const CUgraphEdgeData *data, size_t count, CUgraphNodeParams *params) {
  (void)data;
  return sim_cuGraphAddNode(node, graph, dependencies, count, params);
}

CUresult sim_cuGraphAddDependencies(CUgraph graph, const CUgraphNode *from, const CUgraphNode *to, size_t count) {
  if (!is_graph(graph) || (count > 0 && (from == NULL || to == NULL))) return CUDA_ERROR_INVALID_VALUE;
  for (size_t i = 0; i < count; i++)
    if (!is_node(from[i]) || !is_node(to[i]) || !add_edge(graph, from[i], to[i])) return CUDA_ERROR_INVALID_VALUE;
  return CUDA_SUCCESS;
}

CUresult sim_cuGraphAddDependencies_v2(CUgraph graph, const CUgraphNode *from, const CUgraphNode *to,
                                       const CUgraphEdgeData *data, size_t count) {
  (void)data;
  return sim_cuGraphAddDependencies(graph, from, to, count);
}

/* ---- graphs ------------------------------------------------------------------------- */

CUresult sim_cuGraphCreate(CUgraph *graph, unsigned flags) {
  if (process_ready() != CUDA_SUCCESS) return CUDA_ERROR_NOT_INITIALIZED;
  if (graph == NULL || flags != 0) return CUDA_ERROR_INVALID_VALUE;
  *graph = calloc(1, sizeof **graph);
  if (*graph == NULL) return CUDA_ERROR_OUT_OF_MEMORY;
  (*graph)->mark = MARK_GRAPH;
  return CUDA_SUCCESS;
}

CUresult sim_cuGraphDestroy(CUgraph graph) {
  if (!is_graph(graph)) return CUDA_ERROR_INVALID_VALUE;
  graph->mark = MARK_DEAD; /* nodes stay behind as dead marks */
  for (CUgraphNode node = graph->first; node != NULL; node = node->next) node->mark = MARK_DEAD;
  free(graph->edge);
  graph->edge = NULL;
  graph->edges = 0;
  return CUDA_SUCCESS;
}

/* Nodes lengthen until every edge is kept; a cycle ends the search after as many rounds as nodes. */
static uint64_t critical_path(CUgraph graph) {
  uint64_t longest = 0;
  for (CUgraphNode node = graph->first; node != NULL; node = node->next) node->finish = node->duration;
  bool moved = true;
  for (size_t round = 0; moved && round < graph->nodes; round++) {
    moved = false;
    for (size_t i = 0; i < graph->edges; i++) {
      uint64_t finish = graph->edge[i].from->finish + graph->edge[i].to->duration;
      if (finish > graph->edge[i].to->finish) graph->edge[i].to->finish = finish, moved = true;
    }
  }
  for (CUgraphNode node = graph->first; node != NULL; node = node->next)
    if (node->finish > longest) longest = node->finish;
  return longest;
}

static uint64_t memory_of(CUgraph graph) {
  uint64_t bytes = 0;
  for (CUgraphNode node = graph->first; node != NULL; node = node->next) bytes += memory_granules(node->bytes);
  return bytes;
}

CUresult sim_cuGraphGetNodes(CUgraph graph, CUgraphNode *nodes, size_t *count) {
  if (!is_graph(graph) || count == NULL) return CUDA_ERROR_INVALID_VALUE;
  size_t i = 0;
  for (CUgraphNode node = graph->first; nodes != NULL && node != NULL && i < *count; node = node->next) nodes[i++] = node;
  *count = nodes == NULL ? graph->nodes : i;
  return CUDA_SUCCESS;
}

CUresult sim_cuGraphNodeGetType(CUgraphNode node, CUgraphNodeType *type) {
  if (!is_node(node) || type == NULL) return CUDA_ERROR_INVALID_VALUE;
  *type = node->type;
  return CUDA_SUCCESS;
}

CUresult sim_cuGraphMemAllocNodeGetParams(CUgraphNode node, CUDA_MEM_ALLOC_NODE_PARAMS *params) {
  if (!is_node(node) || params == NULL || node->type != CU_GRAPH_NODE_TYPE_MEM_ALLOC) return CUDA_ERROR_INVALID_VALUE;
  *params = (CUDA_MEM_ALLOC_NODE_PARAMS){.bytesize = node->bytes, .dptr = node->address};
  return CUDA_SUCCESS;
}

CUresult sim_cuGraphMemFreeNodeGetParams(CUgraphNode node, CUdeviceptr *address) {
  if (!is_node(node) || address == NULL || node->type != CU_GRAPH_NODE_TYPE_MEM_FREE) return CUDA_ERROR_INVALID_VALUE;
  *address = node->address;
  return CUDA_SUCCESS;
}

CUresult sim_cuGraphKernelNodeGetParams_v2(CUgraphNode node, CUDA_KERNEL_NODE_PARAMS *params) {
  if (!is_node(node) || params == NULL || node->type != CU_GRAPH_NODE_TYPE_KERNEL) return CUDA_ERROR_INVALID_VALUE;
  *params = node->kernel;
  return CUDA_SUCCESS;
}

CUresult sim_cuGraphKernelNodeGetParams(CUgraphNode node, CUDA_KERNEL_NODE_PARAMS_v1 *params) {
  if (!is_node(node) || params == NULL || node->type != CU_GRAPH_NODE_TYPE_KERNEL) return CUDA_ERROR_INVALID_VALUE;
  memcpy(params, &node->kernel, sizeof *params);
  return CUDA_SUCCESS;
}

CUresult sim_cuGraphKernelNodeSetParams_v2(CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS *params) {
  if (!is_node(node) || params == NULL || node->type != CU_GRAPH_NODE_TYPE_KERNEL) return CUDA_ERROR_INVALID_VALUE;
  return set_kernel(node, params);
}

CUresult sim_cuGraphKernelNodeSetParams(CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS_v1 *params) {
  if (params == NULL) return CUDA_ERROR_INVALID_VALUE;
  CUDA_KERNEL_NODE_PARAMS wide = widen(params);
  return sim_cuGraphKernelNodeSetParams_v2(node, &wide);
}

/* ---- executables ------------------------------------------------------------------------ */

/* Memory of executable graphs, per tenant and device: what launched ones need, and what is held. */
struct graph_memory { uint64_t needed, needed_high, held, held_high; };
static struct graph_memory graph_memory[SIM_TENANTS][SIM_DEVICES];

static CUresult instantiate(CUgraphExec *exec, CUgraph graph, unsigned long long flags) {
  if (exec == NULL || !is_graph(graph)) return CUDA_ERROR_INVALID_VALUE;
  *exec = calloc(1, sizeof **exec);
  if (*exec == NULL) return CUDA_ERROR_OUT_OF_MEMORY;
  **exec = (struct CUgraphExec_st){.mark = MARK_EXEC, .duration = critical_path(graph), .bytes = memory_of(graph),
                                   .flags = (unsigned)flags, .graph = graph};
  return CUDA_SUCCESS;
}

CUresult sim_cuGraphInstantiate_v2(CUgraphExec *exec, CUgraph graph, CUgraphNode *error, char *log, size_t size) {
  if (error != NULL) *error = NULL;
  if (log != NULL && size > 0) *log = '\0';
  return instantiate(exec, graph, 0);
}

CUresult sim_cuGraphInstantiate(CUgraphExec *exec, CUgraph graph, CUgraphNode *error, char *log, size_t size) {
  return sim_cuGraphInstantiate_v2(exec, graph, error, log, size);
}

CUresult sim_cuGraphInstantiateWithFlags(CUgraphExec *exec, CUgraph graph, unsigned long long flags) {
  return instantiate(exec, graph, flags);
}

/* What the executable needs is held until a trim, and shared with later graphs. */
static CUresult reserve(CUgraphExec exec, struct CUctx_st *context) {
  if (exec->reserved_in != NULL || exec->bytes == 0) return CUDA_SUCCESS;
  struct graph_memory *memory = &graph_memory[context->tenant][context->device];
  uint64_t needed = memory->needed + exec->bytes;
  if (needed > memory->held) {
    if (!process_charge(context->slot, context->device, needed - memory->held)) return CUDA_ERROR_OUT_OF_MEMORY;
    memory->held = needed;
  }
  memory->needed = needed;
  if (memory->held > memory->held_high) memory->held_high = memory->held;
  if (memory->needed > memory->needed_high) memory->needed_high = memory->needed;
  exec->reserved_in = context;
  return CUDA_SUCCESS;
}

CUresult sim_cuGraphUpload(CUgraphExec exec, CUstream stream) {
  struct stream_place place;
  CUresult result = stream_place(stream, &place);
  if (result != CUDA_SUCCESS) return result;
  if (!is_exec(exec)) return CUDA_ERROR_INVALID_VALUE;
  process_lock();
  result = reserve(exec, place.context);
  process_unlock();
  return result;
}

static CUresult instantiate_with(CUgraphExec *exec, CUgraph graph, CUDA_GRAPH_INSTANTIATE_PARAMS *params, CUstream upload) {
  if (params == NULL) return CUDA_ERROR_INVALID_VALUE;
  CUresult result = instantiate(exec, graph, params->flags);
  if (result == CUDA_SUCCESS && (params->flags & CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD)) result = sim_cuGraphUpload(*exec, upload);
  params->hErrNode_out = NULL;
  params->result_out = result == CUDA_SUCCESS ? CUDA_GRAPH_INSTANTIATE_SUCCESS : CUDA_GRAPH_INSTANTIATE_ERROR;
  return result;
}

CUresult sim_cuGraphInstantiateWithParams(CUgraphExec *exec, CUgraph graph, CUDA_GRAPH_INSTANTIATE_PARAMS *params) {
  return instantiate_with(exec, graph, params, params == NULL ? NULL : params->hUploadStream);
}

CUresult sim_cuGraphInstantiateWithParams_ptsz(CUgraphExec *exec, CUgraph graph, CUDA_GRAPH_INSTANTIATE_PARAMS *params) {
  bool own = params != NULL && params->hUploadStream == NULL;
  return instantiate_with(exec, graph, params, own ? CU_STREAM_PER_THREAD : params == NULL ? NULL : params->hUploadStream);
}

static CUresult capture_child(struct CUstream_st *stream, CUgraphExec exec);

CUresult sim_cuGraphLaunch(CUgraphExec exec, CUstream stream) {
  if (process_minimal) return process_ready();
  struct stream_place place;
  CUresult result = stream_place(stream, &place);
  if (result != CUDA_SUCCESS) return result;
  if (!is_exec(exec)) return CUDA_ERROR_INVALID_VALUE;
  if (place.handle != NULL && place.handle->capture != NULL) return capture_child(place.handle, exec);
  process_lock();
  result = reserve(exec, place.context);
  process_unlock();
  if (result != CUDA_SUCCESS) return result;
  struct sim_item item = {.kind = ITEM_WORK, .remaining = exec->duration, .share = WHOLE_GPU};
  return stream_submit(&place, item, NULL);
}

CUresult sim_cuGraphExecDestroy(CUgraphExec exec) {
  if (!is_exec(exec)) return CUDA_ERROR_INVALID_VALUE;
  process_lock();
  if (exec->reserved_in != NULL)
    graph_memory[exec->reserved_in->tenant][exec->reserved_in->device].needed -= exec->bytes;
  exec->mark = MARK_DEAD;
  process_unlock();
  free(exec);
  return CUDA_SUCCESS;
}

CUresult sim_cuGraphExecGetFlags(CUgraphExec exec, uint64_t *flags) {
  if (!is_exec(exec) || flags == NULL) return CUDA_ERROR_INVALID_VALUE;
  *flags = exec->flags;
  return CUDA_SUCCESS;
}

CUresult sim_cuGraphExecKernelNodeSetParams_v2(CUgraphExec exec, CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS *params) {
  if (!is_exec(exec)) return CUDA_ERROR_INVALID_VALUE;
  CUresult result = sim_cuGraphKernelNodeSetParams_v2(node, params);
  if (result == CUDA_SUCCESS) exec->duration = critical_path(node->graph);
  return result;
}

CUresult sim_cuGraphExecKernelNodeSetParams(CUgraphExec exec, CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS_v1 *params) {
  if (params == NULL) return CUDA_ERROR_INVALID_VALUE;
  CUDA_KERNEL_NODE_PARAMS wide = widen(params);
  return sim_cuGraphExecKernelNodeSetParams_v2(exec, node, &wide);
}

/* ---- graph memory --------------------------------------------------------------------------- */

CUresult sim_cuDeviceGraphMemTrim(CUdevice device) {
  if (process_ready() != CUDA_SUCCESS) return CUDA_ERROR_NOT_INITIALIZED;
  if (!device_exists(device)) return CUDA_ERROR_INVALID_DEVICE;
  process_lock();
  struct graph_memory *memory = &graph_memory[state_tenant()][device];
  state_lock(process_state);
  struct sim_slot *slot = state_slot(process_state, state_tenant());
  if (slot != NULL && memory->held > memory->needed)
    state_discharge(process_state, slot, device, memory->held - memory->needed);
  state_unlock(process_state);
  memory->held = memory->needed;
  process_unlock();
  return CUDA_SUCCESS;
}

CUresult sim_cuDeviceGetGraphMemAttribute(CUdevice device, CUgraphMem_attribute attribute, void *value) {
  if (value == NULL || !device_exists(device)) return CUDA_ERROR_INVALID_VALUE;
  struct graph_memory *memory = &graph_memory[state_tenant()][device];
  switch (attribute) {
    case CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT: *(uint64_t *)value = memory->needed; break;
    case CU_GRAPH_MEM_ATTR_USED_MEM_HIGH: *(uint64_t *)value = memory->needed_high; break;
    case CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT: *(uint64_t *)value = memory->held; break;
    case CU_GRAPH_MEM_ATTR_RESERVED_MEM_HIGH: *(uint64_t *)value = memory->held_high; break;
    default: return CUDA_ERROR_INVALID_VALUE;
  }
  return CUDA_SUCCESS;
}

CUresult sim_cuDeviceSetGraphMemAttribute(CUdevice device, CUgraphMem_attribute attribute, void *value) {
  if (value == NULL || !device_exists(device) || *(uint64_t *)value != 0) return CUDA_ERROR_INVALID_VALUE;
  struct graph_memory *memory = &graph_memory[state_tenant()][device];
  if (attribute == CU_GRAPH_MEM_ATTR_USED_MEM_HIGH) return memory->needed_high = memory->needed, CUDA_SUCCESS;
  if (attribute == CU_GRAPH_MEM_ATTR_RESERVED_MEM_HIGH) return memory->held_high = memory->held, CUDA_SUCCESS;
  return CUDA_ERROR_INVALID_VALUE;
}

/* ---- capture ----------------------------------------------------------------------------------- */

static _Atomic int global_captures;
static _Thread_local int own_captures;
static _Thread_local CUstreamCaptureMode thread_mode = CU_STREAM_CAPTURE_MODE_GLOBAL;
static _Thread_local CUgraph own_capture;
static CUgraph global_capture;

bool capture_forbids(void) {
  if (thread_mode == CU_STREAM_CAPTURE_MODE_RELAXED) return false;
  bool global = thread_mode == CU_STREAM_CAPTURE_MODE_GLOBAL && global_captures > 0;
  if (!global && own_captures == 0) return false;
  CUgraph graph = own_captures > 0 ? own_capture : global_capture;
  if (graph != NULL) graph->invalidated = true;
  return true;
}

void capture_join(struct CUstream_st *stream, CUgraph graph) { stream->capture = graph; }

static CUresult capture_node(struct CUstream_st *stream, CUgraphNodeType type, CUgraphNode *node) {
  CUgraph graph = stream->capture;
  if (graph->invalidated) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  process_lock();
  CUgraphNode previous = graph->captured;
  CUresult result = add(node, graph, &previous, previous == NULL ? 0 : 1, type);
  if (result == CUDA_SUCCESS) graph->captured = *node;
  process_unlock();
  return result;
}

CUresult capture_launch(struct CUstream_st *stream, const struct launch *launch) {
  CUgraphNode node;
  CUresult result = capture_node(stream, CU_GRAPH_NODE_TYPE_KERNEL, &node);
  if (result != CUDA_SUCCESS) return result;
  node->kernel = (CUDA_KERNEL_NODE_PARAMS){
      .func = launch->function, .gridDimX = launch->grid[0], .gridDimY = launch->grid[1], .gridDimZ = launch->grid[2],
      .blockDimX = launch->block[0], .blockDimY = launch->block[1], .blockDimZ = launch->block[2]};
  node->duration = launch_duration(launch);
  return CUDA_SUCCESS;
}

CUresult capture_copy(struct CUstream_st *stream, uint64_t duration) {
  CUgraphNode node;
  CUresult result = capture_node(stream, CU_GRAPH_NODE_TYPE_MEMCPY, &node);
  if (result == CUDA_SUCCESS) node->duration = duration;
  return result;
}

static CUresult capture_child(struct CUstream_st *stream, CUgraphExec exec) { return capture_copy(stream, exec->duration); }

CUresult capture_allocation(struct CUstream_st *stream, uint64_t size, CUdeviceptr *address) {
  CUgraphNode node;
  CUresult result = capture_node(stream, CU_GRAPH_NODE_TYPE_MEM_ALLOC, &node);
  return result == CUDA_SUCCESS ? set_allocation(node, size, address) : result;
}

CUresult capture_free(struct CUstream_st *stream, CUdeviceptr address) {
  CUgraphNode node;
  CUresult result = capture_node(stream, CU_GRAPH_NODE_TYPE_MEM_FREE, &node);
  if (result == CUDA_SUCCESS) node->address = address;
  return result;
}

static CUresult begin(CUstream stream, CUgraph graph, CUstreamCaptureMode mode) {
  static _Atomic unsigned long long next_id = 1;
  if ((uintptr_t)stream <= 1) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED; /* the legacy stream */
  struct stream_place place;
  CUresult result = stream_place(stream, &place);
  if (result != CUDA_SUCCESS) return result;
  if (place.handle == NULL) return CUDA_ERROR_NOT_SUPPORTED;
  if (place.handle->capture != NULL || mode > CU_STREAM_CAPTURE_MODE_RELAXED) return CUDA_ERROR_ILLEGAL_STATE;
  if (graph == NULL) result = sim_cuGraphCreate(&graph, 0);
  if (result != CUDA_SUCCESS) return result;
  graph->capture_id = next_id++;
  place.handle->capture = graph;
  place.handle->capture_mode = mode;
  if (mode == CU_STREAM_CAPTURE_MODE_GLOBAL) {
    global_captures++;
    global_capture = graph;
  }
  if (mode != CU_STREAM_CAPTURE_MODE_RELAXED) {
    own_captures++;
    own_capture = graph;
  }
  return CUDA_SUCCESS;
}

CUresult sim_cuStreamBeginCapture_v2(CUstream stream, CUstreamCaptureMode mode) { return begin(stream, NULL, mode); }
CUresult sim_cuStreamBeginCapture(CUstream stream) { return begin(stream, NULL, CU_STREAM_CAPTURE_MODE_GLOBAL); }

CUresult sim_cuStreamBeginCaptureToGraph(CUstream stream, CUgraph graph, const CUgraphNode *dependencies,
                                         const CUgraphEdgeData *data, size_t count, CUstreamCaptureMode mode) {
  (void)dependencies, (void)data, (void)count;
  return is_graph(graph) ? begin(stream, graph, mode) : CUDA_ERROR_INVALID_VALUE;
}

CUresult sim_cuStreamEndCapture(CUstream stream, CUgraph *graph) {
  if (graph == NULL || (uintptr_t)stream <= 2 || stream->mark != MARK_STREAM) return CUDA_ERROR_INVALID_VALUE;
  CUgraph captured = stream->capture;
  if (captured == NULL) return CUDA_ERROR_ILLEGAL_STATE;
  process_lock();
  streams_end_capture(captured);
  process_unlock();
  if (stream->capture_mode == CU_STREAM_CAPTURE_MODE_GLOBAL) global_captures--;
  if (stream->capture_mode != CU_STREAM_CAPTURE_MODE_RELAXED) own_captures--;
  *graph = captured->invalidated ? NULL : captured;
  return captured->invalidated ? CUDA_ERROR_STREAM_CAPTURE_INVALIDATED : CUDA_SUCCESS;
}

static CUresult capture_of(CUstream stream, CUgraph *graph) {
  struct stream_place place;
  CUresult result = stream_place(stream, &place);
  *graph = result == CUDA_SUCCESS && place.handle != NULL ? place.handle->capture : NULL;
  return result;
}

static CUstreamCaptureStatus status_of(CUgraph graph) {
  if (graph == NULL) return CU_STREAM_CAPTURE_STATUS_NONE;
  return graph->invalidated ? CU_STREAM_CAPTURE_STATUS_INVALIDATED : CU_STREAM_CAPTURE_STATUS_ACTIVE;
}

CUresult sim_cuStreamIsCapturing(CUstream stream, CUstreamCaptureStatus *status) {
  CUgraph graph;
  if (status == NULL) return CUDA_ERROR_INVALID_VALUE;
  CUresult result = capture_of(stream, &graph);
  if (result == CUDA_SUCCESS) *status = status_of(graph);
  return result;
}

CUresult sim_cuStreamGetCaptureInfo(CUstream stream, CUstreamCaptureStatus *status, uint64_t *id) {
  CUgraph graph;
  if (status == NULL) return CUDA_ERROR_INVALID_VALUE;
  CUresult result = capture_of(stream, &graph);
  if (result != CUDA_SUCCESS) return result;
  *status = status_of(graph);
  if (id != NULL) *id = graph == NULL ? 0 : graph->capture_id;
  return CUDA_SUCCESS;
}

CUresult sim_cuStreamGetCaptureInfo_v2(CUstream stream, CUstreamCaptureStatus *status, uint64_t *id, CUgraph *graph,
                                       const CUgraphNode **dependencies, size_t *count) {
  CUgraph capture;
  CUresult result = sim_cuStreamGetCaptureInfo(stream, status, id);
  if (result != CUDA_SUCCESS) return result;
  capture_of(stream, &capture);
  if (graph != NULL) *graph = capture;
  if (dependencies != NULL) *dependencies = capture == NULL ? NULL : &capture->captured;
  if (count != NULL) *count = capture != NULL && capture->captured != NULL ? 1 : 0;
  return CUDA_SUCCESS;
}

CUresult sim_cuStreamGetCaptureInfo_v3(CUstream stream, CUstreamCaptureStatus *status, uint64_t *id, CUgraph *graph,
                                       const CUgraphNode **dependencies, const CUgraphEdgeData **data, size_t *count) {
  if (data != NULL) *data = NULL;
  return sim_cuStreamGetCaptureInfo_v2(stream, status, id, graph, dependencies, count);
}

CUresult sim_cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode *mode) {
  if (mode == NULL || *mode > CU_STREAM_CAPTURE_MODE_RELAXED) return CUDA_ERROR_INVALID_VALUE;
  CUstreamCaptureMode before = thread_mode;
  thread_mode = *mode;
  *mode = before;
  return CUDA_SUCCESS;
}

void graphs_abandon(void) {
  memset(graph_memory, 0, sizeof graph_memory);
  global_captures = 0;
  own_captures = 0;
}
