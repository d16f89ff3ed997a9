/* Events: marks in streams, with the GPU's time at which each was passed. */
#include <stdlib.h>

#include "clock.h"
#include "engine.h"
#include "graph.h"
#include "pool.h"
#include "process.h"

/* Numbers of freed events per channel, to be taken again. */
static struct { uint32_t *ids; size_t count, room; uint32_t next; } spare[SIM_CHANNELS];

static bool take_id(int channel, uint32_t *id) {
  if (spare[channel].count > 0) return *id = spare[channel].ids[--spare[channel].count], true;
  if (spare[channel].next >= SIM_EVENTS) return false;
  *id = spare[channel].next++;
  return true;
}

static void give_id(int channel, uint32_t id) {
  if (spare[channel].count == spare[channel].room) {
    size_t room = spare[channel].room == 0 ? 64 : 2 * spare[channel].room;
    uint32_t *grown = realloc(spare[channel].ids, room * sizeof *grown);
    if (grown == NULL) return;
    spare[channel].ids = grown;
    spare[channel].room = room;
  }
  spare[channel].ids[spare[channel].count++] = id;
}

static bool is_event(CUevent event) { return event != NULL && event->mark == MARK_EVENT; }

static struct sim_event *shared_event(CUevent event) {
  return &process_state->queues[event->channel].events[event->id];
}

CUresult sim_cuEventCreate(CUevent *event, unsigned flags) {
  struct CUctx_st *context;
  CUresult result = context_current(&context);
  if (result != CUDA_SUCCESS) return result;
  if (event == NULL) return CUDA_ERROR_INVALID_VALUE;
  struct CUevent_st *made = calloc(1, sizeof *made);
  if (made == NULL) return CUDA_ERROR_OUT_OF_MEMORY;
  *made = (struct CUevent_st){.mark = MARK_EVENT, .context = context, .flags = flags, .channel = -1};
  *event = made;
  return CUDA_SUCCESS;
}

CUresult sim_cuEventDestroy_v2(CUevent event) {
  if (!is_event(event)) return CUDA_ERROR_INVALID_HANDLE;
  process_lock();
  if (event->channel >= 0) give_id(event->channel, event->id);
  event->mark = MARK_DEAD;
  process_unlock();
  free(event);
  return CUDA_SUCCESS;
}

CUresult sim_cuEventDestroy(CUevent event) { return sim_cuEventDestroy_v2(event); }

/* ---- record ---------------------------------------------------------------------- */

/* The event's place in the channel of the stream it is recorded in. */
static CUresult settle_in(CUevent event, int channel) {
  if (event->channel == channel) return CUDA_SUCCESS;
  if (event->channel >= 0) give_id(event->channel, event->id);
  event->channel = -1;
  if (!take_id(channel, &event->id)) return CUDA_ERROR_OUT_OF_MEMORY;
  event->channel = channel;
  return CUDA_SUCCESS;
}

static CUresult record(CUevent event, const struct stream_place *place) {
  state_lock(process_state);
  int channel = context_channel(place->context);
  state_unlock(process_state);
  if (channel < 0) return CUDA_ERROR_OUT_OF_MEMORY;
  process_lock();
  CUresult result = settle_in(event, channel);
  if (result == CUDA_SUCCESS) event->seq = ++shared_event(event)->recorded;
  process_unlock();
  if (result != CUDA_SUCCESS) return result;
  event->capture = NULL;
  event->stream = place->id;
  struct sim_item item = {.kind = ITEM_RECORD, .event = event->id, .event_seq = event->seq};
  return stream_submit(place, item, &event->tail);
}

CUresult sim_cuEventRecord(CUevent event, CUstream stream) {
  if (process_minimal) return is_event(event) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
  struct stream_place place;
  CUresult result = stream_place(stream, &place);
  if (result != CUDA_SUCCESS) return result;
  if (!is_event(event)) return CUDA_ERROR_INVALID_HANDLE;
  if (place.handle != NULL && place.handle->capture != NULL)
    return event->capture = place.handle->capture, CUDA_SUCCESS;
  return record(event, &place);
}

CUresult sim_cuEventRecordWithFlags(CUevent event, CUstream stream, unsigned flags) {
  return flags > 1 ? CUDA_ERROR_INVALID_VALUE : sim_cuEventRecord(event, stream);
}

/* ---- questions --------------------------------------------------------------------- */

static bool passed(CUevent event) {
  state_lock(process_state);
  engine_advance(process_state);
  bool done = event->channel < 0 || shared_event(event)->done >= event->seq;
  state_unlock(process_state);
  return done;
}

CUresult sim_cuEventQuery(CUevent event) {
  if (!is_event(event)) return CUDA_ERROR_INVALID_HANDLE;
  if (event->capture != NULL) return CUDA_ERROR_CAPTURED_EVENT;
  if (process_minimal) return CUDA_SUCCESS;
  if (capture_forbids()) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  return passed(event) ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

static uint64_t next_look(CUevent event) {
  state_lock(process_state);
  uint32_t items = event->tail - process_state->queues[event->channel].streams[event->stream].head;
  uint64_t earliest = engine_earliest(process_state, event->channel, event->stream, items);
  state_unlock(process_state);
  return earliest;
}

CUresult sim_cuEventSynchronize(CUevent event) {
  if (!is_event(event)) return CUDA_ERROR_INVALID_HANDLE;
  if (event->capture != NULL) return CUDA_ERROR_CAPTURED_EVENT;
  if (process_minimal) return CUDA_SUCCESS;
  if (capture_forbids()) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  while (!passed(event)) clock_sleep_until(process_state, next_look(event));
  pools_release();
  return CUDA_SUCCESS;
}

CUresult sim_cuEventElapsedTime(float *milliseconds, CUevent start, CUevent end) {
  if (!is_event(start) || !is_event(end)) return CUDA_ERROR_INVALID_HANDLE;
  if (milliseconds == NULL) return CUDA_ERROR_INVALID_VALUE;
  if ((start->flags | end->flags) & CU_EVENT_DISABLE_TIMING) return CUDA_ERROR_INVALID_HANDLE;
  if (process_minimal) return *milliseconds = 0.0F, CUDA_SUCCESS;
  if (start->channel < 0 || end->channel < 0) return CUDA_ERROR_INVALID_HANDLE;
  if (!passed(start) || !passed(end)) return CUDA_ERROR_NOT_READY;
  int64_t ns = (int64_t)(shared_event(end)->time - shared_event(start)->time);
  *milliseconds = (float)((double)ns / 1e6);
  return CUDA_SUCCESS;
}

CUresult sim_cuEventElapsedTime_v2(float *milliseconds, CUevent start, CUevent end) {
  return sim_cuEventElapsedTime(milliseconds, start, end);
}

CUresult sim_cuStreamWaitEvent(CUstream stream, CUevent event, unsigned flags) {
  struct stream_place place;
  CUresult result = stream_place(stream, &place);
  if (result != CUDA_SUCCESS) return result;
  if (!is_event(event) || flags > 1) return CUDA_ERROR_INVALID_HANDLE;
  if (event->capture != NULL && place.handle != NULL) return capture_join(place.handle, event->capture), CUDA_SUCCESS;
  if (process_minimal || event->channel < 0) return CUDA_SUCCESS;
  struct sim_item item = {.kind = ITEM_WAIT, .event = event->id, .event_seq = event->seq, .channel = event->channel};
  return stream_submit(&place, item, NULL);
}

void events_abandon(void) {
  for (int c = 0; c < SIM_CHANNELS; c++) spare[c].next = 0, spare[c].count = 0;
}
