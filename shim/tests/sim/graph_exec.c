/* Executable graphs and the memory they hold. A launch runs for the graph's critical path and
 * takes the whole GPU.
 */
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "graph.h"

enum { WHOLE_GPU = 1000 };

struct CUgraphExec_st {
  uint32_t mark;
  uint64_t duration, bytes;
  unsigned flags;
  struct CUgraph_st *graph; /* a copy of its own */
  struct CUctx_st *reserved_in; /* whose graph memory it took at its first launch */
};

static bool is_exec(CUgraphExec exec) { return exec != NULL && exec->mark == MARK_EXEC; }

CUresult sim_cuGraphKernelNodeSetParams_v2(CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS *params);

/* ---- instantiation and launch ---------------------------------------- */

/* Memory of executable graphs, per tenant and device: what launched ones need, and what is held. */
struct graph_memory { uint64_t needed, needed_high, held, held_high; };
static struct graph_memory graph_memory[SIM_TENANTS][SIM_DEVICES];

static CUresult instantiate(CUgraphExec *exec, CUgraph graph, unsigned long long flags) {
  if (exec == NULL || !graph_is(graph)) return CUDA_ERROR_INVALID_VALUE;
  *exec = calloc(1, sizeof **exec);
  if (*exec == NULL) return CUDA_ERROR_OUT_OF_MEMORY;
  **exec = (struct CUgraphExec_st){.mark = MARK_EXEC, .duration = graph_duration(graph), .bytes = graph_memory_bytes(graph),
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

CUresult sim_cuGraphLaunch(CUgraphExec exec, CUstream stream) {
  if (process_minimal) return process_ready();
  struct stream_place place;
  CUresult result = stream_place(stream, &place);
  if (result != CUDA_SUCCESS) return result;
  if (!is_exec(exec)) return CUDA_ERROR_INVALID_VALUE;
  if (place.handle != NULL && place.handle->capture != NULL) return capture_copy(place.handle, exec->duration);
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
  if (result == CUDA_SUCCESS) exec->duration = graph_duration(node->graph);
  return result;
}

CUresult sim_cuGraphExecKernelNodeSetParams(CUgraphExec exec, CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS_v1 *params) {
  if (params == NULL) return CUDA_ERROR_INVALID_VALUE;
  CUDA_KERNEL_NODE_PARAMS wide = graph_widen(params);
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

void graphs_abandon(void) {
  memset(graph_memory, 0, sizeof graph_memory);
  captures_abandon();
}
