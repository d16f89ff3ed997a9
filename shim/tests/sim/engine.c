/* Discrete-event simulation of the GPUs: streams in order, kernels side by side while
 * they fit, one process at a time with a slice and a switch cost, exact busy time.
 */
#include "engine.h"

#include <string.h>

#include "clock.h"

enum { WHOLE_GPU = 1000 };
#define NEVER UINT64_MAX

static struct sim_item *item_at(struct sim_stream *stream, uint32_t index) {
  return &stream->ring[index % SIM_RING];
}

static struct sim_item *head_of(struct sim_stream *stream) {
  return stream->head == stream->tail ? NULL : item_at(stream, stream->head);
}

/* ---- order between streams --------------------------------------------------- */

/* Stream 0 is the legacy default stream: it and the blocking streams wait for each other. */
static bool in_order(struct sim_channel *channel, struct sim_queue *queue, uint32_t s, struct sim_item *item) {
  if (queue->streams[s].nonblocking) return true;
  if (s != 0) {
    struct sim_item *legacy = head_of(&queue->streams[0]);
    return legacy == NULL || legacy->seq > item->seq;
  }
  for (uint32_t other = 1; other < channel->streams; other++) {
    struct sim_item *head = head_of(&queue->streams[other]);
    if (head != NULL && !queue->streams[other].nonblocking && head->seq < item->seq) return false;
  }
  return true;
}

static bool event_done(struct sim_state *state, const struct sim_item *item, uint64_t now) {
  if (!state->channels[item->channel].used) return true;
  struct sim_event *event = &state->queues[item->channel].events[item->event];
  return event->done >= item->event_seq && event->time <= now;
}

/* The head of a stream if it could go on now, else NULL. */
static struct sim_item *ready_head(struct sim_state *state, int c, uint32_t s, uint64_t now) {
  struct sim_queue *queue = &state->queues[c];
  struct sim_item *item = head_of(&queue->streams[s]);
  if (item == NULL || !in_order(&state->channels[c], queue, s, item)) return NULL;
  return item->kind == ITEM_WAIT && !event_done(state, item, now) ? NULL : item;
}

static bool runnable(struct sim_state *state, int c, uint64_t now) {
  for (uint32_t s = 0; s < state->channels[c].streams; s++)
    if (ready_head(state, c, s, now) != NULL) return true;
  return false;
}

/* ---- one channel at one instant ------------------------------------------------ */

static bool takes_no_time(const struct sim_item *item) {
  return item->kind != ITEM_WORK || item->remaining == 0;
}

static void finish_head(struct sim_state *state, int c, struct sim_stream *stream, uint64_t now) {
  struct sim_item *item = head_of(stream);
  if (item->kind == ITEM_RECORD) {
    struct sim_event *event = &state->queues[c].events[item->event];
    event->time = now;
    event->done = item->event_seq;
  }
  atomic_store(&stream->head, stream->head + 1);
}

/* Completes everything that takes no time. */
static void settle(struct sim_state *state, int c, uint64_t now) {
  for (bool moved = true; moved;) {
    moved = false;
    for (uint32_t s = 0; s < state->channels[c].streams; s++) {
      struct sim_item *item = ready_head(state, c, s, now);
      if (item == NULL || !takes_no_time(item)) continue;
      finish_head(state, c, &state->queues[c].streams[s], now);
      moved = true;
    }
  }
}

/* The work that came first among what is ready and not started; NULL: none. */
static struct sim_item *next_to_start(struct sim_state *state, int c, uint64_t now) {
  struct sim_item *first = NULL;
  for (uint32_t s = 0; s < state->channels[c].streams; s++) {
    struct sim_item *item = ready_head(state, c, s, now);
    if (item != NULL && !item->started && (first == NULL || item->seq < first->seq)) first = item;
  }
  return first;
}

static unsigned running_share(struct sim_state *state, int c) {
  unsigned share = 0;
  for (uint32_t s = 0; s < state->channels[c].streams; s++) {
    struct sim_item *item = head_of(&state->queues[c].streams[s]);
    if (item != NULL && item->started) share += item->share;
  }
  return share;
}

