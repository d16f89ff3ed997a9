/* What one process holds of the driver: initialisation, contexts, streams, events.
 * Handles point to these structs; each begins with a mark, so that a wrong or freed
 * handle is an error and not a crash. Guarded by process_lock(), which is taken
 * before the state's lock.
 */
#ifndef SIM_PROCESS_H
#define SIM_PROCESS_H

#include <stdbool.h>

#include "cuda_abi.h"
#include "state.h"

enum mark { /* arbitrary, distinct */
  MARK_CONTEXT = 0x51c0de01, MARK_STREAM, MARK_EVENT, MARK_MODULE, MARK_FUNCTION,
  MARK_POOL, MARK_ARRAY, MARK_MIPMAP, MARK_GRAPH, MARK_NODE, MARK_EXEC, MARK_EXTERNAL,
  MARK_DEAD
};

struct CUctx_st {
  uint32_t mark;
  int device;
  unsigned tenant, flags;
  struct sim_slot *slot;
  unsigned references; /* of a primary context */
  bool primary;
};

struct CUstream_st {
  uint32_t mark;
  struct CUctx_st *context;
  uint32_t id; /* in the context's channel */
  unsigned flags;
  int priority;
  struct CUgraph_st *capture; /* being recorded into, or NULL */
  CUstreamCaptureMode capture_mode;
};

struct CUevent_st {
  uint32_t mark;
  struct CUctx_st *context;
  unsigned flags;
  int channel; /* -1: never recorded */
  uint32_t id;
  uint64_t seq;          /* of its last record */
  uint32_t stream, tail; /* where that stands */
  struct CUgraph_st *capture; /* recorded last in this capture, or NULL */
};

extern struct sim_state *process_state; /* set by cuInit */
extern _Atomic bool process_minimal;

/* Whether cuInit has run in this very process, or CUDA_ERROR_NOT_INITIALIZED. */
CUresult process_ready(void);
void process_lock(void);
void process_unlock(void);

bool device_exists(int device);

/* The calling thread's current context, or CUDA_ERROR_INVALID_CONTEXT. */
CUresult context_current(struct CUctx_st **context);
bool context_is(struct CUctx_st *context);
/* The context's channel, made at need; under the state's lock; -1: none left. */
int context_channel(struct CUctx_st *context);

/* The stream a handle means to the calling thread, NULL and the two special ones included. */
struct stream_place {
  struct CUctx_st *context;
  struct CUstream_st *handle; /* NULL for default streams */
  uint32_t id;
};
CUresult stream_place(CUstream stream, struct stream_place *place);
/* Appends and waits while the queue is full. Takes the state's lock itself. *tail, if asked for,
 * is what the stream's head must reach until the item is done. */
CUresult stream_submit(const struct stream_place *place, struct sim_item item, uint32_t *tail);
CUresult stream_wait(const struct stream_place *place);
/* Waits for all the context's streams. */
CUresult context_wait(struct CUctx_st *context);
/* Drops the streams of a context that goes away. */
void streams_forget(struct CUctx_st *context);

/* In a child of fork: nothing of the parent's is the child's. */
void contexts_abandon(void);
void streams_abandon(void);
void events_abandon(void);
void memory_abandon(void);
void pools_abandon(void);
void vmm_abandon(void);
void graphs_abandon(void);

/* memory.c: drops all memory of a context that goes away. */
void memory_forget(struct CUctx_st *context);

/* Charges physical memory and honours sim_fail_allocation(); takes the state's lock. */
bool process_charge(struct sim_slot *slot, int device, uint64_t bytes);
void process_discharge(struct sim_slot *slot, int device, uint64_t bytes);

#endif
