/* The two measures of fragmentation.py for one node, for speed alone: same rules, equal results.
 *
 * A test holds the two together. Futures are played in integers; the one sum of doubles adds in the order of
 * the shapes, so build with -ffp-contract=off. Nothing is allocated.
 */
#include <stdint.h>
#include <string.h>

enum { MOST_CARDS = 64, MOST_SHAPES = 1024 };

struct shape {
  int64_t memory, compute, cpu;
  int32_t gpus;
};

struct card {
  int64_t worth, memory, compute;
  int32_t kind;
};

/* What a card of some kind gives a shape is worths[kind * shape_count + shape], -1 where it is not accepted. */
static int fits(const struct card *card, const struct shape *asked, int64_t worth) {
  return card->memory >= asked->memory && card->compute >= asked->compute && worth >= 0;
}

/* The sum over all shapes of weight times what the shape cannot use of the cards. */
double vgpu_stranded(const struct shape *shapes, const double *weights, int shape_count, const int64_t *worths,
                     int64_t cpu, const struct card *cards, int count) {
  int64_t free = 0;
  for (int i = 0; i < count; i++) free += cards[i].worth;
  double stranded = 0;
  for (int name = 0; name < shape_count; name++) {
    const struct shape *asked = &shapes[name];
    int64_t usable = 0;
    int found = 0;
    for (int i = 0; i < count && asked->gpus && asked->cpu <= cpu; i++)
      if (fits(&cards[i], asked, worths[cards[i].kind * shape_count + name])) {
        found++;
        usable += cards[i].worth;
      }
    stranded += weights[name] * (double)(free - (found >= asked->gpus ? usable : 0));
  }
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
