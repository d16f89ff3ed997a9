/* Turns event pairs into GPU time.
 *
 * Event times become points on a timeline per context; what several streams did
 * at once counts once. Between the processes of the slice the union is drawn on
 * the busy ring of the usage page. The result corrects the schedule for what
 * was charged on expectation, teaches the estimates, and is the account.
 *
 * No thread: whoever launches or synchronises collects what has finished.
 */
#include "meter.h"

#include <stdlib.h>
#include <string.h>

#include "busy.h"
#include "graph.h"
#include "guest.h"
#include "limiter.h"
#include "pointers.h"
#include "real.h"
#include "spin.h"

enum {
  MEASURES = 2048,
  SPARE_EVENTS = 64,
  PROFILES = 1024,
  REBASE_NS = 1000000000, /* float milliseconds resolve 60 ns within a second */
  SPARSE_ROUNDS = 16
};

struct timeline {
  CUevent base;       /* a finished event, NULL: none yet */
  uint64_t base_ns;   /* its place on the line */
  int64_t to_clock;   /* least seen (clock - line) when an event was found finished */
  uint64_t crept_ns;  /* up to where on the line it has been let creep for drift */
  uint32_t spare_count;
  CUevent spare[SPARE_EVENTS];
  struct covered covered;
};

uint32_t meter_epoch_word = 1;

static struct timeline *timelines[POINTER_CONTEXTS];
static struct measure measures[MEASURES];
static struct measure *unused;
static uint32_t handed_out;
static struct measure *pending_first, **pending_last = &pending_first;
static struct profile profiles[PROFILES];
static struct overlap overlaps[POINTER_CONTEXTS];
static uint64_t in_flight[VGPU_DEVICES_MAX];
static uint32_t pending;
static struct spin lists;      /* the lists above; never held over a driver call */
static struct spin collecting; /* one collector at a time; only ever tried, except to forget */

struct profile *meter_profile(CUstream stream, uint32_t context) {
  uint64_t key = (uint64_t)(uintptr_t)stream ^ (uint64_t)context << 48;
  return &profiles[key * 0x9e3779b97f4a7c15u >> 54];
}

struct overlap *meter_overlap(uint32_t context) { return &overlaps[context]; }

uint64_t meter_in_flight(uint32_t device) { return __atomic_load_n(&in_flight[device], __ATOMIC_RELAXED); }

static void add_in_flight(uint32_t device, int64_t change) {
  uint64_t now = __atomic_add_fetch(&in_flight[device], (uint64_t)change, __ATOMIC_RELAXED);
  struct vgpu_slot_device *mine = account_of(guest.account.page, guest.account.slot, device);
  __atomic_store_n(&mine->in_flight_ns, now, __ATOMIC_RELAXED);
}

void meter_count(uint32_t device, uint64_t launches, uint64_t gpu_ns) {
  struct vgpu_counters *mine = &account_of(guest.account.page, guest.account.slot, device)->counters;
  struct vgpu_counters *all = &guest.account.page->devices[device].total;
  if (launches) {
    __atomic_fetch_add(&mine->launches, launches, __ATOMIC_RELAXED);
    __atomic_fetch_add(&all->launches, launches, __ATOMIC_RELAXED);
  }
  if (gpu_ns) {
    __atomic_fetch_add(&mine->gpu_ns, gpu_ns, __ATOMIC_RELAXED);
    __atomic_fetch_add(&all->gpu_ns, gpu_ns, __ATOMIC_RELAXED);
  }
}

/* ---- events and measures --------------------------------------------------- */

static struct timeline *timeline_of(uint32_t context) {
  struct timeline *line = __atomic_load_n(&timelines[context], __ATOMIC_ACQUIRE);
  if (line) return line;
  struct timeline *fresh = calloc(1, sizeof *fresh);
  if (!fresh || __atomic_compare_exchange_n(&timelines[context], &line, fresh, 0, __ATOMIC_ACQ_REL,
                                            __ATOMIC_ACQUIRE))
    return fresh;
  free(fresh);
  return line;
}

