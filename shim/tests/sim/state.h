/* The simulated machine: one file in shared memory, mapped by every process.
 *
 * Contract: everything in it is changed under state_lock() only. A process may be
 * killed at any instruction; so rings commit by one store of head or tail, and sums
 * (device->used) are recomputed when a lock owner has died. A slot belongs to a
 * process as long as it holds the slot's byte lock on the state file; whoever finds
 * the lock gone reaps the slot. Nothing here knows CUDA or NVML.
 */
#ifndef SIM_STATE_H
#define SIM_STATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
  SIM_DEVICES = 16,
  SIM_SLOTS = 8192,    /* processes, or tenants within one */
  SIM_CHANNELS = 512,  /* (slot, device) pairs that have work queues */
  SIM_STREAMS = 128,   /* per channel */
  SIM_RING = 1024,     /* pending items per stream, a power of two */
  SIM_EVENTS = 16384,  /* per channel */
  SIM_SAMPLES = 64,    /* utilisation samples kept */
  SIM_XIDS = 16,
  SIM_PARTICIPANTS = 64,
  SIM_TENANTS = 64     /* per process */
};

enum option {
#define OPTION(name, value, meaning) OPTION_##name,
#include "options.def"
#undef OPTION
  OPTION_COUNT
};

enum item_kind { ITEM_WORK, ITEM_RECORD, ITEM_WAIT };

struct sim_item {
  uint64_t seq;        /* order of submission in the channel */
  uint64_t remaining;  /* ns of work */
  uint64_t event_seq;  /* of ITEM_RECORD and ITEM_WAIT */
  uint32_t event;
  int32_t channel;     /* whose event ITEM_WAIT waits for */
  uint16_t share;      /* of the GPU, in thousandths */
  uint8_t kind;
  uint8_t started;
};

struct sim_stream {
  _Atomic uint32_t head, tail; /* ever growing; an item's place is index % SIM_RING */
  uint32_t used, nonblocking;
  struct sim_item ring[SIM_RING];
};

struct sim_event {
  uint64_t recorded, done, time; /* record calls so far, of which done, when (ns) */
};

struct sim_channel { /* dense, apart from its queues: the engine looks at all of them */
  uint32_t used;
  int32_t slot, device;
  uint32_t streams; /* indices below this are or were in use */
  uint64_t next_seq;
  uint64_t busy, busy_sampled;
  uint16_t samples[SIM_SAMPLES]; /* thousandths, ring by device->sample_count */
  uint64_t first_sample;         /* device->sample_count when it began */
};

struct sim_queue {
  struct sim_stream streams[SIM_STREAMS];
  struct sim_event events[SIM_EVENTS];
};

struct sim_slot {
  uint32_t used, tenant;
  int32_t pid;
  uint64_t started_at;
  uint64_t memory[SIM_DEVICES], memory_peak[SIM_DEVICES];
  uint32_t contexts[SIM_DEVICES];
  int32_t channel[SIM_DEVICES]; /* -1: none */
};

struct sim_device {
  char name[96], uuid[48];
  uint64_t memory;
  uint32_t multiprocessors;
  int32_t numa;
  uint8_t links[SIM_DEVICES]; /* NVLinks to each other device */
  uint64_t used;              /* sum of the slots' memory */
  uint64_t now, busy, busy_sampled, sampled_at, sample_count;
  uint16_t samples[SIM_SAMPLES];
  uint64_t slice_end, switch_end;
  int32_t current; /* channel that has the GPU, -1: none */
  uint64_t xid_count, xids[SIM_XIDS];
};

struct sim_participant {
  _Atomic uint32_t turn; /* futex */
  uint32_t joined;
  int32_t pid;
  uint64_t wake;
};

struct sim_clock {
  uint32_t virtual_mode, participants, joined;
  uint64_t now;
  int32_t running; /* participant whose turn it is, -1: none yet */
  struct sim_participant participant[SIM_PARTICIPANTS];
};

struct sim_state {
  uint64_t layout, config_hash;
  pthread_mutex_t mutex;
  _Atomic uint64_t options[OPTION_COUNT];
  struct sim_clock clock;
  uint32_t slots_high, channels_high;
  struct sim_device devices[SIM_DEVICES];
  struct sim_channel channels[SIM_CHANNELS];
  struct sim_slot slots[SIM_SLOTS];
  struct sim_queue queues[SIM_CHANNELS];
};

/* Maps the state, creating it from the configuration if need be; NULL: no access. */
struct sim_state *state_open(void);

static inline uint64_t option_value(struct sim_state *state, enum option option) {
  return atomic_load_explicit(&state->options[option], memory_order_relaxed);
}

void state_lock(struct sim_state *state);
void state_unlock(struct sim_state *state);

/* The calling thread's tenant. */
unsigned state_tenant(void);
/* Slot of this process and tenant, claimed at first use; NULL: table full, or a forked child
 * that may not start anew. Call with the lock held. */
struct sim_slot *state_slot(struct sim_state *state, unsigned tenant);
/* Whether the slot is one of this process's; its pid alone could be another namespace's. */
bool state_owns(const struct sim_state *state, const struct sim_slot *slot);
/* Frees what dead processes left. Call with the lock held. */
void state_reap(struct sim_state *state);
/* Gives back all slots of this process. */
void state_leave(void);
/* True in a child whose parent had a slot. */
bool state_forked(void);

/* Physical memory. Call with the lock held. False: the device has no room. */
bool state_charge(struct sim_state *state, struct sim_slot *slot, int device, uint64_t bytes);
void state_discharge(struct sim_state *state, struct sim_slot *slot, int device, uint64_t bytes);
uint64_t state_room(struct sim_state *state, int device);

/* config.c: the devices and options a new state starts with. */
void config_apply(struct sim_state *state);
uint64_t config_hash(void);

#endif
