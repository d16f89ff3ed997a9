/* Graphs: the memory they allocate by themselves, and stream capture. */
#ifndef VGPU_GRAPH_H
#define VGPU_GRAPH_H

#include "cuda_abi.h"
#include "memory.h"

/* Whether the stream is being captured. Cheap while nothing in the process is. */
int graph_captures(CUstream stream);
/* Whether anything in the process is. */
int graph_any_capture(void);

/* A captured allocation becomes the graph's; hands on the driver's result. */
CUresult graph_captured_allocation(size_t size, CUresult result);

/* Before a launch: reserves what the graph may add to what graphs hold. */
CUresult graph_reserve(CUgraphExec exec, struct charge *charge);
/* After it: the account follows what the driver says graphs hold. */
void graph_settle(CUgraphExec exec, const struct charge *charge, CUresult result);

/* Gives back what graphs hold and do not use; 1: something came back. */
int graph_shrink(uint32_t device);
void graph_after_fork(void);

#endif
