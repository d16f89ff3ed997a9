/* The two pages a slice is made of, and nothing else: what the node agent
 * promises (the limits page) and what the slice's processes have used (the
 * usage page). Everybody who reads or writes them reads this file: the shim,
 * its tests, and Python, whose cffi gets the part between the marks below out
 * of the library itself (vgpu_region_declarations).
 *
 * Contract
 *  - Fixed width, little endian, no pointers. A reader refuses a page whose
 *    magic, version or size is not its own; fields are only ever added in
 *    place of `reserved` ones, and then the version stays.
 *  - limits: one writer, the agent. A device line is written under its
 *    seqlock: seq odd, fields, seq even; then `generation` + 1 and a futex
 *    wake on that word. A reader looks at `generation`, and only when it moved
 *    copies the lines, with a bounded number of retries, keeping its last good
 *    copy. A writer that dies in the middle blocks nobody.
 *  - usage: written by every process of the slice, so a tenant can forge it.
 *    Slots never move. Who holds the OFD lock on byte VGPU_LOCK_OFFSET +
 *    slot of the usage file owns that slot: the kernel drops the lock with the process, so
 *    taking it is the proof that the owner is gone.
 *  - `used` of a device is never less than the sum over its slots, whoever was
 *    killed where: a charge goes intent, used, lane, and a discharge intent,
 *    lane, used, and the intent is cleared last. What a crash leaves counted
 *    twice is found again by vgpu_usage_reconcile: sum the lanes while neither
 *    `used` nor any intent moves (both carry an operation count for that) and
 *    take the difference away.
 *
 * Units: bytes, nanoseconds, whole per cent of one GPU. Fields are plain
 * integers for cffi's sake; C touches the shared ones with __atomic builtins.
 */
#ifndef VGPU_REGION_H
#define VGPU_REGION_H

#include <stddef.h>
#include <stdint.h>

/* cffi reads from here on; only plain declarations and #define NAME NUMBER. */
/* <cffi> */
#define VGPU_LIMITS_MAGIC 0x5631544d4c555047
#define VGPU_USAGE_MAGIC 0x56314547534c5550
#define VGPU_REGION_VERSION 1

#define VGPU_DEVICES_MAX 16
#define VGPU_SLOTS_MAX 4096
#define VGPU_LANES 4
#define VGPU_LOCK_OFFSET 0x40000000
#define VGPU_UNLIMITED 0xffffffffffffffff

/* A counted word: operations in the top 20 bits, bytes in the low 44. */
#define VGPU_BYTES_BITS 44
#define VGPU_BYTES_MASK 0xfffffffffff

/* GPU busy time is drawn on a ring: one bit per quantum, 48 bits a word, the
 * upper 16 bits of a word tell which turn of the ring they are from. */
#define VGPU_BUSY_QUANTUM_NS 4096
#define VGPU_BUSY_WORDS 4096
#define VGPU_BUSY_BITS 48

enum vgpu_memory_kind {
  VGPU_MEMORY_LINEAR = 0,  /* cuMemAlloc, cuMemAllocPitch */
  VGPU_MEMORY_MANAGED = 1,
  VGPU_MEMORY_VMM = 2,     /* cuMemCreate, until unreferenced and unmapped */
  VGPU_MEMORY_POOL = 3,    /* what stream-ordered pools hold */
  VGPU_MEMORY_ARRAY = 4,   /* arrays and mipmaps */
  VGPU_MEMORY_GRAPH = 5,   /* what graphs' own allocations hold */
  VGPU_MEMORY_CONTEXT = 6, /* context_bytes per live context */
  VGPU_MEMORY_KINDS = 7
};

enum vgpu_device_flag {
  VGPU_DEVICE_FROZEN = 1,        /* launches wait */
  VGPU_DEVICE_OVERSUBSCRIBE = 2, /* overflow may go to host memory, up to spill_limit */
  VGPU_DEVICE_MIG = 4,           /* the UUID is a MIG instance's */
  VGPU_DEVICE_RAW_UTILIZATION = 8 /* NVML utilisation unscaled by the share */
};

enum vgpu_slot_state { VGPU_SLOT_FREE = 0, VGPU_SLOT_LIVE = 1, VGPU_SLOT_REAPING = 2 };

