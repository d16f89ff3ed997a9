/* Streams and waiting for them. Events are in event.c, capture in graph.c. */
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "engine.h"
#include "graph.h"
#include "pool.h"
#include "process.h"

enum { OWN_DEFAULTS = 32 };

/* Each thread's own default stream in each context it used. */
static _Thread_local struct { struct CUctx_st *context; uint32_t id; } own_defaults[OWN_DEFAULTS];

/* ---- places -------------------------------------------------------------------- */

static bool take_stream(int channel, unsigned flags, uint32_t *id) {
  struct sim_channel *c = &process_state->channels[channel];
  for (uint32_t s = 1; s < SIM_STREAMS; s++) {
    struct sim_stream *stream = &process_state->queues[channel].streams[s];
    if (stream->used || stream->head != stream->tail) continue;
    stream->used = 1;
    stream->nonblocking = (flags & CU_STREAM_NON_BLOCKING) != 0;
    if (s >= c->streams) c->streams = s + 1;
    *id = s;
    return true;
  }
  return false;
}

static CUresult new_stream(struct CUctx_st *context, unsigned flags, uint32_t *id) {
  state_lock(process_state);
  int channel = context_channel(context);
  bool taken = channel >= 0 && take_stream(channel, flags, id);
  state_unlock(process_state);
  return taken ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

static CUresult own_default(struct CUctx_st *context, uint32_t *id) {
  for (int i = 0; i < OWN_DEFAULTS; i++) {
    if (own_defaults[i].context == context) return *id = own_defaults[i].id, CUDA_SUCCESS;
    if (own_defaults[i].context != NULL) continue;
    CUresult result = new_stream(context, CU_STREAM_DEFAULT, id);
    if (result != CUDA_SUCCESS) return result;
    own_defaults[i].context = context;
    own_defaults[i].id = *id;
    return CUDA_SUCCESS;
  }
  return CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult stream_place(CUstream stream, struct stream_place *place) {
  *place = (struct stream_place){0};
  if ((uintptr_t)stream > 2) {
    if (process_ready() != CUDA_SUCCESS) return CUDA_ERROR_NOT_INITIALIZED;
    if (stream->mark != MARK_STREAM) return CUDA_ERROR_INVALID_HANDLE;
    *place = (struct stream_place){stream->context, stream, stream->id};
    return CUDA_SUCCESS;
  }
  CUresult result = context_current(&place->context);
  if (result != CUDA_SUCCESS || stream != CU_STREAM_PER_THREAD) return result;
  return own_default(place->context, &place->id);
}

/* ---- work and waiting -------------------------------------------------------------- */

CUresult stream_submit(const struct stream_place *place, struct sim_item item, uint32_t *tail) {
  for (;;) {
    state_lock(process_state);
    int channel = context_channel(place->context);
    if (channel < 0) return state_unlock(process_state), CUDA_ERROR_OUT_OF_MEMORY;
    engine_advance(process_state);
    bool submitted = engine_submit(process_state, channel, place->id, item);
    uint64_t earliest = engine_earliest(process_state, channel, place->id, 1);
    if (tail != NULL) *tail = process_state->queues[channel].streams[place->id].tail;
    state_unlock(process_state);
    if (submitted) return CUDA_SUCCESS;
    clock_sleep_until(process_state, earliest);
  }
}

/* One look: true when the stream has done what it had at `tail`, else when to look again. */
static bool reached(int channel, uint32_t id, uint32_t tail, uint64_t *look_again) {
  state_lock(process_state);
  engine_advance(process_state);
  bool done = engine_reached(process_state, channel, id, tail);
  uint32_t items = tail - process_state->queues[channel].streams[id].head;
  if (!done) *look_again = engine_earliest(process_state, channel, id, items);
  state_unlock(process_state);
  return done;
}

static void wait_for(int channel, uint32_t id) {
  uint32_t tail = process_state->queues[channel].streams[id].tail;
  uint64_t look_again;
  while (!reached(channel, id, tail, &look_again)) clock_sleep_until(process_state, look_again);
}

CUresult stream_wait(const struct stream_place *place) {
  int channel = place->context->slot->channel[place->context->device];
  if (channel >= 0) wait_for(channel, place->id);
  return CUDA_SUCCESS;
}

CUresult context_wait(struct CUctx_st *context) {
  int channel = context->slot->channel[context->device];
  for (uint32_t s = 0; channel >= 0 && s < process_state->channels[channel].streams; s++) wait_for(channel, s);
  pools_release();
  return CUDA_SUCCESS;
}

/* ---- entry points ------------------------------------------------------------------- */

/* All streams made, so that a context can take its own with it. */
static struct CUstream_st **made;
static size_t made_count, made_room;

static void remember(struct CUstream_st *stream) {
  if (made_count == made_room) {
    size_t room = made_room == 0 ? 64 : 2 * made_room;
    struct CUstream_st **grown = realloc(made, room * sizeof *made);
    if (grown == NULL) return;
    made = grown;
    made_room = room;
  }
  made[made_count++] = stream;
}

static void release(struct CUstream_st *stream) {
  int channel = stream->context->slot->channel[stream->context->device];
  if (channel >= 0) process_state->queues[channel].streams[stream->id].used = 0;
  stream->mark = MARK_DEAD;
}

void streams_forget(struct CUctx_st *context) {
  size_t kept = 0;
  for (size_t i = 0; i < made_count; i++) {
    if (made[i]->context == context)
      release(made[i]);
    else
      made[kept++] = made[i];
  }
  made_count = kept;
}

void streams_end_capture(struct CUgraph_st *graph) {
  for (size_t i = 0; i < made_count; i++)
    if (made[i]->capture == graph) made[i]->capture = NULL;
}

CUresult sim_cuStreamCreateWithPriority(CUstream *stream, unsigned flags, int priority) {
  struct CUctx_st *context;
  CUresult result = context_current(&context);
  if (result != CUDA_SUCCESS) return result;
  if (stream == NULL || flags > CU_STREAM_NON_BLOCKING) return CUDA_ERROR_INVALID_VALUE;
  struct CUstream_st *made_now = calloc(1, sizeof *made_now);
  if (made_now == NULL) return CUDA_ERROR_OUT_OF_MEMORY;
  *made_now = (struct CUstream_st){.mark = MARK_STREAM, .context = context, .flags = flags, .priority = priority};
  result = new_stream(context, flags, &made_now->id);
  if (result != CUDA_SUCCESS) return free(made_now), result;
  process_lock();
  remember(made_now);
  process_unlock();
  *stream = made_now;
  return CUDA_SUCCESS;
}

CUresult sim_cuStreamCreate(CUstream *stream, unsigned flags) {
  return sim_cuStreamCreateWithPriority(stream, flags, 0);
}

CUresult sim_cuStreamDestroy_v2(CUstream stream) {
  if ((uintptr_t)stream <= 2 || stream->mark != MARK_STREAM) return CUDA_ERROR_INVALID_HANDLE;
  process_lock();
  for (size_t i = 0; i < made_count; i++)
    if (made[i] == stream) made[i] = made[--made_count];
  release(stream); /* pending work still runs; the place is taken again once it is empty */
  process_unlock();
  return CUDA_SUCCESS;
}

CUresult sim_cuStreamDestroy(CUstream stream) { return sim_cuStreamDestroy_v2(stream); }

CUresult sim_cuStreamSynchronize(CUstream stream) {
  struct stream_place place;
  CUresult result = stream_place(stream, &place);
  if (result != CUDA_SUCCESS) return result;
  if (place.handle != NULL && place.handle->capture != NULL) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  if (process_minimal) return CUDA_SUCCESS;
  if (capture_forbids()) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  stream_wait(&place);
  pools_release();
  return CUDA_SUCCESS;
}

CUresult sim_cuStreamQuery(CUstream stream) {
  struct stream_place place;
  CUresult result = stream_place(stream, &place);
  if (result != CUDA_SUCCESS || process_minimal) return result;
  int channel = place.context->slot->channel[place.context->device];
  uint64_t look_again;
  if (channel < 0) return CUDA_SUCCESS;
  uint32_t tail = process_state->queues[channel].streams[place.id].tail;
  return reached(channel, place.id, tail, &look_again) ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

CUresult sim_cuStreamGetFlags(CUstream stream, unsigned *flags) {
  struct stream_place place;
  CUresult result = stream_place(stream, &place);
  if (result == CUDA_SUCCESS) *flags = place.handle == NULL ? 0 : place.handle->flags;
  return result;
}

CUresult sim_cuStreamGetPriority(CUstream stream, int *priority) {
  struct stream_place place;
  CUresult result = stream_place(stream, &place);
  if (result == CUDA_SUCCESS) *priority = place.handle == NULL ? 0 : place.handle->priority;
  return result;
}

CUresult sim_cuStreamGetCtx(CUstream stream, CUcontext *context) {
  struct stream_place place;
  CUresult result = stream_place(stream, &place);
  if (result == CUDA_SUCCESS) *context = place.context;
  return result;
}

CUresult sim_cuStreamGetId(CUstream stream, unsigned long long *id) {
  struct stream_place place;
  CUresult result = stream_place(stream, &place);
  if (result == CUDA_SUCCESS) *id = place.id;
  return result;
}

CUresult sim_cuStreamGetDevice(CUstream stream, CUdevice *device) {
  struct stream_place place;
  CUresult result = stream_place(stream, &place);
  if (result == CUDA_SUCCESS) *device = place.context->device;
  return result;
}

/* The host function runs in the caller once the stream has got so far: there is no other thread. */
CUresult sim_cuLaunchHostFunc(CUstream stream, CUhostFn function, void *data) {
  struct stream_place place;
  CUresult result = stream_place(stream, &place);
  if (result != CUDA_SUCCESS) return result;
  if (function == NULL) return CUDA_ERROR_INVALID_VALUE;
  if (place.handle != NULL && place.handle->capture != NULL) return CUDA_SUCCESS;
  stream_wait(&place);
  function(data);
  return CUDA_SUCCESS;
}

CUresult sim_cuStreamAddCallback(CUstream stream, CUstreamCallback callback, void *data, unsigned flags) {
  struct stream_place place;
  CUresult result = stream_place(stream, &place);
  if (result != CUDA_SUCCESS) return result;
  if (callback == NULL || flags != 0) return CUDA_ERROR_INVALID_VALUE;
  stream_wait(&place);
  callback(stream, CUDA_SUCCESS, data);
  return CUDA_SUCCESS;
}

void streams_abandon(void) {
  made_count = 0;
  memset(own_defaults, 0, sizeof own_defaults);
}
