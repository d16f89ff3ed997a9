/* Memory is reserved in the slice's account, then allocated, then booked; what
 * the driver refuses is given back. So racing processes never hold a byte more
 * than the limit, not even for a moment.
 *
 * What a refusal still tries: pools of this process that hold more than they
 * use, processes that died, and, where the agent allows it, a moment's wait for
 * a growth that is on its way.
 */
#include "memory.h"

#include "context.h"
#include "graph.h"
#include "guest.h"
#include "pointers.h"
#include "pool.h"
#include "spill.h"
#include "vmm.h"

static int charge_now(const struct charge *charge) {
  uint64_t limit = guest_limits_of(charge->device)->memory_limit;
  return account_charge(&guest.account, charge->device, charge->kind, charge->bytes, limit);
}

static void count_refusal(const struct charge *charge) {
  struct vgpu_usage *page = guest.account.page;
  struct vgpu_counters *mine = &account_of(page, guest.account.slot, charge->device)->counters;
  struct vgpu_counters *all = &page->devices[charge->device].total;
  __atomic_fetch_add(&mine->refused, 1, __ATOMIC_RELAXED);
  __atomic_fetch_add(&mine->refused_bytes, charge->bytes, __ATOMIC_RELAXED);
  __atomic_fetch_add(&all->refused, 1, __ATOMIC_RELAXED);
  __atomic_fetch_add(&all->refused_bytes, charge->bytes, __ATOMIC_RELAXED);
}

/* ---- waiting for growth ------------------------------------------------- */

static void count_wait(const struct charge *charge, uint64_t ns) {
  struct vgpu_usage *page = guest.account.page;
  __atomic_fetch_add(&account_of(page, guest.account.slot, charge->device)->counters.waited_ns, ns,
                     __ATOMIC_RELAXED);
  __atomic_fetch_add(&page->devices[charge->device].total.waited_ns, ns, __ATOMIC_RELAXED);
}

static int could_grow_to_fit(const struct charge *charge, const struct guest_limits *limits) {
  uint64_t used = vgpu_usage_used(guest.account.page, charge->device);
  return limits->memory_wait_ms && used + charge->bytes <= limits->memory_ceiling;
}

static int charge_until(const struct charge *charge, uint64_t deadline) {
  int error;
  do {
    uint32_t seen = __atomic_load_n(&guest.page->generation, __ATOMIC_ACQUIRE);
    error = charge_now(charge);
    if (error) guest_clock.wait_until(guest.page, seen, deadline);
  } while (error && guest_clock.now() < deadline);
  return error ? charge_now(charge) : 0;
}

/* Says what is wanted, so that the agent can answer with a growth instead of an OOM. */
static int charge_after_growth(const struct charge *charge) {
  const struct guest_limits *limits = guest_limits_of(charge->device);
  if (!could_grow_to_fit(charge, limits)) return -1;
  uint64_t *wanted = &account_of(guest.account.page, guest.account.slot, charge->device)->wanted;
  uint64_t started = guest_clock.now();
  __atomic_fetch_add(wanted, charge->bytes, __ATOMIC_RELAXED);
  int error = charge_until(charge, started + limits->memory_wait_ms * 1000000ull);
  __atomic_fetch_sub(wanted, charge->bytes, __ATOMIC_RELAXED);
  count_wait(charge, guest_clock.now() - started);
  return error;
}

/* ---- reserve, commit, give back ----------------------------------------- */

static CUresult reserve_slowly(const struct charge *charge) {
  int freed = pools_shrink(charge->device) | graph_shrink(charge->device);
  if (freed && !charge_now(charge)) return CUDA_SUCCESS;
  uint64_t limit = guest_limits_of(charge->device)->memory_limit;
  if (account_reap_for(&guest.account, charge->device, charge->bytes, limit) && !charge_now(charge))
    return CUDA_SUCCESS;
  if (!charge_after_growth(charge)) return CUDA_SUCCESS;
  count_refusal(charge);
  return CUDA_ERROR_OUT_OF_MEMORY;
}

static CUresult charge_or_refuse(struct charge *charge) {
  if (__builtin_expect(charge->device >= VGPU_DEVICES_MAX, 0)) return CUDA_ERROR_OUT_OF_MEMORY;
  guest_claim();
  return __builtin_expect(!charge_now(charge), 1) ? CUDA_SUCCESS : reserve_slowly(charge);
}