/* One device's limits: one 128-byte line. */
struct vgpu_limits_device {
  uint32_t seq;
  uint32_t flags;            /* enum vgpu_device_flag */
  uint8_t uuid[16];
  uint64_t memory_limit;     /* bytes; VGPU_UNLIMITED forwards the driver's answers */
  uint64_t memory_target;    /* what a cooperating application should come down to */
  uint64_t memory_ceiling;   /* what memory_limit may grow to */
  uint64_t spill_limit;      /* bytes that may lie in host memory */
  uint64_t context_bytes;    /* charged per live context */
  uint64_t revision;         /* the agent's number for this set of limits */
  uint32_t compute_percent;  /* what the slice holds; 100 = no limit */
  uint32_t lent_percent;     /* on top, for now: idle time of other slices */
  uint32_t ceiling_percent;  /* what compute may reach; 0 = compute_percent + lent_percent */
  uint32_t weight;           /* share of what is lent */
  int32_t priority;
  uint32_t burst_ms;         /* how much unused time may be caught up; 0 = 25 ms */
  uint32_t memory_wait_ms;   /* how long an allocation waits for growth; 0 = not */
  uint32_t busy_permille;    /* part of measured time that was really this slice's; 0 = 1000 */
  uint8_t reserved[24];
};

struct vgpu_limits {
  uint64_t magic;
  uint32_t version;
  uint32_t size;             /* of the whole page */
  uint32_t generation;       /* futex word */
  uint32_t device_count;
  uint8_t slice_id[64];      /* NUL-terminated, for people */
  uint8_t reserved[40];
  struct vgpu_limits_device devices[VGPU_DEVICES_MAX];
};

/* Counters that only grow. */
struct vgpu_counters {
  uint64_t launches;         /* kernels and graphs; at most 64 per thread late */
  uint64_t gpu_ns;           /* measured busy time */
  uint64_t throttled_ns;     /* launches held back by the compute limit */
  uint64_t queued_ns;        /* launches held back by work still in flight */
  uint64_t refused;          /* allocations answered "out of memory" by the limit */
  uint64_t refused_bytes;
  uint64_t waited_ns;        /* allocations that waited for growth */
  uint64_t reserved;
};

/* The slice's account of one device; a cache line per concern. */
struct vgpu_usage_device {
  uint64_t used;             /* counted word; the limit is held against it */
  uint64_t used_pad[7];
  uint64_t schedule;         /* CLOCK_MONOTONIC ns at which the slice's debt is paid */
  uint64_t schedule_percent; /* the share it was reckoned at */
  uint64_t schedule_pad[6];
  uint64_t peak;             /* bytes */
  uint64_t spilled;          /* bytes in host memory */
  uint64_t suspect;          /* not 0: a crash may have left bytes counted twice */
  uint64_t reaped_ns;        /* CLOCK_MONOTONIC ns of the last scan for dead processes */
  uint64_t peak_pad[4];
  struct vgpu_counters total;
  uint64_t busy[VGPU_BUSY_WORDS];
};

/* What a process holds, by kind. A thread writes the lane it locked in its own
 * process, so these are plain stores. */
struct vgpu_lane {
  uint64_t intent;           /* counted word: bytes under way, 0 bytes when at rest */
  int64_t memory[VGPU_MEMORY_KINDS]; /* bytes; below zero where another lane paid */
};

struct vgpu_slot_device {
  struct vgpu_lane lanes[VGPU_LANES];
  struct vgpu_counters counters;
  uint64_t wanted;           /* bytes an allocation waits for now */
  uint64_t in_flight_ns;     /* estimated GPU time launched and not yet measured */
  uint64_t spilled;
  uint64_t reserved[5];
};

struct vgpu_slot {
  uint32_t state;            /* enum vgpu_slot_state */
  int32_t pid;               /* in the namespace of the process */
  uint64_t start_time;       /* field 22 of /proc/PID/stat */
  uint64_t pid_namespace;    /* inode of /proc/PID/ns/pid */
  uint8_t name[16];          /* the command, cut */
  uint8_t reserved[24];
};

struct vgpu_usage {
  uint64_t magic;
  uint32_t version;
  uint32_t slots_used;       /* slots at and above this were never taken */
  uint64_t size;             /* of the whole file */
  uint64_t overflow;         /* processes that found the table full and shared the last slot */
  uint8_t reserved[96];
  struct vgpu_slot slots[VGPU_SLOTS_MAX + 1]; /* the last is shared by those without a slot */
  uint8_t padding[3904]; /* so that what follows starts on a page */
  struct vgpu_usage_device devices[VGPU_DEVICES_MAX];
  struct vgpu_slot_device accounts[(VGPU_SLOTS_MAX + 1) * VGPU_DEVICES_MAX]; /* slot-major */
};

