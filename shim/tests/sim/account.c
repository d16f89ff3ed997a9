/* The exact accounts that tests compare the shim's with; sim.h lists them. */
#include <string.h>
#include <unistd.h>

#include "engine.h"
#include "sim.h"
#include "state.h"

enum { ANY_TENANT = -1 };

static bool matches(struct sim_state *state, const struct sim_slot *slot, int pid, int tenant) {
  if (!slot->used || (tenant != ANY_TENANT && slot->tenant != (unsigned)tenant)) return false;
  if (pid == 0) return slot->pid == (int)getpid() || state_owns(state, slot);
  return slot->pid == pid;
}

/* Up to date, with the dead gone; NULL: no such device. Unlock afterwards. */
static struct sim_state *look(int device) {
  struct sim_state *state = state_open();
  if (state == NULL || device < 0 || device >= SIM_DEVICES) return NULL;
  state_lock(state);
  state_reap(state);
  engine_advance(state);
  return state;
}

uint64_t sim_memory_used(int device, int pid) {
  struct sim_state *state = look(device);
  uint64_t sum = 0;
  if (state == NULL) return 0;
  for (uint32_t i = 0; i < state->slots_high; i++)
    if (matches(state, &state->slots[i], pid, ANY_TENANT)) sum += state->slots[i].memory[device];
  state_unlock(state);
  return sum;
}

uint64_t sim_device_memory_used(int device) {
  struct sim_state *state = look(device);
  if (state == NULL) return 0;
  uint64_t used = state->devices[device].used + option_value(state, OPTION_reserved_bytes);
  state_unlock(state);
  return used;
}

static uint64_t busy(int device, int pid, int tenant) {
  struct sim_state *state = look(device);
  uint64_t sum = 0;
  if (state == NULL) return 0;
  for (uint32_t i = 0; i < state->slots_high; i++) {
    struct sim_slot *slot = &state->slots[i];
    if (matches(state, slot, pid, tenant) && slot->channel[device] >= 0)
      sum += state->channels[slot->channel[device]].busy;
  }
  state_unlock(state);
  return sum;
}

uint64_t sim_busy_ns(int device, int pid) { return busy(device, pid, ANY_TENANT); }
uint64_t sim_tenant_busy_ns(int device, int pid, unsigned tenant) { return busy(device, pid, (int)tenant); }

uint64_t sim_device_busy_ns(int device) {
  struct sim_state *state = look(device);
  if (state == NULL) return 0;
  uint64_t ns = state->devices[device].busy;
  state_unlock(state);
  return ns;
}

uint64_t sim_pending(int device, int pid) {
  struct sim_state *state = look(device);
  uint64_t sum = 0;
  if (state == NULL) return 0;
  for (uint32_t i = 0; i < state->slots_high; i++) {
    struct sim_slot *slot = &state->slots[i];
    if (matches(state, slot, pid, ANY_TENANT) && slot->channel[device] >= 0)
      sum += engine_pending(state, slot->channel[device]);
  }
  state_unlock(state);
  return sum;
}

unsigned sim_processes(int device) {
  struct sim_state *state = look(device);
  unsigned count = 0;
  if (state == NULL) return 0;
  for (uint32_t i = 0; i < state->slots_high; i++) count += state->slots[i].used && state->slots[i].contexts[device] > 0;
  state_unlock(state);
  return count;
}

void sim_xid(int device, uint64_t code) {
  struct sim_state *state = look(device);
  if (state == NULL) return;
  struct sim_device *d = &state->devices[device];
  d->xids[d->xid_count % SIM_XIDS] = code;
  d->xid_count++;
  state_unlock(state);
}
