/* Decides for each launch whether it goes now, and how it is measured.
 *
 * Most launches must cost next to nothing. So a thread gets a grant for a
 * stream: a number of launches, and GPU time that is already paid for. While
 * the grant lasts and the limits have not changed, a launch is a few compares
 * and a jump to the driver. Long kernels, unknown ones and graphs are measured
 * one by one; short ones together, or, where the host is what keeps the GPU
 * waiting, a single one now and then.
 */
#include "launch.h"

#include <pthread.h>
#include <string.h>

#include "context.h"
#include "estimate.h"
#include "graph.h"
#include "guest.h"
#include "limiter.h"
#include "meter.h"
#include "portable.h"
#include "real.h"

OLDEST(pthread_key_create);
OLDEST(pthread_once);
OLDEST(pthread_setspecific);

enum {
  STREAMS = 8,
  SWITCHES = 256,
  SHORT_NS = 25000,       /* kernels above are measured one by one */
  BATCH = 64,             /* shorter ones so many together */
  PREPAID_NS = 200000,    /* GPU time a thread pays for at once */
  GUESS_NS = 1000000,     /* charged for a kernel never seen, until it is measured */
  WINDOW_NS = 20000000,   /* work in flight beyond which launches queue here */
  SAMPLE_NS = 1000000,    /* one measure stands for so much at most */
  SECOND_NS = 1000000000,
  POLL_NS = 500000,
  PATIENCE_NS = 200000000 /* then in-flight work may be waiting for this launch */
};

/* What a thread may launch on a stream without looking further. */
struct grant {
  CUstream stream;
  uint32_t left;        /* launches until the next look, this one included */
  uint32_t generation;  /* of the limits it was given under */
  uint32_t epoch;       /* of the contexts */
  uint32_t device;
  int limited;
  int64_t prepaid_ns;
  uint64_t spent_ns;    /* expected time of launches since `open`, or since the last count */
  uint64_t each_ns;     /* the same per launch, where launches are not told apart */
  uint32_t granted;
  struct measure *open; /* NULL: launches in between are not measured */
};

static __thread struct grant grants[STREAMS];
static __thread uint32_t dice = 0x9e3779b9;
static pthread_key_t thread_end;
static pthread_once_t thread_end_once = PTHREAD_ONCE_INIT;

static struct grant *grant_of(CUstream stream) {
  uintptr_t bits = (uintptr_t)stream;
  return &grants[(bits >> 4 ^ bits >> 9 ^ bits) % STREAMS];
}

/* ---- the short way ----------------------------------------------------------- */

/* What the grant has paid for covers a launch of this kind: take it. */
static int spend(struct grant *grant, uint64_t key) {
  const struct estimate *estimate = estimate_of(key);
  uint64_t ns = estimate_ns(estimate);
  if (!estimate_known(estimate) || ns >= SHORT_NS || grant->prepaid_ns < (int64_t)ns) return 0;
  grant->prepaid_ns -= (int64_t)ns;
  grant->spent_ns += ns;
  grant->left--;
  return 1;
}

/* The grant is this stream's, not used up, and given under what still holds. */
static inline int holds(const struct grant *grant, CUstream stream) {
  uint32_t generation = __atomic_load_n(&guest.page->generation, __ATOMIC_RELAXED);
  return grant->left > 1 && grant->stream == stream && grant->generation == generation &&
         grant->epoch == meter_epoch();
}

/* 1: forward at once. The first thing every launch does, so it is worth saying in few
 * instructions: a slice without a compute limit, or no slice. */
static inline int launch_goes_unlimited(CUstream stream) {
  enum guest_state state = __atomic_load_n(&guest.state, __ATOMIC_ACQUIRE);
  if (state != GUEST_LIMITED) return state == GUEST_FREE;
  struct grant *grant = grant_of(stream);
  if (!holds(grant, stream) || grant->limited) return 0;
  grant->left--;
  return 1;
}

/* 1: forward, it is paid for. */
static int launch_is_paid(CUstream stream, const void *function, unsigned x, unsigned y, unsigned z) {
  if (guest.state != GUEST_LIMITED) return 0;
  struct grant *grant = grant_of(stream);
  return holds(grant, stream) && grant->limited && spend(grant, estimate_key(function, x, y, z));
}

static int launch_goes(CUstream stream, const void *function, unsigned x, unsigned y, unsigned z) {
  return launch_goes_unlimited(stream) || launch_is_paid(stream, function, x, y, z);
}

