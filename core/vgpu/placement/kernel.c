/* The two measures of fragmentation.py for one node, and what LeastFragmentation makes of them for many: same
 * rules, equal results, for speed alone.
 *
 * Tests hold the two together. Futures are played in integers; the one sum of doubles adds in the order of
 * the shapes, so build with -ffp-contract=off. Nothing is allocated.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

/* A second body for processors with AVX2, chosen when the library is loaded; the results are the same. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define VECTORS __attribute__((target_clones("avx2", "default"), optimize("O3")))
#else
#define VECTORS
#endif

enum { MOST_CARDS = 64, MOST_SHAPES = 1024, WHOLE = 1000000 };

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
  const struct kind *kinds;
  int64_t stride;
};

/* What is expected, and the weights of the score. */
struct outlook {
  const struct shape *shapes;
  const double *weights;
  const int64_t *worths;
  const int32_t *futures;
  int32_t shape_count, sequences, length;
  double stranded, unpacked, scarcity;
};

/* A request that takes `taken[kind]` of a card, -1 where it does not accept it. */
struct ask {
  struct shape shape;
  const int64_t *taken;
};

/* Counts the changes of what is called here and how; kernel.py calls no library of another number. */
int vgpu_kernel_version(void) { return 2; }

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
  int64_t sum = 0;
  int dimensions = 0;
  if (kind->memory > 0) sum += WHOLE * card->memory / kind->memory, dimensions++;
  if (kind->compute > 0) sum += WHOLE * card->compute / kind->compute, dimensions++;
  return dimensions ? sum / dimensions : 0;
}

/* The shapes column by column: the loops over them are the hot ones, and compilers turn these into vectors. */
struct columns {
  int64_t memory[MOST_SHAPES], compute[MOST_SHAPES];
};

/* One node of a grid while a request is tried on it. */
struct trial {
  const struct outlook *outlook;
  const struct columns *columns;
  const struct kind *kinds;
  const struct ask *ask;
  const struct card *cards;
  int64_t cpu, free;
  int count, found;
  int at[MOST_CARDS]; /* the cards that fit, the tightest first, the first first on ties */
  int64_t usable[MOST_SHAPES], fitting[MOST_SHAPES]; /* per shape: worth and number of the cards that fit it */
  double stranded;
};

/* Cards taken together, and what that does. */
struct move {
  int from; /* of `at` */
  int64_t taken;
  double charge, rest, bound;
};

static void by_worth(int *at, int count, const struct card *cards) {
  for (int i = 1; i < count; i++) {
    const int moved = at[i];
    int place = i;
    for (; place > 0 && cards[moved].worth < cards[at[place - 1]].worth; place--) at[place] = at[place - 1];
    at[place] = moved;
  }
}

static int seen(const struct trial *on, int until) {
  for (int i = 0; i < until; i++) {
    const struct card *one = &on->cards[on->at[i]], *other = &on->cards[on->at[until]];
    if (one->memory == other->memory && one->compute == other->compute && one->kind == other->kind) return 1;
  }
  return 0;
}

static struct card taken_from(const struct trial *on, const struct card *card) {
  struct card left = *card;
  left.memory -= on->ask->shape.memory;
  left.compute -= on->ask->shape.compute;
  left.worth = worth_of(&left, &on->kinds[left.kind]);
  return left;
}

static void lay_out(struct columns *columns, const struct outlook *outlook) {
  for (int s = 0; s < outlook->shape_count; s++) {
    columns->memory[s] = outlook->shapes[s].memory;
    columns->compute[s] = outlook->shapes[s].compute;
  }
}

/* Lays out the node `slot`; 0 where the request does not fit it. */
static int try(struct trial *on, const struct grid *grid, int64_t slot) {
  const struct ask *ask = on->ask;
  on->kinds = grid->kinds;
  on->cards = grid->cards + slot * grid->stride;
  on->cpu = grid->cpus[slot];
  on->count = (int)grid->counts[slot];
  on->found = 0;
  for (int i = 0; i < on->count; i++)
    if (fits(&on->cards[i], &ask->shape, ask->taken[on->cards[i].kind])) on->at[on->found++] = i;
  if (on->found < ask->shape.gpus || ask->shape.cpu > on->cpu) return 0;
  by_worth(on->at, on->found, on->cards);
  return 1;
}