static CUevent take_event(uint32_t context) {
  struct timeline *line = timeline_of(context);
  CUevent event = NULL;
  spin_lock(&lists);
  if (line && line->spare_count) event = line->spare[--line->spare_count];
  spin_unlock(&lists);
  if (event || real()->cuEventCreate(&event, CU_EVENT_DEFAULT) == CUDA_SUCCESS) return event;
  return NULL;
}

static void return_event(uint32_t context, CUevent event) {
  struct timeline *line = timelines[context];
  int kept = 0;
  if (!event) return;
  spin_lock(&lists);
  if (line && line->spare_count < SPARE_EVENTS) {
    line->spare[line->spare_count++] = event;
    kept = 1;
  }
  spin_unlock(&lists);
  if (!kept) real()->cuEventDestroy_v2(event);
}

static struct measure *take_measure(void) {
  spin_lock(&lists);
  struct measure *measure = unused;
  if (measure)
    unused = measure->next;
  else if (handed_out < MEASURES)
    measure = &measures[handed_out++];
  spin_unlock(&lists);
  return measure;
}

static void return_measure(struct measure *measure) {
  spin_lock(&lists);
  measure->next = unused;
  unused = measure;
  spin_unlock(&lists);
}

static void return_all(struct measure *measure) {
  if (measure->epoch == meter_epoch()) { /* else the events may be gone with their context */
    return_event(measure->context, measure->start);
    return_event(measure->context, measure->end);
  }
  return_measure(measure);
}

static int prepare(struct measure *measure) {
  measure->start = take_event(measure->context);
  measure->end = measure->start ? take_event(measure->context) : NULL;
  return measure->end && real()->cuEventRecord(measure->start, measure->stream) == CUDA_SUCCESS;
}

/* While anything is captured, making or asking events may spoil the capture, also one of
 * another thread (CU_STREAM_CAPTURE_MODE_GLOBAL): then nothing is measured. */
struct measure *meter_open(CUstream stream, uint32_t context, uint32_t device, uint64_t now) {
  struct measure *measure = graph_any_capture() ? NULL : take_measure();
  if (!measure) return NULL;
  *measure = (struct measure){.stream = stream, .context = context, .device = device, .opened_ns = now,
                              .epoch = meter_epoch(), .profile = meter_profile(stream, context)};
  if (prepare(measure)) return measure;
  return_all(measure);
  return NULL;
}

static void forget_probe(const struct measure *measure) {
  if (measure->estimate) estimate_unprobe(measure->estimate);
}

void meter_drop(struct measure *measure) {
  forget_probe(measure);
  meter_count(measure->device, measure->launches, measure->expected_ns);
  return_all(measure);
}

void meter_close(struct measure *measure, uint64_t now) {
  if (measure->epoch != meter_epoch() ||
      real()->cuEventRecord(measure->end, measure->stream) != CUDA_SUCCESS) {
    meter_drop(measure);
    return;
  }
  measure->closed_ns = now;
  measure->next = NULL;
  meter_count(measure->device, measure->launches, 0);
  add_in_flight(measure->device, (int64_t)measure->expected_ns);
  spin_lock(&lists);
  *pending_last = measure;
  pending_last = &measure->next;
  __atomic_fetch_add(&pending, 1, __ATOMIC_RELAXED);
  spin_unlock(&lists);
}

/* ---- from events to time ---------------------------------------------------- */

static int elapsed(CUevent from, CUevent to, int64_t *ns) {
  float milliseconds;
  if (real()->cuEventElapsedTime(&milliseconds, from, to)) return -1;
  *ns = (int64_t)((double)milliseconds * 1e6);
  return 0;
}

/* The line starts at the first measure's start, one hour in, so that an event of
 * another stream that lies before it is still above zero. */