/* Starts work in order of submission while it fits beside what runs. */
static void start_work(struct sim_state *state, int c, uint64_t now, unsigned *share) {
  for (;;) {
    struct sim_item *item = next_to_start(state, c, now);
    if (item == NULL || *share + item->share > WHOLE_GPU) return;
    item->started = 1;
    *share += item->share;
  }
}

static uint64_t shortest(struct sim_state *state, int c) {
  uint64_t least = NEVER;
  for (uint32_t s = 0; s < state->channels[c].streams; s++) {
    struct sim_item *item = head_of(&state->queues[c].streams[s]);
    if (item != NULL && item->started && item->remaining < least) least = item->remaining;
  }
  return least;
}

/* Lets `ns` pass for what runs; true: something did. */
static bool run_for(struct sim_state *state, int c, uint64_t ns) {
  bool busy = false;
  for (uint32_t s = 0; s < state->channels[c].streams; s++) {
    struct sim_item *item = head_of(&state->queues[c].streams[s]);
    if (item == NULL || !item->started) continue;
    item->remaining -= ns;
    busy = true;
  }
  if (busy) state->channels[c].busy += ns;
  return busy;
}

/* ---- one device ----------------------------------------------------------------- */

static bool belongs(struct sim_state *state, int c, int device) {
  return state->channels[c].used && state->channels[c].device == device;
}

/* The next channel in turn after the current one that could run; -1: none. */
static int next_channel(struct sim_state *state, int device) {
  struct sim_device *d = &state->devices[device];
  int count = (int)state->channels_high;
  for (int step = 1; step <= count; step++) {
    int c = (d->current + step + count) % count;
    if (belongs(state, c, device) && runnable(state, c, d->now)) return c;
  }
  return -1;
}

static void give_slice(struct sim_state *state, struct sim_device *d, int channel) {
  if (channel != d->current) {
    d->switch_end = d->now + (d->current < 0 ? 0 : option_value(state, OPTION_switch_ns));
    d->current = channel;
  }
  d->slice_end = (d->switch_end > d->now ? d->switch_end : d->now) + option_value(state, OPTION_slice_ns);
}

/* Decides who has the GPU at d->now; -1: nobody wants it. */
static int choose(struct sim_state *state, int device) {
  struct sim_device *d = &state->devices[device];
  bool current_runs = d->current >= 0 && belongs(state, d->current, device) && runnable(state, d->current, d->now);
  if (current_runs && d->now < d->slice_end) return d->current;
  int next = next_channel(state, device);
  if (next >= 0) give_slice(state, d, next);
  return next;
}

static void take_sample(struct sim_state *state, int device, uint64_t period) {
  struct sim_device *d = &state->devices[device];
  uint64_t place = d->sample_count % SIM_SAMPLES;
  for (uint32_t c = 0; c < state->channels_high; c++) {
    struct sim_channel *channel = &state->channels[c];
    if (!belongs(state, (int)c, device)) continue;
    channel->samples[place] = (uint16_t)((channel->busy - channel->busy_sampled) * 1000 / period);
    channel->busy_sampled = channel->busy;
  }
  d->samples[place] = (uint16_t)((d->busy - d->busy_sampled) * 1000 / period);
  d->busy_sampled = d->busy;
  d->sample_count++;
  d->sampled_at += period;
}

static void take_samples(struct sim_state *state, int device) {
  struct sim_device *d = &state->devices[device];
  uint64_t period = option_value(state, OPTION_nvml_period_ns);
  uint64_t idle = (d->now - d->sampled_at) / period;
  if (idle > 2 * SIM_SAMPLES) d->sampled_at += (idle - 2 * SIM_SAMPLES) * period;
  while (d->now - d->sampled_at >= period) take_sample(state, device, period);
}

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* How far time can go from d->now before something changes for the slice's owner. */
static uint64_t next_change(struct sim_state *state, int c, uint64_t until) {
  struct sim_device *d = &state->devices[state->channels[c].device];
  uint64_t next = least(until, d->sampled_at + option_value(state, OPTION_nvml_period_ns));
  uint64_t work = shortest(state, c);
  if (work != NEVER) next = least(next, d->now + work);
  return least(next, d->slice_end);
}