/* ---- grants and their ends ---------------------------------------------------- */

/* Counts what was launched under the grant; what is not measured is taken as expected. */
static void settle(struct grant *grant) {
  uint32_t launched = grant->granted - grant->left;
  uint64_t expected = grant->limited ? grant->spent_ns : launched * grant->each_ns;
  if (grant->open) {
    grant->open->launches += launched;
    grant->open->expected_ns += expected;
  } else if (launched) {
    meter_count(grant->device, launched, expected);
  }
  grant->granted = grant->left;
  grant->spent_ns = 0;
}

static void close_grant(struct grant *grant, uint64_t now) {
  settle(grant);
  if (grant->open) meter_close(grant->open, now);
  grant->open = NULL;
  grant->left = grant->granted = 0;
}

void launch_close_all(void) {
  if (guest.state != GUEST_LIMITED) return;
  for (int i = 0; i < STREAMS; i++)
    if (grants[i].granted) close_grant(&grants[i], guest_clock.now());
}

/* A thread that ends takes no event with it. */
static void end_thread(void *unused) {
  (void)unused;
  for (int i = 0; i < STREAMS; i++) {
    settle(&grants[i]);
    if (grants[i].open) meter_drop(grants[i].open);
    grants[i] = (struct grant){.left = 0};
  }
}

static void make_key(void) { pthread_key_create(&thread_end, end_thread); }

static void watch_thread(void) {
  static __thread int watched;
  if (watched) return;
  watched = 1;
  pthread_once(&thread_end_once, make_key);
  pthread_setspecific(thread_end, grants);
}

void launch_after_fork(void) {
  memset(grants, 0, sizeof grants);
  meter_after_fork();
}

void launch_forget_context(CUcontext context) {
  launch_close_all();
  uint32_t index = context_index(context);
  if (index) meter_forget_context(index);
}

/* ---- holding back --------------------------------------------------------------- */

static void count_held(uint32_t device, uint64_t throttled, uint64_t queued) {
  struct vgpu_counters *mine = &account_of(guest.account.page, guest.account.slot, device)->counters;
  struct vgpu_counters *all = &guest.account.page->devices[device].total;
  __atomic_fetch_add(&mine->throttled_ns, throttled, __ATOMIC_RELAXED);
  __atomic_fetch_add(&all->throttled_ns, throttled, __ATOMIC_RELAXED);
  __atomic_fetch_add(&mine->queued_ns, queued, __ATOMIC_RELAXED);
  __atomic_fetch_add(&all->queued_ns, queued, __ATOMIC_RELAXED);
}