static int place(struct timeline *line, struct measure *measure, uint64_t *from, uint64_t *until) {
  int64_t start, length;
  if (elapsed(measure->start, measure->end, &length)) return -1;
  if (!line->base) {
    line->base = measure->start;
    measure->start = NULL;
    line->base_ns = 3600ull * 1000000000;
    start = 0;
  } else if (elapsed(line->base, measure->start, &start)) {
    return -1;
  }
  *from = line->base_ns + (uint64_t)start;
  *until = *from + (uint64_t)(length > 0 ? length : 0);
  return 0;
}

/* A finished event becomes the base, and the old base an event like others. */
static void rebase(struct timeline *line, struct measure *measure, uint64_t until) {
  if (until < line->base_ns + REBASE_NS) return;
  CUevent old = line->base;
  line->base = measure->end;
  line->base_ns = until;
  measure->end = old;
}

/* Where the line lies on CLOCK_MONOTONIC: an event was never finished later than
 * it was found so. Lets the estimate creep up for drift, by 61 ppm: by more, and what is
 * drawn on the ring is stretched, then overlaps itself when the estimate falls again. */
static int64_t clock_offset(struct timeline *line, uint64_t until, uint64_t now) {
  int64_t offset = (int64_t)(now - until), kept = line->to_clock;
  if (until > line->crept_ns) {
    kept += line->crept_ns ? (int64_t)((until - line->crept_ns) >> 14) : 0;
    line->crept_ns = until;
  }
  line->to_clock = !line->to_clock || offset < kept ? offset : kept;
  return line->to_clock;
}

static int others_live(void) {
  const struct vgpu_usage *page = guest.account.page;
  uint32_t count = __atomic_load_n(&page->slots_used, __ATOMIC_RELAXED), live = 0;
  if (count > VGPU_SLOTS_MAX) count = VGPU_SLOTS_MAX;
  for (uint32_t i = 0; i < count && live < 2; i++) live += page->slots[i].state == VGPU_SLOT_LIVE;
  return live > 1;
}

/* What of an interval is new: to this process, then to the slice. */
static uint64_t fresh_ns(struct timeline *line, struct measure *measure, uint64_t from, uint64_t until,
                         uint64_t now) {
  int64_t offset = clock_offset(line, until, now);
  uint64_t *ring = guest.account.page->devices[measure->device].busy;
  uint64_t unmarked = busy_mark(ring, from + (uint64_t)offset, until + (uint64_t)offset);
  uint64_t own = covered_add(&line->covered, from, until);
  return unmarked < own && others_live() ? unmarked : own;
}

static uint64_t busy_ns(struct measure *measure, uint64_t now) {
  uint64_t from, until;
  struct timeline *line = timeline_of(measure->context);
  if (!line || place(line, measure, &from, &until)) return measure->expected_ns;
  uint64_t fresh = fresh_ns(line, measure, from, until, now);
  rebase(line, measure, until);
  return fresh * guest_limits_of(measure->device)->busy_permille / 1000;
}

/* ---- collecting -------------------------------------------------------------- */

/* A stretch as long as the host took to issue it has gaps in it that no event
 * shows: then single launches are timed for a while and stand for the rest. */
static uint64_t without_gaps(struct measure *measure, uint64_t busy) {
  struct profile *profile = measure->profile;
  uint64_t host = measure->closed_ns - measure->opened_ns;
  if (measure->launches <= 1 || busy > host + host / 8) return busy;
  __atomic_store_n(&profile->sparse, SPARSE_ROUNDS, __ATOMIC_RELAXED);
  uint64_t likely = profile_known(profile) ? profile_mean(profile) * measure->launches : busy;
  return likely < busy ? likely : busy;
}

