/* Numbers contexts, so that what one held can be given back when it is
 * destroyed, and remembers per thread the one that is current. */
#include "context.h"

#include "guest.h"
#include "pointers.h"
#include "real.h"
#include "spin.h"

enum { CONTEXTS = POINTER_CONTEXTS };

static struct {
  CUcontext handle;
  uint32_t device;
} known[CONTEXTS]; /* index 0 stays empty */

static struct spin lock;
static uint32_t epoch = 1; /* counts up when a number may mean another context */

/* While a process has one context, a thread that was seen with it still has it: no
 * need to ask the driver each time. That one's index; 0: ask. */
static uint32_t sole;
static uint32_t alive;

static __thread struct {
  CUcontext handle;
  uint32_t epoch;
  struct context context;
} last;

static uint32_t find(CUcontext handle) {
  for (uint32_t i = 1; i < CONTEXTS; i++)
    if (known[i].handle == handle) return i;
  return 0;
}

uint32_t context_index(CUcontext handle) {
  spin_lock(&lock);
  uint32_t index = handle ? find(handle) : 0;
  spin_unlock(&lock);
  return index;
}

/* With every number taken, further contexts share the last: their memory then
 * comes back by being freed, not with the context. */
static uint32_t enrol(CUcontext handle, uint32_t device) {
  spin_lock(&lock);
  uint32_t index = find(handle);
  if (!index) index = find(NULL);
  if (!index) index = CONTEXTS - 1;
  known[index].handle = handle;
  known[index].device = device;
  spin_unlock(&lock);
  return index;
}

static struct context look_up(CUcontext handle) {
  CUdevice ordinal;
  if (real()->cuCtxGetDevice(&ordinal)) return (struct context){0, VGPU_DEVICES_MAX};
  uint32_t device = guest_device(ordinal);
  return (struct context){enrol(handle, device), device};
}

void context_made(void) {
  __atomic_fetch_add(&alive, 1, __ATOMIC_RELAXED);
  __atomic_store_n(&sole, 0, __ATOMIC_RELEASE);
}

static struct context ask(void) {
  CUcontext handle = NULL;
  if (real()->cuCtxGetCurrent(&handle) || !handle) return (struct context){0, VGPU_DEVICES_MAX};
  uint32_t now = __atomic_load_n(&epoch, __ATOMIC_ACQUIRE);
  if (__builtin_expect(last.handle == handle && last.epoch == now, 1)) return last.context;
  last.context = look_up(handle);
  last.handle = handle;
  last.epoch = now;
  return last.context;
}

struct context context_current(void) {
  uint32_t only = __atomic_load_n(&sole, __ATOMIC_RELAXED);
  if (__builtin_expect(only && last.context.index == only && last.epoch == epoch, 1))
    return last.context;
  struct context current = ask();
  if (current.index && __atomic_load_n(&alive, __ATOMIC_RELAXED) == 1)
    __atomic_store_n(&sole, current.index, __ATOMIC_RELAXED);
  return current;
}

void context_forget(uint32_t index) {
  __atomic_store_n(&sole, 0, __ATOMIC_RELEASE);
  __atomic_fetch_sub(&alive, 1, __ATOMIC_RELAXED);
  if (!index) return;
  spin_lock(&lock);
  known[index].handle = NULL;
  spin_unlock(&lock);
  __atomic_fetch_add(&epoch, 1, __ATOMIC_RELEASE);
}

void context_after_fork(void) {
  lock.held = 0;
  sole = alive = 0;
  for (uint32_t i = 0; i < CONTEXTS; i++) known[i].handle = NULL;
  epoch++;
}