static uint64_t earlier(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* Sleeps until `turn`; a change of the share moves it, and none needs no turn. */
static void wait_for_turn(uint32_t device, uint64_t turn, uint32_t percent) {
  uint64_t started = guest_clock.now(), now = started;
  if (limiter_waits(turn, now)) launch_close_all(); /* the pause must not be measured as work */
  while (limiter_waits(turn, now)) {
    uint32_t seen = __atomic_load_n(&guest.page->generation, __ATOMIC_ACQUIRE);
    uint32_t in_force = guest_limits_of(device)->compute_percent;
    turn = limiter_turn(turn, percent, in_force, now);
    limiter_reckon(&guest.account.page->devices[device], in_force, now);
    percent = in_force;
    if (percent >= 100 || !limiter_waits(turn, now)) break;
    guest_clock.wait_until(guest.page, seen, turn);
    meter_collect();
    now = guest_clock.now();
  }
  if (now > started) count_held(device, now - started, 0);
}

static void wait_while_frozen(uint32_t device) {
  uint64_t started = guest_clock.now(), now = started;
  for (;;) {
    uint32_t seen = __atomic_load_n(&guest.page->generation, __ATOMIC_ACQUIRE);
    if (!(guest_limits_of(device)->flags & VGPU_DEVICE_FROZEN)) break;
    launch_close_all();
    guest_clock.wait_until(guest.page, seen, now + SECOND_NS);
    now = guest_clock.now();
  }
  if (now > started) count_held(device, now - started, 0);
}

/* Work in flight may be waiting for the very launch that is held here (a collective,
 * a kernel that spins on a flag): without progress the launch goes. */
static void wait_for_window(uint32_t device) {
  uint64_t started = guest_clock.now(), now = started, moved = started;
  uint64_t least = meter_in_flight(device);
  while (least > WINDOW_NS && now - moved < PATIENCE_NS) {
    guest_clock.wait_until(NULL, 0, now + POLL_NS);
    meter_collect();
    now = guest_clock.now();
    if (meter_in_flight(device) < least) moved = now;
    least = earlier(least, meter_in_flight(device));
  }
  if (now > started) count_held(device, 0, now - started);
}

/* A kernel never measured is let through once; its next launch waits for the figure. */
static void wait_for_probe(struct estimate *estimate, uint32_t device) {
  uint64_t started = guest_clock.now(), now = started;
  while (!estimate_known(estimate) &&
         __atomic_load_n(&estimate->probing, __ATOMIC_RELAXED) && now - started < PATIENCE_NS) {
    meter_collect();
    if (estimate_known(estimate)) break;
    guest_clock.wait_until(NULL, 0, now + POLL_NS / 5);
    now = guest_clock.now();
  }
  if (now > started) count_held(device, 0, now - started);
}

static uint64_t expect(struct estimate *estimate, uint32_t device) {
  if (!estimate_known(estimate) &&
      __atomic_exchange_n(&estimate->probing, 1, __ATOMIC_RELAXED))
    wait_for_probe(estimate, device);
  return estimate_known(estimate) ? estimate_ns(estimate) : GUESS_NS;
}

/* ---- one launch, the long way ----------------------------------------------------- */

struct launch {
  struct grant *grant;  /* NULL: forwarded without a measure */
  struct estimate *estimate;
  uint64_t key;
  uint64_t expected_ns;
  uint64_t price_ns;    /* what it is charged: less than expected beside other streams */
  int single;           /* measured by itself */
};

static void book(uint32_t device, int64_t gpu_ns) {
  limiter_book(&guest.account.page->devices[device], guest_limits_of(device), gpu_ns, guest_clock.now());
}

/* Books the GPU time before it is used, and waits for its turn. */
static void pay(uint32_t device, uint64_t price) {
  wait_for_window(device);
  const struct guest_limits *limits = guest_limits_of(device);
  struct vgpu_usage_device *slice = &guest.account.page->devices[device];
  uint64_t now = guest_clock.now();
  uint32_t percent = limits->compute_percent;
  limiter_reckon(slice, percent, now);
  wait_for_turn(device, limiter_book(slice, limits, (int64_t)price, now), percent);
}

/* A long kernel pays for what it adds to the work of other streams, and waits for no turn
 * if it mostly runs beside them: so a limited process keeps its streams side by side. */
static uint64_t pay_long(struct profile *profile, struct context current, uint64_t expected) {
  struct overlap *overlap = meter_overlap(current.index);
  uint64_t now = guest_clock.now(), paid = 0, price;
  if (overlap_rides(overlap, &profile->ends_ns, expected, now)) {
    price = overlap_ride(overlap, &profile->ends_ns, expected, now);
  } else {
    paid = expected;
    pay(current.device, paid);
    price = overlap_open(overlap, &profile->ends_ns, expected, guest_clock.now());
  }
  if (price != paid) book(current.device, (int64_t)(price - paid));
  return price;
}

/* Returns what the launch is charged. */
static uint64_t pay_launch(struct grant *grant, struct profile *profile, struct context current, uint64_t expected) {
  if (grant->device != current.device) grant->prepaid_ns = 0;
  if (expected >= SHORT_NS) return pay_long(profile, current, expected);
  if (grant->prepaid_ns < (int64_t)expected) {
    pay(current.device, PREPAID_NS);
    grant->prepaid_ns += PREPAID_NS;
  }
  grant->prepaid_ns -= (int64_t)expected;
  return expected;
}

/* More than one stream at work: counts down from SWITCHES since it was last seen. */
static CUstream last_stream;
static uint32_t switches;

static void notice_stream(CUstream stream) {
  CUstream before = __atomic_exchange_n(&last_stream, stream, __ATOMIC_RELAXED);
  uint32_t left = __atomic_load_n(&switches, __ATOMIC_RELAXED);
  if (before != stream)
    __atomic_store_n(&switches, SWITCHES, __ATOMIC_RELAXED);
  else if (left)
    __atomic_store_n(&switches, left - 1, __ATOMIC_RELAXED);
}

/* Which way the next launches of this stream are measured. */
static int measured_singly(const struct launch *launch, const struct profile *profile, int limited) {
  if (limited) return !estimate_known(launch->estimate) || launch->expected_ns >= SHORT_NS || profile_sparse(profile);
  return !profile_known(profile) || profile_mean(profile) >= SHORT_NS || profile_sparse(profile);
}

static void renew(struct grant *grant, CUstream stream, struct context current, int limited) {
  grant->generation = __atomic_load_n(&guest.page->generation, __ATOMIC_RELAXED);
  grant->epoch = meter_epoch();
  grant->stream = stream;
  grant->device = current.device;
  grant->limited = limited;
}

/* The open batch can take this launch too. */
static int joins(const struct grant *grant, const struct launch *launch, CUstream stream) {
  return grant->open && grant->left >= 1 && grant->stream == stream && !launch->single &&
         grant->epoch == meter_epoch();
}

/* With many devices a default stream's handle may mean another stream at the next
 * launch: then each is looked at. */
static int is_ambiguous(CUstream stream) { return guest.page->device_count > 1 && (uintptr_t)stream <= 2; }

static void start_measure(struct launch *launch, CUstream stream, struct context current, uint64_t now) {
  struct grant *grant = launch->grant;
  grant->open = meter_open(stream, current.index, current.device, now);
  grant->left = grant->granted = launch->single || !grant->open || is_ambiguous(stream) ? 1 : BATCH;
  if (!launch->single || !launch->estimate) return;
  if (!grant->open) { /* then nobody will learn from it, and nobody shall wait for it */
    estimate_unprobe(launch->estimate);
    return;
  }
  grant->open->estimate = launch->estimate;
  grant->open->key = launch->key;
}

static void prepare(struct launch *launch, CUstream stream, struct context current) {
  const struct guest_limits *limits = guest_limits_of(current.device);
  int limited = limits->compute_percent < 100;
  struct profile *profile = meter_profile(stream, current.index);
  notice_stream(stream);
  meter_collect();
  if (limits->flags & VGPU_DEVICE_FROZEN) wait_while_frozen(current.device);
  if (limited) {
    launch->estimate = estimate_of(launch->key);
    launch->expected_ns = expect(launch->estimate, current.device);
    launch->price_ns = pay_launch(launch->grant, profile, current, launch->expected_ns);
  } else {
    launch->price_ns = launch->expected_ns = profile_mean(profile);
  }
  launch->single = measured_singly(launch, profile, limited);
  uint64_t now = guest_clock.now();
  if (!joins(launch->grant, launch, stream)) {
    if (launch->grant->granted) close_grant(launch->grant, now);
    renew(launch->grant, stream, current, limited);
    start_measure(launch, stream, current, now);
  }
  launch->grant->each_ns = limited ? 0 : launch->expected_ns;
}

/* CUDA_SUCCESS, or what the application gets instead of its launch. */
static CUresult launch_begin(struct launch *launch, CUstream stream, const void *function, unsigned x, unsigned y,
                             unsigned z) {
  *launch = (struct launch){.key = estimate_key(function, x, y, z)};
  enum guest_state state = guest_enter();
  if (state == GUEST_REFUSED) return CUDA_ERROR_NOT_PERMITTED;
  if (state == GUEST_FREE || graph_captures(stream)) return CUDA_SUCCESS;
  guest_claim();
  watch_thread();
  struct context current = context_current();
  if (!current.index) return CUDA_SUCCESS; /* the driver will say what is missing */
  if (current.device >= VGPU_DEVICES_MAX) return CUDA_ERROR_NOT_PERMITTED;
  launch->grant = grant_of(stream);
  prepare(launch, stream, current);
  return CUDA_SUCCESS;
}

/* About a millisecond of GPU time, 48 to 512 launches, and never the same number twice
 * running: a program that repeats itself must not always be timed at the same spot. */
static uint32_t unmeasured_launches(uint64_t each_ns) {
  uint64_t count = SAMPLE_NS / (each_ns + 1);
  dice ^= dice << 13;
  dice ^= dice >> 17;
  dice ^= dice << 5;
  count = count < 48 ? 48 : count > 400 ? 400 : count;
  return (uint32_t)(count + dice % (count / 4));
}

/* After a single measure where the host is slow: the next ones go unmeasured. Not so with
 * several streams under a limit: a single measure would hold the time in which its kernel
 * waited for unmeasured ones of other streams. */
static void grant_unmeasured(struct grant *grant, uint64_t expected) {
  struct profile *profile = meter_profile(grant->stream, context_current().index);
  uint32_t rounds = __atomic_load_n(&profile->sparse, __ATOMIC_RELAXED);
  if (!rounds || expected >= SHORT_NS || is_ambiguous(grant->stream)) return;
  if (grant->limited && __atomic_load_n(&switches, __ATOMIC_RELAXED)) return;
  __atomic_store_n(&profile->sparse, rounds - 1, __ATOMIC_RELAXED);
  grant->left = grant->granted = unmeasured_launches(expected);
  grant->each_ns = grant->limited ? 0 : expected;
}

static CUresult launch_end(struct launch *launch, CUresult result) {
  struct grant *grant = launch->grant;
  if (!grant) return result;
  if (result == CUDA_SUCCESS) {
    grant->spent_ns += launch->price_ns;
    grant->left--;
  } else {
    if (grant->limited) book(grant->device, -(int64_t)launch->price_ns);
    if (grant->open) grant->open->estimate = NULL; /* it says nothing about the kernel */
  }
  if (result && launch->estimate) estimate_unprobe(launch->estimate);
  if (launch->single || !grant->left || result) {
    close_grant(grant, guest_clock.now());
    meter_collect();
    if (launch->single && !result) grant_unmeasured(grant, launch->expected_ns);
  }
  return result;
}

/* ---- the entry points --------------------------------------------------------------- */

static CUstream per_thread(CUstream stream) { return stream ? stream : CU_STREAM_PER_THREAD; }

/* Apart, so that the short way below needs no stack of its own and ends in a jump. */
static __attribute__((noinline)) CUresult launch_kernel(CUfunction f, unsigned gx, unsigned gy, unsigned gz,
                                                        unsigned bx, unsigned by, unsigned bz, unsigned shared,
                                                        CUstream stream, void **params, void **extra) {
  struct launch launch;
  if (launch_is_paid(stream, f, gx, gy, gz))
    return real()->cuLaunchKernel(f, gx, gy, gz, bx, by, bz, shared, stream, params, extra);
  CUresult refused = launch_begin(&launch, stream, f, gx, gy, gz);
  if (refused) return refused;
  return launch_end(&launch,
                    real()->cuLaunchKernel(f, gx, gy, gz, bx, by, bz, shared, stream, params, extra));
}

CUresult cuLaunchKernel(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                        unsigned shared, CUstream stream, void **params, void **extra) {
  if (__builtin_expect(launch_goes_unlimited(stream), 1))
    return real()->cuLaunchKernel(f, gx, gy, gz, bx, by, bz, shared, stream, params, extra);
  return launch_kernel(f, gx, gy, gz, bx, by, bz, shared, stream, params, extra);
}

static __attribute__((noinline)) CUresult launch_kernel_ptsz(CUfunction f, unsigned gx, unsigned gy, unsigned gz,
                                                             unsigned bx, unsigned by, unsigned bz, unsigned shared,
                                                             CUstream stream, void **params, void **extra) {
  struct launch launch;
  if (launch_is_paid(per_thread(stream), f, gx, gy, gz))
    return real()->cuLaunchKernel_ptsz(f, gx, gy, gz, bx, by, bz, shared, stream, params, extra);
  CUresult refused = launch_begin(&launch, per_thread(stream), f, gx, gy, gz);
  if (refused) return refused;
  return launch_end(&launch,
                    real()->cuLaunchKernel_ptsz(f, gx, gy, gz, bx, by, bz, shared, stream, params, extra));
}

CUresult cuLaunchKernel_ptsz(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                             unsigned bz, unsigned shared, CUstream stream, void **params, void **extra) {
  if (__builtin_expect(launch_goes_unlimited(per_thread(stream)), 1))
    return real()->cuLaunchKernel_ptsz(f, gx, gy, gz, bx, by, bz, shared, stream, params, extra);
  return launch_kernel_ptsz(f, gx, gy, gz, bx, by, bz, shared, stream, params, extra);
}

/* The driver answers a missing configuration; we only must not read it. */
CUresult cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction f, void **params, void **extra) {
  struct launch launch;
  if (!config || launch_goes(config->hStream, f, config->gridDimX, config->gridDimY, config->gridDimZ))
    return real()->cuLaunchKernelEx(config, f, params, extra);
  CUresult refused =
      launch_begin(&launch, config->hStream, f, config->gridDimX, config->gridDimY, config->gridDimZ);
  return refused ? refused : launch_end(&launch, real()->cuLaunchKernelEx(config, f, params, extra));
}