/* ---- what the library exports beside the driver's names ---------------- */

/* All return 0 or a negative errno; -EPROTO: a page that is not one of ours. */
/* A page that is already there and sound is left as it is. Every device starts
 * with nothing: no memory, one per cent of compute. */
int vgpu_limits_create(const char *path, const char *slice_id, uint32_t device_count);
int vgpu_limits_open(const char *path, int writable, struct vgpu_limits **page);
int vgpu_limits_close(struct vgpu_limits *page);
/* Writes every field but seq and tells all readers. */
int vgpu_limits_write(struct vgpu_limits *page, uint32_t index, const struct vgpu_limits_device *line);
int vgpu_limits_read(const struct vgpu_limits *page, uint32_t index, struct vgpu_limits_device *line);
/* Waits until generation differs from seen; -ETIMEDOUT after timeout_ns. */
int vgpu_limits_wait(const struct vgpu_limits *page, uint32_t seen, uint64_t timeout_ns);

/* Leaves a usage page that is already there and sound as it is. */
int vgpu_usage_create(const char *path, uint32_t device_count);
int vgpu_usage_open(const char *path, struct vgpu_usage **page, int *fd);
int vgpu_usage_close(struct vgpu_usage *page, int fd);
/* Makes -EFAULT of a page that a tenant cuts short while this process reads it: in what
 * follows here, after this was called. It takes SIGBUS, so no guest may call it. */
int vgpu_guard(void);
/* Frees the slots of dead processes; returns how many, or a negative errno. The fd
 * is one of its own: a slot's lock does not stop whoever holds it. After -EFAULT close
 * the page: it may hold a slot's lock. */
int vgpu_usage_reap(struct vgpu_usage *page, int fd);
/* Takes away what crashes left counted twice on one device; -EAGAIN while busy. */
int vgpu_usage_reconcile(struct vgpu_usage *page, uint32_t device, uint64_t *repaired);
/* A slot's bytes by kind; returns their sum. */
int64_t vgpu_usage_memory(const struct vgpu_usage *page, uint32_t slot, uint32_t device, int64_t *by_kind);
uint64_t vgpu_usage_used(const struct vgpu_usage *page, uint32_t device);
/* Measured busy time of a GPU, which is devices[i] to pages[i], within [from, until) of
 * CLOCK_MONOTONIC, and what part of it was the slice's own if the GPU divides overlapping time evenly. It does not quite: where
 * NVML tells what each process used, that over covered_ns is the better busy_permille. */
int vgpu_busy_shares(struct vgpu_usage *const *pages, const uint32_t *devices, uint32_t count,
                     uint64_t from, uint64_t until, uint64_t *covered_ns, uint64_t *owned_ns);

uint64_t vgpu_clock_ns(void);
const char *vgpu_version(void);
/* </cffi> */
const char *vgpu_region_declarations(void);

#define VGPU_AT(type, field, offset) \
  _Static_assert(offsetof(struct type, field) == (offset), #type "." #field " moved")
#define VGPU_SIZE(type, size) _Static_assert(sizeof(struct type) == (size), #type " changed size")

VGPU_AT(vgpu_limits_device, uuid, 8);
VGPU_AT(vgpu_limits_device, memory_limit, 24);
VGPU_AT(vgpu_limits_device, compute_percent, 72);
VGPU_AT(vgpu_limits_device, busy_permille, 100);
VGPU_SIZE(vgpu_limits_device, 128);
VGPU_AT(vgpu_limits, generation, 16);
VGPU_AT(vgpu_limits, devices, 128);
VGPU_SIZE(vgpu_counters, 64);
VGPU_AT(vgpu_usage_device, schedule, 64);
VGPU_AT(vgpu_usage_device, total, 192);
VGPU_AT(vgpu_usage_device, busy, 256);
VGPU_SIZE(vgpu_lane, 64);
VGPU_AT(vgpu_slot_device, counters, 256);
VGPU_SIZE(vgpu_slot_device, 384);
VGPU_SIZE(vgpu_slot, 64);
VGPU_AT(vgpu_usage, slots, 128);
VGPU_AT(vgpu_usage, devices, 65 * 4096);
VGPU_AT(vgpu_usage, accounts, 194 * 4096);
VGPU_SIZE(vgpu_usage, 194 * 4096 + (VGPU_SLOTS_MAX + 1) * VGPU_DEVICES_MAX * 384);
#endif
