/* The hot loop of the simulation: batching servers of one service within one step of the inner loop.
 *
 * Shares are percent of one GPU, times are seconds. The layouts are those of servers.py, which owns all memory
 * and calls these functions; what shares there are is decided elsewhere.
 */
#include <math.h>
#include <stddef.h>

enum { KEPT_STEPS = 50, BUCKETS = 256, BUCKETS_PER_OBJECTIVE = 8 };

typedef struct {
  double free_at, ready_at, started;    /* when the batch ends, the server begins, the batch was last accounted */
  double used, throttled;               /* of this step: percent-seconds, seconds */
  double used_second, throttled_second; /* since the caller cleared them */
  double steps[KEPT_STEPS];             /* mean use of the last steps, a ring */
  long first, last;                     /* the batch: requests [first, last) */
  long step_count;
  int force, size, asleep, throttled_steps;
} server;

typedef struct {
  const double *times;   /* of all requests, ascending, then infinity */
  const double *latency; /* [share][batch], seconds */
  const int *saturation; /* [batch]: percent that a batch can use at most */
  const int *most;       /* [share]: the largest batch that keeps the objective */
  double objective;
  long count, head, served, late;
  long histogram[BUCKETS];
  int stride, max_batch;
} service;

/* The first index in [low, high) whose time is above `time` (or not below it, when `inclusive`). */
static long search(const double *times, double time, long low, long high, int inclusive) {
  while (low < high) {
    long middle = low + (high - low) / 2;
    if (inclusive ? times[middle] < time : times[middle] <= time)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static void count(service *of, const server *it) {
  double taken = (it->free_at - of->times[it->first]) / of->objective;
  int bucket = taken < BUCKETS / BUCKETS_PER_OBJECTIVE ? (int)(BUCKETS_PER_OBJECTIVE * taken) : BUCKETS - 1;
  of->histogram[bucket] += it->size;
  of->served += it->size;
  if (taken > 1)
    of->late += search(of->times, it->free_at - of->objective, it->first, it->last, 1) - it->first;
}

/* Account the batch up to `until`, and its requests when it has ended by then. */
void servers_settle(service *of, server *it, double until) {
  double busy = fmin(it->free_at, until) - it->started;
  int limit = of->saturation[it->size];
  if (it->size == 0) return;
  if (busy > 0) {
    it->used += busy * (it->force < limit ? it->force : limit);
    if (it->force < limit) it->throttled += busy * (1 - (double)it->force / limit);
    it->started += busy;
  }
  if (it->free_at <= until) {
    count(of, it);
    it->size = 0;
  }
}

static server *next(server **all, int n, double first, double end, double *start) {
  server *best = NULL;
  *start = end;
  for (int i = 0; i < n; i++) {
    server *it = all[i];
    if (it->asleep || it->ready_at >= end) continue;
    double free = it->free_at > first ? it->free_at : first;
    if (free < *start || (best != NULL && free == *start && it->force > best->force)) {
      *start = free;
      best = it;
    }
  }
  return best;
}

static void take(service *of, server *it, double start) {
  int late = start - of->times[of->head] > of->objective / 2;
  long most = late ? of->max_batch : of->most[it->force];
  long end = of->head + most < of->count ? of->head + most : of->count;
  it->first = of->head;
  it->last = search(of->times, start, of->head, end, 0);
  it->size = (int)(it->last - it->first);
  it->started = start;
  it->free_at = start + of->latency[it->force * of->stride + it->size];
  of->head = it->last;
}

/* Compute from `begin` to `end` with the shares in force, and keep the step's accounts. */
void servers_advance(service *of, server **all, int n, double begin, double end) {
  double start;
  server *it;
  for (int i = 0; i < n; i++) {
    all[i]->used = all[i]->throttled = 0;
    if (all[i]->started < begin) all[i]->started = begin;
  }
  while ((it = next(all, n, of->times[of->head], end, &start)) != NULL) {
    servers_settle(of, it, it->free_at);
    take(of, it, start);
  }
  for (int i = 0; i < n; i++) {
    it = all[i];
    servers_settle(of, it, end);
    it->used_second += it->used;
    it->throttled_second += it->throttled;
    it->throttled_steps += it->throttled > 0.002;
    it->steps[it->step_count++ % KEPT_STEPS] = it->used / (end - begin);
  }
}
