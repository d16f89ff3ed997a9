/* Graphs: nodes and edges. What runs is in graph_exec.c, recording from streams in capture.c. */
#include "graph.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"

bool graph_is(CUgraph graph) { return graph != NULL && graph->mark == MARK_GRAPH; }
static bool is_node(CUgraphNode node) { return node != NULL && node->mark == MARK_NODE; }

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

CUresult graph_add(CUgraphNode *out, CUgraph graph, const CUgraphNode *dependencies, size_t count, CUgraphNodeType type) {
  if (process_ready() != CUDA_SUCCESS) return CUDA_ERROR_NOT_INITIALIZED;
  if (out == NULL || !graph_is(graph) || (count > 0 && dependencies == NULL)) return CUDA_ERROR_INVALID_VALUE;
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

CUDA_KERNEL_NODE_PARAMS graph_widen(const CUDA_KERNEL_NODE_PARAMS_v1 *old) {
  CUDA_KERNEL_NODE_PARAMS params = {0};
  memcpy(&params, old, sizeof *old);
  return params;
}

CUresult sim_cuGraphAddKernelNode_v2(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies, size_t count,
                                     const CUDA_KERNEL_NODE_PARAMS *params) {
  if (params == NULL) return CUDA_ERROR_INVALID_VALUE;
  struct launch launch = launch_of(params);
  CUresult result = launch_check(&launch);
  if (result == CUDA_SUCCESS) result = graph_add(node, graph, dependencies, count, CU_GRAPH_NODE_TYPE_KERNEL);
  return result == CUDA_SUCCESS ? set_kernel(*node, params) : result;
}

CUresult sim_cuGraphAddKernelNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies, size_t count,
                                  const CUDA_KERNEL_NODE_PARAMS_v1 *params) {
  if (params == NULL) return CUDA_ERROR_INVALID_VALUE;
  CUDA_KERNEL_NODE_PARAMS wide = graph_widen(params);
  return sim_cuGraphAddKernelNode_v2(node, graph, dependencies, count, &wide);
}

CUresult sim_cuGraphAddEmptyNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies, size_t count) {
  return graph_add(node, graph, dependencies, count, CU_GRAPH_NODE_TYPE_EMPTY);
}

CUresult sim_cuGraphAddMemsetNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies, size_t count,
                                  const CUDA_MEMSET_NODE_PARAMS *params, CUcontext context) {
  (void)context;
  if (params == NULL) return CUDA_ERROR_INVALID_VALUE;
  return graph_add(node, graph, dependencies, count, CU_GRAPH_NODE_TYPE_MEMSET);
}

CUresult sim_cuGraphAddMemcpyNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies, size_t count,
                                  const void *params, CUcontext context) {
  (void)context;
  if (params == NULL) return CUDA_ERROR_INVALID_VALUE;
  return graph_add(node, graph, dependencies, count, CU_GRAPH_NODE_TYPE_MEMCPY);
}

CUresult sim_cuGraphAddHostNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies, size_t count,
                                const CUDA_HOST_NODE_PARAMS *params) {
  if (params == NULL || params->fn == NULL) return CUDA_ERROR_INVALID_VALUE;
  CUresult result = graph_add(node, graph, dependencies, count, CU_GRAPH_NODE_TYPE_HOST);
  if (result == CUDA_SUCCESS) (*node)->host = *params;
  return result;
}

CUresult sim_cuGraphAddEventRecordNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies, size_t count,
                                       CUevent event) {
  CUresult result = graph_add(node, graph, dependencies, count, CU_GRAPH_NODE_TYPE_EVENT_RECORD);
  if (result == CUDA_SUCCESS) (*node)->event = event;
  return result;
}

CUresult sim_cuGraphAddEventWaitNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies, size_t count,
                                     CUevent event) {
  CUresult result = graph_add(node, graph, dependencies, count, CU_GRAPH_NODE_TYPE_WAIT_EVENT);
  if (result == CUDA_SUCCESS) (*node)->event = event;
  return result;
}

/* The address is fixed now, the memory taken at the first launch. */
CUresult graph_set_allocation(CUgraphNode node, uint64_t size, CUdeviceptr *address) {
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
  CUresult result = graph_add(node, graph, dependencies, count, CU_GRAPH_NODE_TYPE_MEM_ALLOC);
  return result == CUDA_SUCCESS ? graph_set_allocation(*node, params->bytesize, &params->dptr) : result;
}

CUresult sim_cuGraphAddMemFreeNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies, size_t count,
                                   CUdeviceptr address) {
  CUresult result = graph_add(node, graph, dependencies, count, CU_GRAPH_NODE_TYPE_MEM_FREE);
  if (result == CUDA_SUCCESS) (*node)->address = address;
  return result;
}

CUresult sim_cuGraphAddChildGraphNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies, size_t count,
                                      CUgraph child) {
  if (!graph_is(child)) return CUDA_ERROR_INVALID_VALUE;
  CUresult result = graph_add(node, graph, dependencies, count, CU_GRAPH_NODE_TYPE_GRAPH);
  if (result == CUDA_SUCCESS) (*node)->duration = graph_duration(child);
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
    case CU_GRAPH_NODE_TYPE_EMPTY: return graph_add(node, graph, dependencies, count, params->type);
    default: return CUDA_ERROR_NOT_SUPPORTED;
  }
}

CUresult sim_cuGraphAddNode_v2(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies,
                               const CUgraphEdgeData *data, size_t count, CUgraphNodeParams *params) {
  (void)data;
  return sim_cuGraphAddNode(node, graph, dependencies, count, params);
}

CUresult sim_cuGraphAddDependencies(CUgraph graph, const CUgraphNode *from, const CUgraphNode *to, size_t count) {
  if (!graph_is(graph) || (count > 0 && (from == NULL || to == NULL))) return CUDA_ERROR_INVALID_VALUE;
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
  if (!graph_is(graph)) return CUDA_ERROR_INVALID_VALUE;
  graph->mark = MARK_DEAD; /* nodes stay behind as dead marks */
  for (CUgraphNode node = graph->first; node != NULL; node = node->next) node->mark = MARK_DEAD;
  free(graph->edge);
  graph->edge = NULL;
  graph->edges = 0;
  return CUDA_SUCCESS;
}

/* Nodes lengthen until every edge is kept; a cycle ends the search after as many rounds as nodes. */
uint64_t graph_duration(CUgraph graph) {
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

uint64_t graph_memory_bytes(CUgraph graph) {
  uint64_t bytes = 0;
  for (CUgraphNode node = graph->first; node != NULL; node = node->next) bytes += memory_granules(node->bytes);
  return bytes;
}

CUresult sim_cuGraphGetNodes(CUgraph graph, CUgraphNode *nodes, size_t *count) {
  if (!graph_is(graph) || count == NULL) return CUDA_ERROR_INVALID_VALUE;
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
  CUDA_KERNEL_NODE_PARAMS wide = graph_widen(params);
  return sim_cuGraphKernelNodeSetParams_v2(node, &wide);
}
