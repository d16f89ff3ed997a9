/* The two measures of fragmentation.py for one node, for speed alone: same rules, equal results.
 *
 * A test holds the two together. Futures are played in integers; the one sum of doubles adds in the order of
 * the shapes, so build with -ffp-contract=off. Nothing is allocated.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

enum { MOST_CARDS = 64, MOST_SHAPES = 1024 };

struct shape {
  int64_t memory, compute, cpu;
  int32_t gpus;
};

struct card {
  int64_t worth, memory, compute;
  int64_t kind;
};

struct kind {
  int64_t memory, compute; /* capacity; 0 where the card has no such dimension */
  double price;            /* of the model, per worth */
};

/* Nodes in rows of `stride` cards, of which `counts` are there. */
struct grid {
  const struct card *cards;
  const int64_t *counts, *cpus;
  int64_t stride;
};

struct policy {
  double stranded, unpacked, scarcity; /* the weights of the score */
};

/* What a card of some kind gives a shape is worths[kind * shape_count + shape], -1 where it is not accepted. */
static int fits(const struct card *card, const struct shape *asked, int64_t worth) {
  return card->memory >= asked->memory && card->compute >= asked->compute && worth >= 0;
}

static int64_t usable(const struct shape *asked, const int64_t *worths, int shape_count, int64_t cpu,
                      const struct card *cards, int count) {
  int64_t sum = 0;
  int found = 0;
  if (!asked->gpus || asked->cpu > cpu) return 0;
  for (int i = 0; i < count; i++)
    if (cards[i].worth > 0 && fits(&cards[i], asked, worths[cards[i].kind * shape_count])) {
      found++;
      sum += cards[i].worth;
    }
  return found >= asked->gpus ? sum : 0;
}

/* The sum over all shapes of weight times what the shape cannot use of the cards. */
double vgpu_stranded(const struct shape *shapes, const double *weights, int shape_count, const int64_t *worths,
                     int64_t cpu, const struct card *cards, int count) {
  int64_t free = 0;
  double stranded = 0;
  for (int i = 0; i < count; i++) free += cards[i].worth;
  for (int i = 0; i < shape_count; i++)
    stranded += weights[i] * (double)(free - usable(&shapes[i], worths + i, shape_count, cpu, cards, count));
  return stranded;
}

static int less(const struct card *one, const struct card *other) {
  if (one->worth != other->worth) return one->worth < other->worth;
  if (one->memory != other->memory) return one->memory < other->memory;
  if (one->compute != other->compute) return one->compute < other->compute;
  return one->kind < other->kind;
}

/* Takes the shape from the card at `at`; the cards stay sorted, one without worth goes. Returns their number. */
static int take(struct card *cards, int count, int at, const struct shape *asked, int64_t worth) {
  struct card left = cards[at];
  left.worth -= worth;
  left.memory -= asked->memory;
  left.compute -= asked->compute;
  memmove(cards + at, cards + at + 1, (size_t)(count - at - 1) * sizeof *cards);
  if (left.worth <= 0) return count - 1;
  int place = count - 1;
  for (; place > 0 && less(&left, &cards[place - 1]); place--) cards[place] = cards[place - 1];
  cards[place] = left;
  return count;
}

/* Positions of the first `asked->gpus` cards that fit, in `at`; returns how many were found. */
static int find(const struct card *cards, int count, const struct shape *asked, const int64_t *worths,
                int shapes, int *at) {
  int found = 0;
  for (int i = 0; i < count && found < asked->gpus; i++)
    if (fits(&cards[i], asked, worths[cards[i].kind * shapes])) at[found++] = i;
  return found;
}

static int64_t play(const struct shape *shapes, int shape_count, const int64_t *worths, const int32_t *future,
                    int length, int64_t cpu, struct card *cards, int count) {
  uint8_t full[MOST_SHAPES] = {0};
  int at[MOST_CARDS];
  for (int step = 0; step < length && count > 0; step++) {
    const int32_t name = future[step];
    const struct shape *asked = &shapes[name];
    if (full[name]) continue;
    const int found = find(cards, count, asked, worths + name, shape_count, at);
    if (asked->cpu > cpu || found < asked->gpus) {
      full[name] = 1;
      continue;
    }
    cpu -= asked->cpu;
    for (int i = found; i-- > 0;)
      count = take(cards, count, at[i], asked, worths[cards[at[i]].kind * shape_count + name]);
  }
  int64_t left = 0;
  for (int i = 0; i < count; i++) left += cards[i].worth;
  return left;
}

