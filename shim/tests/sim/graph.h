/* Captures, as the calls that behave differently while one is on need to know them. */
#ifndef SIM_GRAPH_H
#define SIM_GRAPH_H

#include "launch.h"

/* True: a capture makes this kind of call unsafe in the calling thread, and was invalidated by it. */
bool capture_forbids(void);
/* The stream waits for an event of a capture: it joins it. */
void capture_join(struct CUstream_st *stream, struct CUgraph_st *graph);
/* A copy or set of that many bytes in a capturing stream. */
CUresult capture_copy(struct CUstream_st *stream, uint64_t duration);

/* stream.c: streams of that capture stop recording. */
void streams_end_capture(struct CUgraph_st *graph);

#endif