/* Adds a card to what each shape can use, or with `sign` -1 takes it away. */
VECTORS static void add(const struct trial *on, const struct card *card, int64_t sign, int64_t *usable,
                        int64_t *fitting) {
  const struct outlook *outlook = on->outlook;
  const int shapes = outlook->shape_count;
  const int64_t *worths = outlook->worths + card->kind * shapes;
  const int64_t *memory = on->columns->memory, *compute = on->columns->compute;
  const int64_t has = card->memory, does = card->compute, worth = sign * card->worth;
  if (card->worth <= 0) return;
  for (int s = 0; s < shapes; s++) {
    const int64_t fit = -(int64_t)((has >= memory[s]) & (does >= compute[s]) & (worths[s] >= 0));
    usable[s] += fit & worth;
    fitting[s] += fit & sign;
  }
}

/* The weighted sum over the shapes, in their order. */
static double weighted(const struct outlook *outlook, int64_t cpu, int64_t free, const int64_t *usable,
                       const int64_t *fitting) {
  double stranded = 0;
  for (int s = 0; s < outlook->shape_count; s++) {
    const struct shape *shape = &outlook->shapes[s];
    const int can = (shape->gpus != 0) & (shape->cpu <= cpu) & (fitting[s] >= shape->gpus);
    stranded += outlook->weights[s] * (double)(free - (-(int64_t)can & usable[s]));
  }
  return stranded;
}

/* What each shape can use of the node as it is, and what is stranded there. */
static void weigh(struct trial *on) {
  const size_t size = (size_t)on->outlook->shape_count * sizeof *on->usable;
  memset(on->usable, 0, size);
  memset(on->fitting, 0, size);
  on->free = 0;
  for (int i = 0; i < on->count; i++) {
    on->free += on->cards[i].worth;
    add(on, &on->cards[i], 1, on->usable, on->fitting);
  }
  on->stranded = weighted(on->outlook, on->cpu, on->free, on->usable, on->fitting);
}

/* What is stranded once the cards of the move are taken: only those differ from what `weigh` found. */
static double stranded_after(const struct trial *on, const struct move *move) {
  const size_t size = (size_t)on->outlook->shape_count * sizeof *on->usable;
  int64_t usable[MOST_SHAPES], fitting[MOST_SHAPES], free = on->free;
  memcpy(usable, on->usable, size);
  memcpy(fitting, on->fitting, size);
  for (int i = move->from; i < move->from + on->ask->shape.gpus; i++) {
    const struct card *card = &on->cards[on->at[i]], left = taken_from(on, card);
    free += left.worth - card->worth;
    add(on, card, -1, usable, fitting);
    add(on, &left, 1, usable, fitting);
  }
  return weighted(on->outlook, on->cpu - on->ask->shape.cpu, free, usable, fitting);
}

/* The different moves on the node, each with its bound; returns their number. */
static int moves_on(struct trial *on, struct move *moves) {
  const struct outlook *outlook = on->outlook;
  const int gpus = on->ask->shape.gpus, starts = gpus == 1 ? on->found : 1;
  int count = 0;
  weigh(on);
  for (int from = 0; from < starts; from++) {
    if (starts > 1 && seen(on, from)) continue;
    struct move *move = &moves[count++];
    *move = (struct move){.from = from};
    for (int i = from; i < from + gpus; i++) {
      const struct card *card = &on->cards[on->at[i]];
      const int64_t worth = on->ask->taken[card->kind];
      move->taken += worth;
      move->charge += on->kinds[card->kind].price * (double)worth;
    }
    move->rest = outlook->stranded * (stranded_after(on, move) - on->stranded);
    move->bound = move->rest + outlook->unpacked * -(double)move->taken + outlook->scarcity * move->charge;
  }
  return count;
}