/* The sum over all futures of what stays free; -1 where there are more
 * shapes or cards than there is room for. */
int64_t vgpu_unpacked(const struct shape *shapes, int shape_count, const int64_t *worths,
                          const int32_t *futures, int sequences, int length, int64_t cpu,
                          const struct card *cards, int count) {
  if (shape_count > MOST_SHAPES || count > MOST_CARDS) return -1;
  struct card free[MOST_CARDS];
  int64_t left = 0;
  for (int i = 0; i < sequences; i++) {
    memcpy(free, cards, (size_t)count * sizeof *cards);
    left += play(shapes, shape_count, worths, futures + (long)i * length, length, cpu, free, count);
  }
  return left;
}

static int64_t worth_of(const struct card *card, const struct kind *kind) {
  enum { WHOLE = 1000000 };
  int64_t sum = 0;
  int dimensions = 0;
  if (kind->memory > 0) sum += WHOLE * card->memory / kind->memory, dimensions++;
  if (kind->compute > 0) sum += WHOLE * card->compute / kind->compute, dimensions++;
  return dimensions ? sum / dimensions : 0;
}

/* Sorts positions of cards by worth, the first first on ties. */
static void by_worth(int *at, int count, const struct card *cards) {
  for (int i = 1; i < count; i++) {
    const int moved = at[i];
    int place = i;
    for (; place > 0 && cards[moved].worth < cards[at[place - 1]].worth; place--) at[place] = at[place - 1];
    at[place] = moved;
  }
}

static int seen(const struct card *cards, const int *at, int until) {
  for (int i = 0; i < until; i++) {
    const struct card *one = &cards[at[i]], *other = &cards[at[until]];
    if (one->memory == other->memory && one->compute == other->compute && one->kind == other->kind) return 1;
  }
  return 0;
}

/* For each of the nodes `slots` a score that no choice on it is below, infinite where the request, which is
 * `asked` and takes `taken[kind]` of a card, does not fit. Returns -1 for what is too large. */
int vgpu_bounds(const struct policy *policy, const struct shape *shapes, const double *weights, int shape_count,
                const int64_t *worths, const struct kind *kinds, const struct grid *grid, const struct shape *asked,
                const int64_t *taken, const int64_t *slots, int64_t slot_count, double *bounds) {
  if (grid->stride > MOST_CARDS || shape_count > MOST_SHAPES) return -1;
  for (int64_t n = 0; n < slot_count; n++) {
    const struct card *cards = grid->cards + slots[n] * grid->stride;
    const int count = (int)grid->counts[slots[n]];
    const int64_t cpu = grid->cpus[slots[n]];
    int at[MOST_CARDS], found = 0;
    for (int i = 0; i < count; i++)
      if (fits(&cards[i], asked, taken[cards[i].kind])) at[found++] = i;
    bounds[n] = INFINITY;
    if (found < asked->gpus || asked->cpu > cpu) continue;
    const double before = vgpu_stranded(shapes, weights, shape_count, worths, cpu, cards, count);
    by_worth(at, found, cards);
    const int moves = asked->gpus == 1 ? found : 1;
    for (int move = 0; move < moves; move++) {
      if (moves > 1 && seen(cards, at, move)) continue;
      struct card after[MOST_CARDS];
      int64_t sum = 0;
      double charge = 0;
      memcpy(after, cards, (size_t)count * sizeof *cards);
      for (int i = move; i < move + asked->gpus; i++) {
        struct card *card = &after[at[i]];
        card->memory -= asked->memory;
        card->compute -= asked->compute;
        card->worth = worth_of(card, &kinds[card->kind]);
        sum += taken[card->kind];
        charge += kinds[card->kind].price * (double)taken[card->kind];
      }
      const double left = vgpu_stranded(shapes, weights, shape_count, worths, cpu - asked->cpu, after, count);
      const double rest = policy->stranded * (left - before) + policy->unpacked * -(double)sum;
      const double bound = rest + policy->scarcity * charge;
      if (bound < bounds[n]) bounds[n] = bound;
    }
  }
  return 0;
}