/* Lets one slice owner run up to the next change, at most to `until`. */
static void step_sliced(struct sim_state *state, int device, uint64_t until) {
  struct sim_device *d = &state->devices[device];
  int c = choose(state, device);
  if (c < 0) {
    d->now = until;
    return;
  }
  if (d->now < d->switch_end) {
    d->now = least(until, d->switch_end);
    return;
  }
  settle(state, c, d->now);
  unsigned share = running_share(state, c);
  start_work(state, c, d->now, &share);
  if (shortest(state, c) == NEVER) return;
  uint64_t next = next_change(state, c, until);
  if (run_for(state, c, next - d->now)) d->busy += next - d->now;
  d->now = next;
  settle(state, c, next); /* what ends with the slice has ended */
}

static unsigned start_everywhere(struct sim_state *state, int device) {
  unsigned share = 0;
  uint64_t now = state->devices[device].now;
  for (int c = 0; c < (int)state->channels_high; c++) {
    if (!belongs(state, c, device)) continue;
    settle(state, c, now);
    share += running_share(state, c);
  }
  for (int c = 0; c < (int)state->channels_high; c++)
    if (belongs(state, c, device)) start_work(state, c, now, &share);
  return share;
}

/* The same with all processes side by side. */
static void step_concurrent(struct sim_state *state, int device, uint64_t until) {
  struct sim_device *d = &state->devices[device];
  start_everywhere(state, device);
  uint64_t next = least(until, d->sampled_at + option_value(state, OPTION_nvml_period_ns));
  for (int c = 0; c < (int)state->channels_high; c++)
    if (belongs(state, c, device) && shortest(state, c) != NEVER) next = least(next, d->now + shortest(state, c));
  bool busy = false;
  for (int c = 0; c < (int)state->channels_high; c++)
    if (belongs(state, c, device) && run_for(state, c, next - d->now)) busy = true;
  if (busy) d->busy += next - d->now;
  d->now = next;
}

static void settle_device(struct sim_state *state, int device) {
  struct sim_device *d = &state->devices[device];
  bool side_by_side = option_value(state, OPTION_concurrent_processes) != 0;
  if (!side_by_side) {
    int c = choose(state, device); /* an idle GPU takes up zero-time work at once */
    if (c >= 0 && d->now >= d->switch_end) settle(state, c, d->now);
    return;
  }
  for (int c = 0; c < (int)state->channels_high; c++)
    if (belongs(state, c, device)) settle(state, c, d->now);
}

static void advance_device(struct sim_state *state, int device, uint64_t until) {
  struct sim_device *d = &state->devices[device];
  bool side_by_side = option_value(state, OPTION_concurrent_processes) != 0;
  if (d->now == 0 || d->now > until) d->now = d->sampled_at = d->slice_end = d->switch_end = until;
  while (d->now < until) {
    if (side_by_side)
      step_concurrent(state, device, until);
    else
      step_sliced(state, device, until);
    take_samples(state, device);
  }
  settle_device(state, device);
}

/* ---- contract ---------------------------------------------------------------------- */

/* A dead process's channel goes away before its work is run again. */
static void reap_now_and_then(struct sim_state *state, uint64_t now) {
  enum { EVERY_NS = 5000000 };
  static _Thread_local uint64_t next;
  if (now < next && next - now <= EVERY_NS) return;
  next = now + EVERY_NS;
  state_reap(state);
}

void engine_advance(struct sim_state *state) {
  uint64_t now = clock_now(state);
  reap_now_and_then(state, now);
  for (int device = 0; device < (int)option_value(state, OPTION_devices); device++)
    advance_device(state, device, now);
}

void engine_restart(struct sim_state *state, uint64_t now) {
  for (int i = 0; i < SIM_DEVICES; i++) {
    struct sim_device *d = &state->devices[i];
    d->now = d->sampled_at = d->slice_end = d->switch_end = now;
    d->current = -1;
    d->busy_sampled = d->busy;
    memset(d->samples, 0, sizeof d->samples);
  }
  for (uint32_t c = 0; c < state->channels_high; c++) {
    state->channels[c].busy_sampled = state->channels[c].busy;
    memset(state->channels[c].samples, 0, sizeof state->channels[c].samples);
  }
}

