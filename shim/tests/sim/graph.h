/* Graphs as their three files share them, and captures as the calls that behave differently
 * while one is on need to know them.
 */
#ifndef SIM_GRAPH_H
#define SIM_GRAPH_H

#include "launch.h"

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

bool graph_is(CUgraph graph);
CUresult graph_add(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies, size_t count, CUgraphNodeType type);
CUresult graph_set_allocation(CUgraphNode node, uint64_t size, CUdeviceptr *address);
CUDA_KERNEL_NODE_PARAMS graph_widen(const CUDA_KERNEL_NODE_PARAMS_v1 *old);
uint64_t graph_duration(CUgraph graph); /* ns, along the longest path */
uint64_t graph_memory_bytes(CUgraph graph);

/* True: a capture makes this kind of call unsafe in the calling thread, and was invalidated by it. */
bool capture_forbids(void);
/* The stream waits for an event of a capture: it joins it. */
void capture_join(struct CUstream_st *stream, struct CUgraph_st *graph);
/* A copy, set or child graph of that duration in a capturing stream. */
CUresult capture_copy(struct CUstream_st *stream, uint64_t duration);
void captures_abandon(void);

/* stream.c: streams of that capture stop recording. */
void streams_end_capture(struct CUgraph_st *graph);

#endif