CUresult cuLaunchKernelEx_ptsz(const CUlaunchConfig *config, CUfunction f, void **params, void **extra) {
  struct launch launch;
  if (!config)
    return real()->cuLaunchKernelEx_ptsz(config, f, params, extra);
  CUstream stream = per_thread(config->hStream);
  if (launch_goes(stream, f, config->gridDimX, config->gridDimY, config->gridDimZ))
    return real()->cuLaunchKernelEx_ptsz(config, f, params, extra);
  CUresult refused = launch_begin(&launch, stream, f, config->gridDimX, config->gridDimY, config->gridDimZ);
  return refused ? refused : launch_end(&launch, real()->cuLaunchKernelEx_ptsz(config, f, params, extra));
}

CUresult cuLaunchCooperativeKernel(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                                   unsigned bz, unsigned shared, CUstream stream, void **params) {
  struct launch launch;
  if (launch_goes(stream, f, gx, gy, gz))
    return real()->cuLaunchCooperativeKernel(f, gx, gy, gz, bx, by, bz, shared, stream, params);
  CUresult refused = launch_begin(&launch, stream, f, gx, gy, gz);
  if (refused) return refused;
  return launch_end(&launch,
                    real()->cuLaunchCooperativeKernel(f, gx, gy, gz, bx, by, bz, shared, stream, params));
}

