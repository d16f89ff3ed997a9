/* Unions of intervals: exact within a process, in quanta of 4 us between processes. */
#include "busy.h"

#include <errno.h>
#include <string.h>

#include "guard.h"
#include "pages.h"

/* ---- within a process ----------------------------------------------------- */

static void remove_spans(struct covered *covered, uint32_t at, uint32_t count) {
  memmove(&covered->spans[at], &covered->spans[at + count],
          (covered->count - at - count) * sizeof covered->spans[0]);
  covered->count -= count;
}

static void insert_span(struct covered *covered, uint32_t at, uint64_t from, uint64_t until) {
  if (covered->count == COVERED) { /* the oldest is forgotten */
    if (at == 0) return;
    remove_spans(covered, 0, 1);
    at--;
  }
  memmove(&covered->spans[at + 1], &covered->spans[at], (covered->count - at) * sizeof covered->spans[0]);
  covered->spans[at].from = from;
  covered->spans[at].until = until;
  covered->count++;
}

uint64_t covered_add(struct covered *covered, uint64_t from, uint64_t until) {
  uint64_t fresh = until > from ? until - from : 0;
  if (!fresh) return 0;
  uint32_t first = 0;
  while (first < covered->count && covered->spans[first].until < from) first++;
  uint32_t last = first;
  for (; last < covered->count && covered->spans[last].from <= until; last++) {
    uint64_t left = covered->spans[last].from > from ? covered->spans[last].from : from;
    uint64_t right = covered->spans[last].until < until ? covered->spans[last].until : until;
    fresh -= right > left ? right - left : 0;
  }
  if (last > first) { /* `fresh` was measured against what they covered: now one span */
    if (covered->spans[first].from < from) from = covered->spans[first].from;
    if (covered->spans[last - 1].until > until) until = covered->spans[last - 1].until;
    remove_spans(covered, first, last - first);
  }
  insert_span(covered, first, from, until);
  return fresh;
}

/* ---- between processes ---------------------------------------------------- */

#define TURN_SHIFT VGPU_BUSY_BITS
#define BITS_MASK ((1ull << VGPU_BUSY_BITS) - 1)
enum { TURNS_AHEAD = 64 }; /* 51 s: no work is measured later than that */

static uint64_t turn_of(uint64_t word_number) { return word_number / VGPU_BUSY_WORDS & 0xffff; }

/* Whether a word is of a later turn, so that what it was before is forgotten. A turn is 0.8 s and
 * their numbers come round after 15 hours: one that seems far ahead is from long ago, or never written. */
static int is_later(uint64_t word, uint64_t turn) {
  uint64_t ahead = ((word >> TURN_SHIFT) - turn) & 0xffff;
  return ahead && ahead < TURNS_AHEAD && (word & BITS_MASK);
}

