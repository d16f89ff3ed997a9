/* Capture: streams that record into a graph instead of running, and what that forbids. */
#include "graph.h"
#include "pool.h"

CUresult sim_cuGraphCreate(CUgraph *graph, unsigned flags);

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
  CUresult result = graph_add(node, graph, &previous, previous == NULL ? 0 : 1, type);
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

CUresult capture_allocation(struct CUstream_st *stream, uint64_t size, CUdeviceptr *address) {
  CUgraphNode node;
  CUresult result = capture_node(stream, CU_GRAPH_NODE_TYPE_MEM_ALLOC, &node);
  return result == CUDA_SUCCESS ? graph_set_allocation(node, size, address) : result;
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
  return graph_is(graph) ? begin(stream, graph, mode) : CUDA_ERROR_INVALID_VALUE;
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

void captures_abandon(void) {
  global_captures = 0;
  own_captures = 0;
}
