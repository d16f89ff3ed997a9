/* A hash table in 64 parts, each with a lock of its own, open addressing, and
 * deletion that moves later entries back, so that it never fills up with
 * graves. Entries are 16 bytes: key, and everything else packed in one word.
 *
 * Tables are mapped, not malloc'ed: an allocator that the application replaced
 * must not be called from inside a driver call.
 */
#define _GNU_SOURCE
#include "pointers.h"

#include <stddef.h>
#include <sys/mman.h>

#include "spin.h"

enum { PARTS = 64, FIRST_CAPACITY = 256, NONE = -1 };

struct entry {
  uint64_t key; /* 0: empty; the driver hands out no address and no handle 0 */
  uint64_t value;
};

struct part {
  struct spin lock;
  uint32_t count;
  size_t capacity; /* a power of two */
  struct entry *entries;
} __attribute__((aligned(64)));

static struct part parts[PARTS];

static uint64_t mix(uint64_t key) {
  key *= 0x9e3779b97f4a7c15u;
  return key ^ key >> 29;
}

static struct part *part_of(uint64_t hash) { return &parts[hash >> 58]; }

static uint64_t pack(struct pointer pointer) {
  return pointer.bytes | (uint64_t)pointer.kind << 44 | (uint64_t)pointer.device << 47 |
         (uint64_t)pointer.context << 52;
}

static struct pointer unpack(uint64_t value) {
  return (struct pointer){.bytes = value & ((1ull << 44) - 1),
                          .kind = value >> 44 & 7,
                          .device = value >> 47 & 31,
                          .context = (uint32_t)(value >> 52)};
}

static size_t home(const struct part *part, uint64_t key) { return mix(key) & (part->capacity - 1); }

static void place(struct part *part, struct entry entry) {
  size_t i = home(part, entry.key);
  while (part->entries[i].key && part->entries[i].key != entry.key) i = (i + 1) & (part->capacity - 1);
  part->count += !part->entries[i].key;
  part->entries[i] = entry;
}

static int grow(struct part *part) {
  struct part bigger = {.capacity = part->capacity ? part->capacity * 2 : FIRST_CAPACITY};
  bigger.entries = mmap(NULL, bigger.capacity * sizeof(struct entry), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (bigger.entries == MAP_FAILED) return -1;
  for (size_t i = 0; i < part->capacity; i++)
    if (part->entries[i].key) place(&bigger, part->entries[i]);
  if (part->entries) munmap(part->entries, part->capacity * sizeof(struct entry));
  part->entries = bigger.entries;
  part->capacity = bigger.capacity;
  return 0;
}

static ptrdiff_t locate(const struct part *part, uint64_t key) {
  if (!part->capacity) return NONE;
  size_t i = home(part, key);
  while (part->entries[i].key && part->entries[i].key != key) i = (i + 1) & (part->capacity - 1);
  return part->entries[i].key ? (ptrdiff_t)i : NONE;
}

/* Closes the gap at i: an entry may move back as long as it stays at or after its home. */
static void erase(struct part *part, size_t i) {
  size_t mask = part->capacity - 1;
  for (size_t j = (i + 1) & mask; part->entries[j].key; j = (j + 1) & mask)
    if (((j - home(part, part->entries[j].key)) & mask) >= ((j - i) & mask)) {
      part->entries[i] = part->entries[j];
      i = j;
    }
  part->entries[i].key = 0;
  part->count--;
}

int pointers_add(uint64_t key, struct pointer pointer) {
  struct part *part = part_of(mix(key));
  spin_lock(&part->lock);
  int error = part->count >= part->capacity / 2 ? grow(part) : 0;
  if (part->count + 1 < part->capacity) { /* also without growth, while one place stays empty */
    place(part, (struct entry){.key = key, .value = pack(pointer)});
    error = 0;
  }
  spin_unlock(&part->lock);
  return error;
}

int pointers_take(uint64_t key, struct pointer *pointer) {
  struct part *part = part_of(mix(key));
  spin_lock(&part->lock);
  ptrdiff_t at = locate(part, key);
  if (at != NONE) {
    *pointer = unpack(part->entries[at].value);
    erase(part, (size_t)at);
  }
  spin_unlock(&part->lock);
  return at != NONE;
}

int pointers_find(uint64_t key, struct pointer *pointer) {
  struct part *part = part_of(mix(key));
  spin_lock(&part->lock);
  ptrdiff_t at = locate(part, key);
  if (at != NONE) *pointer = unpack(part->entries[at].value);
  spin_unlock(&part->lock);
  return at != NONE;
}

/* erase() may bring a later entry to i, so i is looked at again. */
static void take_context(struct part *part, uint32_t context, void (*each)(struct pointer)) {
  for (size_t i = 0; i < part->capacity; i++)
    while (part->entries[i].key && unpack(part->entries[i].value).context == context) {
      each(unpack(part->entries[i].value));
      erase(part, i);
    }
}

void pointers_take_context(uint32_t context, void (*each)(struct pointer)) {
  for (int i = 0; i < PARTS; i++) {
    spin_lock(&parts[i].lock);
    take_context(&parts[i], context, each);
    spin_unlock(&parts[i].lock);
  }
}

void pointers_after_fork(void) {
  for (int i = 0; i < PARTS; i++) {
    if (parts[i].entries) munmap(parts[i].entries, parts[i].capacity * sizeof(struct entry));
    parts[i] = (struct part){.capacity = 0};
  }
}