CUresult cuLaunchCooperativeKernel_ptsz(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
                                        unsigned by, unsigned bz, unsigned shared, CUstream stream, void **params) {
  struct launch launch;
  if (launch_goes(per_thread(stream), f, gx, gy, gz))
    return real()->cuLaunchCooperativeKernel_ptsz(f, gx, gy, gz, bx, by, bz, shared, stream, params);
  CUresult refused = launch_begin(&launch, per_thread(stream), f, gx, gy, gz);
  if (refused) return refused;
  return launch_end(&launch,
                    real()->cuLaunchCooperativeKernel_ptsz(f, gx, gy, gz, bx, by, bz, shared, stream, params));
}

/* Several devices at once, gone in CUDA 13: held back for the first; an event
 * belongs to one context, so only the current device's part is measured. */
CUresult cuLaunchCooperativeKernelMultiDevice(CUDA_LAUNCH_PARAMS *list, unsigned count, unsigned flags) {
  struct launch launch;
  if (!list || !count) return real()->cuLaunchCooperativeKernelMultiDevice(list, count, flags);
  CUresult refused =
      launch_begin(&launch, list->hStream, list->function, list->gridDimX, list->gridDimY, list->gridDimZ);
  if (refused) return refused;
  return launch_end(&launch, real()->cuLaunchCooperativeKernelMultiDevice(list, count, flags));
}