static void learn(struct measure *measure, uint64_t busy) {
  struct profile *profile = measure->profile;
  uint64_t each = measure->launches ? busy / measure->launches : 0;
  uint64_t mean = profile_known(profile) ? (profile_mean(profile) * 3 + each) / 4 : each;
  __atomic_store_n(&profile->mean_ns, mean, __ATOMIC_RELAXED);
  __atomic_store_n(&profile->samples, 1, __ATOMIC_RELAXED);
  if (!measure->estimate) return;
  if (__atomic_load_n(&measure->estimate->key, __ATOMIC_RELAXED) == measure->key)
    estimate_learn(measure->estimate, busy);
  else
    forget_probe(measure);
}

static void book(struct measure *measure) {
  uint64_t now = guest_clock.now();
  uint64_t busy = without_gaps(measure, busy_ns(measure, now));
  const struct guest_limits *limits = guest_limits_of(measure->device);
  learn(measure, busy);
  meter_count(measure->device, 0, busy);
  add_in_flight(measure->device, -(int64_t)measure->expected_ns);
  if (limits->compute_percent < 100)
    limiter_book(&guest.account.page->devices[measure->device], limits,
                 (int64_t)busy - (int64_t)measure->expected_ns, now);
  return_all(measure);
}

/* The finished ones among the first few: streams overtake each other. */
static struct measure *take_finished(void) {
  enum { LOOK_AHEAD = 16 };
  struct measure **at = &pending_first;
  for (int i = 0; i < LOOK_AHEAD; i++, at = &(*at)->next) {
    spin_lock(&lists);
    struct measure *measure = *at;
    spin_unlock(&lists);
    if (!measure) return NULL;
    if (real()->cuEventQuery(measure->end) == CUDA_ERROR_NOT_READY) continue;
    spin_lock(&lists);
    *at = measure->next;
    if (pending_last == &measure->next) pending_last = at;
    __atomic_fetch_sub(&pending, 1, __ATOMIC_RELAXED);
    spin_unlock(&lists);
    return measure;
  }
  return NULL;
}

void meter_collect(void) {
  if (!__atomic_load_n(&pending, __ATOMIC_RELAXED) || graph_any_capture() || !spin_try(&collecting)) return;
  for (struct measure *measure; (measure = take_finished());) book(measure);
  spin_unlock(&collecting);
}

/* ---- ends --------------------------------------------------------------------- */

static struct measure *take_of_context(uint32_t context) {
  spin_lock(&lists);
  struct measure **at = &pending_first;
  while (*at && (*at)->context != context) at = &(*at)->next;
  struct measure *measure = *at;
  if (measure) {
    *at = measure->next;
    if (pending_last == &measure->next) pending_last = at;
    __atomic_fetch_sub(&pending, 1, __ATOMIC_RELAXED);
  }
  spin_unlock(&lists);
  return measure;
}

/* Before the driver destroys a context: its events die with it. */
void meter_forget_context(uint32_t context) {
  meter_collect();
  spin_lock(&collecting);
  __atomic_fetch_add(&meter_epoch_word, 1, __ATOMIC_RELEASE);
  for (struct measure *measure; (measure = take_of_context(context));) {
    forget_probe(measure);
    meter_count(measure->device, 0, measure->expected_ns);
    add_in_flight(measure->device, -(int64_t)measure->expected_ns);
    return_measure(measure);
  }
  free(__atomic_exchange_n(&timelines[context], NULL, __ATOMIC_ACQ_REL));
  spin_unlock(&collecting);
}

/* What the parent measured stays the parent's; timelines are left lying, since
 * malloc may be locked by a thread that the child does not have. */
void meter_after_fork(void) {
  lists.held = collecting.held = 0;
  memset(timelines, 0, sizeof timelines);
  memset(profiles, 0, sizeof profiles);
  memset(overlaps, 0, sizeof overlaps);
  memset(in_flight, 0, sizeof in_flight);
  unused = pending_first = NULL;
  pending_last = &pending_first;
  handed_out = pending = 0;
  meter_epoch_word++;
  estimates_forget();
}