static void init_channel(struct sim_state *state, int c, struct sim_slot *slot, int device) {
  struct sim_channel *channel = &state->channels[c];
  for (uint32_t s = 0; s < channel->streams; s++) { /* beyond, nothing was ever touched */
    struct sim_stream *stream = &state->queues[c].streams[s];
    stream->used = stream->nonblocking = 0;
    stream->head = stream->tail = 0;
  }
  memset(channel, 0, sizeof *channel);
  channel->slot = (int32_t)(slot - state->slots);
  channel->device = device;
  channel->streams = 1;
  channel->first_sample = state->devices[device].sample_count;
  channel->used = 1;
}

int engine_channel(struct sim_state *state, struct sim_slot *slot, int device) {
  if (slot->channel[device] >= 0) return slot->channel[device];
  for (int c = 0; c < SIM_CHANNELS; c++) {
    if (state->channels[c].used) continue;
    if (state->devices[device].current == c) state->devices[device].current = -1;
    init_channel(state, c, slot, device);
    if ((uint32_t)c >= state->channels_high) state->channels_high = (uint32_t)c + 1;
    slot->channel[device] = c;
    return c;
  }
  return -1;
}

bool engine_submit(struct sim_state *state, int c, uint32_t s, struct sim_item item) {
  struct sim_channel *channel = &state->channels[c];
  struct sim_stream *stream = &state->queues[c].streams[s];
  if (stream->tail - stream->head >= SIM_RING) return false;
  if (engine_pending(state, c) >= option_value(state, OPTION_queue_depth)) return false;
  item.seq = ++channel->next_seq;
  item.started = 0;
  *item_at(stream, stream->tail) = item;
  atomic_store(&stream->tail, stream->tail + 1);
  return true;
}

bool engine_reached(struct sim_state *state, int c, uint32_t s, uint32_t tail) {
  return (int32_t)(state->queues[c].streams[s].head - tail) >= 0;
}

uint64_t engine_pending(struct sim_state *state, int c) {
  uint64_t pending = 0;
  for (uint32_t s = 0; s < state->channels[c].streams; s++)
    pending += state->queues[c].streams[s].tail - state->queues[c].streams[s].head;
  return pending;
}

static uint64_t stream_work(struct sim_stream *stream, uint32_t items) {
  uint64_t work = 0;
  for (uint32_t i = stream->head; i != stream->tail && items > 0; i++, items--) work += item_at(stream, i)->remaining;
  return work;
}

/* Work of the channel's longest stream: it will want the GPU at least that long. */
static uint64_t work_left(struct sim_state *state, int c) {
  uint64_t most = 0;
  for (uint32_t s = 0; s < state->channels[c].streams; s++) {
    uint64_t work = stream_work(&state->queues[c].streams[s], SIM_RING);
    if (work > most) most = work;
  }
  return most;
}

/* How long others will certainly keep the GPU from the channel. */
static uint64_t kept_away(struct sim_state *state, int c) {
  int device = state->channels[c].device;
  struct sim_device *d = &state->devices[device];
  if (d->current < 0 || d->current == c || option_value(state, OPTION_concurrent_processes)) return 0;
  if (!belongs(state, d->current, device) || !runnable(state, d->current, d->now)) return 0;
  uint64_t slice = d->slice_end > d->now ? d->slice_end - d->now : 0;
  return least(slice, work_left(state, d->current));
}

uint64_t engine_earliest(struct sim_state *state, int c, uint32_t s, uint32_t items) {
  struct sim_device *d = &state->devices[state->channels[c].device];
  uint64_t work = stream_work(&state->queues[c].streams[s], items);
  uint64_t running = shortest(state, c); /* nothing changes in the channel before that */
  if (running != NEVER && running > work) work = running;
  uint64_t wait = kept_away(state, c) + work;
  return d->now + (wait > 0 ? wait : 1);
}

unsigned engine_utilization(struct sim_state *state, const uint16_t *samples, uint64_t count, uint64_t first) {
  uint64_t window = option_value(state, OPTION_nvml_window_ns) / option_value(state, OPTION_nvml_period_ns);
  if (window < 1) window = 1;
  if (window > SIM_SAMPLES) window = SIM_SAMPLES;
  uint64_t sum = 0;
  for (uint64_t i = 0; i < window && i < count - first; i++) sum += samples[(count - 1 - i) % SIM_SAMPLES];
  return (unsigned)((sum / window + 5) / 10);
}