static int too_large(const struct outlook *outlook, const struct grid *grid) {
  return grid->stride > MOST_CARDS || outlook->shape_count > MOST_SHAPES;
}

/* For each of the nodes `slots` a score that no choice on it is below, infinite where the request does not fit.
 * Returns -1 for what is too large. */
int vgpu_bounds(const struct outlook *outlook, const struct grid *grid, const struct ask *ask,
                const int64_t *slots, int64_t slot_count, double *bounds) {
  struct columns columns;
  struct trial on = {.outlook = outlook, .columns = &columns, .ask = ask};
  struct move moves[MOST_CARDS];
  if (too_large(outlook, grid)) return -1;
  lay_out(&columns, outlook);
  for (int64_t n = 0; n < slot_count; n++) {
    bounds[n] = INFINITY;
    if (!try(&on, grid, slots[n])) continue;
    const int count = moves_on(&on, moves);
    for (int i = 0; i < count; i++)
      if (moves[i].bound < bounds[n]) bounds[n] = moves[i].bound;
  }
  return 0;
}

/* Plays all futures on the cards that have worth. */
static int64_t left_over(const struct outlook *outlook, int64_t cpu, const struct card *cards, int count) {
  struct card sorted[MOST_CARDS];
  int kept = 0;
  for (int i = 0; i < count; i++) {
    if (cards[i].worth <= 0) continue;
    int place = kept++;
    for (; place > 0 && less(&cards[i], &sorted[place - 1]); place--) sorted[place] = sorted[place - 1];
    sorted[place] = cards[i];
  }
  return vgpu_unpacked(outlook->shapes, outlook->shape_count, outlook->worths, outlook->futures,
                       outlook->sequences, outlook->length, cpu, sorted, kept);
}

static int64_t left_over_after(const struct trial *on, const struct move *move) {
  struct card after[MOST_CARDS];
  memcpy(after, on->cards, (size_t)on->count * sizeof *after);
  for (int i = move->from; i < move->from + on->ask->shape.gpus; i++)
    after[on->at[i]] = taken_from(on, &on->cards[on->at[i]]);
  return left_over(on->outlook, on->cpu - on->ask->shape.cpu, after, on->count);
}

static double score_of(const struct trial *on, const struct move *move, int64_t before) {
  const struct outlook *outlook = on->outlook;
  const double sequences = outlook->sequences;
  const double change = (double)left_over_after(on, move) / sequences - (double)before / sequences;
  const double leftover = change > -(double)move->taken ? change : -(double)move->taken;
  return move->rest + outlook->unpacked * leftover + outlook->scarcity * move->charge;
}

/* The best choice on one node that the request fits: its score, and the positions of its cards in `chosen`.
 * `before` is what is left over of the node as it is, worked out where it is below 0. Returns -1 for what is
 * too large or does not fit. */
int vgpu_choose(const struct outlook *outlook, const struct grid *grid, const struct ask *ask, int64_t slot,
                int64_t *before, double *score, int32_t *chosen) {
  struct columns columns;
  struct trial on = {.outlook = outlook, .columns = &columns, .ask = ask};
  struct move moves[MOST_CARDS];
  if (too_large(outlook, grid) || !try(&on, grid, slot)) return -1;
  lay_out(&columns, outlook);
  if (*before < 0) *before = left_over(outlook, on.cpu, on.cards, on.count);
  const int count = moves_on(&on, moves);
  int best = -1;
  for (int tried = 0; tried < count; tried++) {
    int next = -1; /* the lowest bound of those not tried, the first on ties */
    for (int i = 0; i < count; i++)
      if (moves[i].from >= 0 && (next < 0 || moves[i].bound < moves[next].bound)) next = i;
    if (best >= 0 && moves[next].bound > *score) break;
    const double found = score_of(&on, &moves[next], *before);
    if (best < 0 || found < *score || (found <= *score && next < best)) {
      best = next;
      *score = found;
      for (int i = 0; i < ask->shape.gpus; i++) chosen[i] = on.at[moves[next].from + i];
    }
    moves[next].from = -1;
  }
  return 0;
}