CUresult cuLaunch(CUfunction f) {
  struct launch launch;
  CUresult refused = launch_begin(&launch, NULL, f, 1, 1, 1);
  return refused ? refused : launch_end(&launch, real()->cuLaunch(f));
}

CUresult cuLaunchGrid(CUfunction f, int width, int height) {
  struct launch launch;
  CUresult refused = launch_begin(&launch, NULL, f, (unsigned)width, (unsigned)height, 1);
  return refused ? refused : launch_end(&launch, real()->cuLaunchGrid(f, width, height));
}

CUresult cuLaunchGridAsync(CUfunction f, int width, int height, CUstream stream) {
  struct launch launch;
  CUresult refused = launch_begin(&launch, stream, f, (unsigned)width, (unsigned)height, 1);
  return refused ? refused : launch_end(&launch, real()->cuLaunchGridAsync(f, width, height, stream));
}

/* A graph counts as one function; its memory is reserved first. */
static CUresult launch_graph(CUgraphExec exec, CUstream given, CUstream stream,
                             CUresult (*forward)(CUgraphExec, CUstream)) {
  struct launch launch;
  struct charge charge;
  if (guest_enter() == GUEST_FREE) return forward(exec, given);
  CUresult refused = launch_begin(&launch, stream, exec, 0, 0, 0);
  if (refused) return refused;
  refused = graph_reserve(exec, &charge);
  if (refused) return launch_end(&launch, refused);
  CUresult result = launch_end(&launch, forward(exec, given));
  graph_settle(exec, &charge, result);
  return result;
}

CUresult cuGraphLaunch(CUgraphExec exec, CUstream stream) {
  return launch_graph(exec, stream, stream, real()->cuGraphLaunch);
}

CUresult cuGraphLaunch_ptsz(CUgraphExec exec, CUstream stream) {
  return launch_graph(exec, stream, per_thread(stream), real()->cuGraphLaunch_ptsz);
}