/* Sets bits in one word of the ring; returns those that were clear. */
static uint64_t mark_word(uint64_t *ring, uint64_t number, uint64_t bits) {
  uint64_t *word = &ring[number % VGPU_BUSY_WORDS];
  uint64_t seen = __atomic_load_n(word, __ATOMIC_RELAXED), wanted, fresh;
  do {
    if (is_later(seen, turn_of(number))) return bits; /* nobody can tell any more */
    uint64_t old = seen >> TURN_SHIFT == turn_of(number) ? seen & BITS_MASK : 0;
    fresh = bits & ~old;
    wanted = turn_of(number) << TURN_SHIFT | old | bits;
  } while (!__atomic_compare_exchange_n(word, &seen, wanted, 1, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
  return fresh;
}

static uint64_t bits_between(uint64_t low, uint64_t high) { /* [low, high) within a word */
  return ((high == 64 ? 0 : 1ull << high) - 1) & ~((1ull << low) - 1) & BITS_MASK;
}

uint64_t busy_mark(uint64_t *ring, uint64_t from, uint64_t until) {
  uint64_t first = (from + VGPU_BUSY_QUANTUM_NS / 2) / VGPU_BUSY_QUANTUM_NS;
  uint64_t end = (until + VGPU_BUSY_QUANTUM_NS / 2) / VGPU_BUSY_QUANTUM_NS;
  uint64_t fresh = 0, most = (uint64_t)VGPU_BUSY_WORDS * VGPU_BUSY_BITS;
  if (end <= first) return until - from; /* too short to be drawn */
  uint64_t quanta = end - first;
  if (quanta > most) first = end - most;
  for (uint64_t at = first; at < end;) {
    uint64_t number = at / VGPU_BUSY_BITS, low = at % VGPU_BUSY_BITS;
    uint64_t high = number == end / VGPU_BUSY_BITS ? end % VGPU_BUSY_BITS : VGPU_BUSY_BITS;
    fresh += (uint64_t)__builtin_popcountll(mark_word(ring, number, bits_between(low, high)));
    at += high - low;
  }
  fresh += quanta > most ? quanta - most : 0;
  return (uint64_t)((double)(until - from) * (double)fresh / (double)quanta);
}

/* ---- between slices -------------------------------------------------------- */

static uint64_t word_bits(const uint64_t *ring, uint64_t number) {
  uint64_t word = __atomic_load_n(&ring[number % VGPU_BUSY_WORDS], __ATOMIC_RELAXED);
  return word >> TURN_SHIFT == turn_of(number) ? word & BITS_MASK : 0;
}

enum { SLICES_MAX = 256 };

/* One word of every slice's ring: a quantum that n slices were busy in counts 1/n for each. */
static void share_word(struct vgpu_usage *const *pages, const uint32_t *devices, uint32_t count,
                       uint64_t number, uint64_t *covered_ns, double *owned_ns) {
  uint64_t words[SLICES_MAX];
  uint32_t busy[VGPU_BUSY_BITS] = {0};
  for (uint32_t i = 0; i < count; i++) {
    words[i] = word_bits(pages[i]->devices[devices[i]].busy, number);
    for (uint64_t bits = words[i]; bits; bits &= bits - 1) busy[__builtin_ctzll(bits)]++;
  }
  for (uint32_t i = 0; i < count; i++)
    for (uint64_t bits = words[i]; bits; bits &= bits - 1) {
      covered_ns[i] += VGPU_BUSY_QUANTUM_NS;
      owned_ns[i] += (double)VGPU_BUSY_QUANTUM_NS / busy[__builtin_ctzll(bits)];
    }
}

static int devices_exist(const uint32_t *devices, uint32_t count) {
  for (uint32_t i = 0; i < count; i++)
    if (devices[i] >= VGPU_DEVICES_MAX) return 0;
  return 1;
}

static void share_words(struct vgpu_usage *const *pages, const uint32_t *devices, uint32_t count,
                        uint64_t from, uint64_t until, uint64_t *covered_ns, uint64_t *owned_ns) {
  const uint64_t word_ns = (uint64_t)VGPU_BUSY_QUANTUM_NS * VGPU_BUSY_BITS;
  double owned[SLICES_MAX] = {0};
  uint64_t first = from / word_ns, end = until / word_ns;
  if (end - first > VGPU_BUSY_WORDS) first = end - VGPU_BUSY_WORDS;
  memset(covered_ns, 0, count * sizeof *covered_ns);
  for (uint64_t number = first; number < end; number++)
    share_word(pages, devices, count, number, covered_ns, owned);
  for (uint32_t i = 0; i < count; i++) owned_ns[i] = (uint64_t)owned[i];
}

VGPU_API int vgpu_busy_shares(struct vgpu_usage *const *pages, const uint32_t *devices, uint32_t count,
                              uint64_t from, uint64_t until, uint64_t *covered_ns, uint64_t *owned_ns) {
  struct guard guard;
  if (count > SLICES_MAX || until < from || !devices_exist(devices, count)) return -EINVAL;
  if (sigsetjmp(guard_arm(&guard), 0)) return -EFAULT;
  share_words(pages, devices, count, from, until, covered_ns, owned_ns);
  guard_disarm(&guard);
  return 0;
}