CUresult memory_reserve(struct charge *charge, enum vgpu_memory_kind kind, uint64_t bytes) {
  *charge = (struct charge){.bytes = bytes, .kind = kind, .device = VGPU_DEVICES_MAX};
  enum guest_state state = guest_enter();
  if (state == GUEST_FREE) return CUDA_SUCCESS;
  if (state == GUEST_REFUSED) return CUDA_ERROR_NOT_PERMITTED;
  struct context current = context_current();
  if (!current.index) return CUDA_SUCCESS; /* the driver will say what is missing */
  charge->context = current.index;
  charge->device = current.device;
  return charge_or_refuse(charge);
}

CUresult memory_reserve_on(struct charge *charge, enum vgpu_memory_kind kind, uint64_t bytes,
                           uint32_t device) {
  *charge = (struct charge){.bytes = bytes, .kind = kind, .device = VGPU_DEVICES_MAX};
  enum guest_state state = guest_enter();
  if (state == GUEST_FREE) return CUDA_SUCCESS;
  if (state == GUEST_REFUSED) return CUDA_ERROR_NOT_PERMITTED;
  charge->device = device;
  return charge_or_refuse(charge);
}

void memory_give_back(const struct charge *charge) {
  if (charge->device < VGPU_DEVICES_MAX && charge->bytes)
    account_discharge(&guest.account, charge->device, charge->kind, charge->bytes);
}

CUresult memory_resize(struct charge *charge, uint64_t bytes) {
  struct charge change = *charge;
  if (charge->device >= VGPU_DEVICES_MAX) return CUDA_SUCCESS;
  if (bytes < charge->bytes) {
    change.bytes = charge->bytes - bytes;
    memory_give_back(&change);
  } else {
    change.bytes = bytes - charge->bytes;
    if (charge_or_refuse(&change)) return CUDA_ERROR_OUT_OF_MEMORY;
  }
  charge->bytes = bytes;
  return CUDA_SUCCESS;
}

CUresult memory_commit(const struct charge *charge, CUresult result, uint64_t key) {
  if (charge->device >= VGPU_DEVICES_MAX) return result;
  if (result != CUDA_SUCCESS) {
    memory_give_back(charge);
    return result;
  }
  FAIL_POINT("memory:allocated");
  pointers_add(key, (struct pointer){.bytes = charge->bytes, .kind = charge->kind,
                                     .device = charge->device, .context = charge->context});
  return result;
}

int memory_detach(uint64_t key, struct pointer *pointer) {
  return guest.state == GUEST_LIMITED && pointers_take(key, pointer);
}

void memory_settle_free(uint64_t key, const struct pointer *pointer, CUresult result) {
  FAIL_POINT("memory:freed");
  if (result != CUDA_SUCCESS) {
    pointers_add(key, *pointer);
    return;
  }
  if (pointer->kind == POINTER_SPILLED)
    spill_returned(pointer->device, pointer->bytes);
  else
    account_discharge(&guest.account, pointer->device, (enum vgpu_memory_kind)pointer->kind,
                      pointer->bytes);
}

void memory_adjust(uint32_t device, enum vgpu_memory_kind kind, int64_t change) {
  if (change > 0)
    account_charge(&guest.account, device, kind, (uint64_t)change, VGPU_BYTES_MASK);
  else if (change < 0)
    account_discharge(&guest.account, device, kind, (uint64_t)-change);
}

static void drop(struct pointer pointer) { memory_settle_free(0, &pointer, CUDA_SUCCESS); }

void memory_forget_context(uint32_t context) {
  if (context) pointers_take_context(context, drop);
  context_forget(context);
}

void memory_after_fork(void) {
  pointers_after_fork();
  context_after_fork();
  pools_after_fork();
  vmm_after_fork();
  graph_after_fork();
}

int memory_view(uint32_t device, uint64_t *total, uint64_t *used) {
  uint64_t limit = guest_limits_of(device)->memory_limit;
  if (limit == VGPU_UNLIMITED) return 0;
  uint64_t physical = guest_total_memory(device);
  *total = physical && physical < limit ? physical : limit;
  *used = vgpu_usage_used(guest.account.page, device);
  if (*used > *total) *used = *total; /* limit lowered below use: nothing free, no error */
  return 1;
}
