/* Processes are killed at every named point and at random moments while others
 * go on; after each round a fresh process finds the accounts exact again.
 *
 * KILLS says how many in all. Each round starts victims, lets two survivors
 * work beside them, kills the victims, stops the survivors, and compares.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "accounts.h"
#include "check.h"

enum { VICTIMS = 4, SURVIVORS = 2, BLOCKS = 8, LIMIT = 1 << 20, DEVICE = 3, ROUND = 40 };

extern const char *fail_at;
extern unsigned fail_countdown;

static char path[128];

/* What survivors say they hold, and whether they should pause. */
struct board {
  uint32_t pause, paused, stop;
  uint64_t operations;
  int64_t held[SURVIVORS];
};
static struct board *board;

static uint32_t dice(uint32_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 17;
  *state ^= *state << 5;
  return *state;
}

static struct account join(void) {
  struct account account;
  CHECK_EQUAL(vgpu_usage_open(path, &account.page, &account.fd), 0);
  CHECK_EQUAL(account_claim(&account), 0);
  return account;
}

/* The lock of one's own slot does not stop whoever shares its file descriptor. */
static int agent_fd(void) {
  static int fd = -1;
  struct vgpu_usage *page;
  if (fd < 0) {
    CHECK_EQUAL(vgpu_usage_open(path, &page, &fd), 0);
    munmap(page, sizeof *page);
  }
  return fd;
}

/* One random step; the bytes that the process holds more than before. */
static int64_t step(struct account *account, uint32_t *random, uint32_t *blocks) {
  uint32_t which = dice(random) % BLOCKS, kind = which % VGPU_MEMORY_KINDS;
  if (dice(random) % 64 == 0) vgpu_usage_reap(account->page, agent_fd());
  if (blocks[which]) {
    int64_t bytes = blocks[which];
    blocks[which] = 0;
    account_discharge(account, DEVICE, (enum vgpu_memory_kind)kind, (uint64_t)bytes);
    return -bytes;
  }
  uint32_t bytes = 1 + dice(random) % (LIMIT / 6);
  if (account_charge(account, DEVICE, (enum vgpu_memory_kind)kind, bytes, LIMIT)) return 0;
  blocks[which] = bytes;
  return bytes;
}

static void victim(uint32_t seed, const char *point) {
  uint32_t blocks[BLOCKS] = {0};
  fail_at = point;
  fail_countdown = 1 + seed % 7;
  struct account account = join();
  for (;;) step(&account, &seed, blocks);
}

static void survivor(int index, uint32_t seed) {
  uint32_t blocks[BLOCKS] = {0};
  struct account account = join();
  while (!__atomic_load_n(&board->stop, __ATOMIC_ACQUIRE)) {
    if (__atomic_load_n(&board->pause, __ATOMIC_ACQUIRE)) {
      __atomic_fetch_add(&board->paused, 1, __ATOMIC_ACQ_REL);
      while (__atomic_load_n(&board->pause, __ATOMIC_ACQUIRE)) usleep(100);
      __atomic_fetch_sub(&board->paused, 1, __ATOMIC_ACQ_REL);
    }
    __atomic_fetch_add(&board->held[index], step(&account, &seed, blocks), __ATOMIC_RELAXED);
    __atomic_fetch_add(&board->operations, 1, __ATOMIC_RELAXED);
    CHECK(vgpu_usage_used(account.page, DEVICE) <= LIMIT);
  }
  exit(0);
}

static void pause_survivors(int on) {
  __atomic_store_n(&board->pause, on, __ATOMIC_RELEASE);
  while (__atomic_load_n(&board->paused, __ATOMIC_ACQUIRE) != (on ? SURVIVORS : 0)) usleep(50);
}

/* A fresh process, as the next one in the container would be. */
static void examine(void) {
  int64_t truth = 0, lanes = 0;
  uint64_t started = vgpu_clock_ns(), repaired;
  struct account account = join();
  vgpu_usage_reap(account.page, agent_fd());
  CHECK_EQUAL(vgpu_usage_reconcile(account.page, DEVICE, &repaired), 0);
  for (int i = 0; i < SURVIVORS; i++) truth += board->held[i];
  for (uint32_t slot = 0; slot <= VGPU_SLOTS_MAX; slot++) lanes += vgpu_usage_memory(account.page, slot, DEVICE, NULL);
  CHECK_EQUAL(lanes, truth);
  CHECK_EQUAL(vgpu_usage_used(account.page, DEVICE), truth);
  CHECK_EQUAL(account.page->devices[DEVICE].suspect, 0);
  CHECK(vgpu_clock_ns() - started < 1000000000);
  exit(0);
}

static void run_to_end(pid_t child) {
  int status;
  CHECK_EQUAL(waitpid(child, &status, 0), child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void in_fresh_process(void (*run)(void)) {
  pid_t child = fork();
  if (!child) run();
  run_to_end(child);
}

static const char *const points[] = {
    NULL, "charge:intended", "charge:used", "charge:lane", "discharge:intended", "discharge:lane", "discharge:used",
    "claim:locked", "claim:filled", "reap:locked", "reap:state", "reap:intended", "reap:raised", "reap:cleared",
    "reap:lowered",
};
enum { POINTS = sizeof points / sizeof *points };

/* At a point, or after a random while where the point is not reached. */
static unsigned kill_some(unsigned number, uint32_t *random) {
  pid_t children[VICTIMS];
  for (int i = 0; i < VICTIMS; i++) {
    uint32_t seed = dice(random) | 1;
    const char *point = points[(number + (unsigned)i) % POINTS];
    children[i] = fork();
    if (!children[i]) victim(seed, point);
  }
  for (int i = 0; i < VICTIMS; i++) {
    usleep(dice(random) % 1500);
    kill(children[i], SIGKILL);
    CHECK_EQUAL(waitpid(children[i], NULL, 0), children[i]);
  }
  return VICTIMS;
}

static void set_up(void) {
  struct vgpu_usage *page;
  int fd;
  snprintf(path, sizeof path, "/dev/shm/vgpu-crash.%d", (int)getpid());
  CHECK_EQUAL(vgpu_usage_create(path, 1), 0);
  CHECK_EQUAL(vgpu_usage_open(path, &page, &fd), 0);
  vgpu_usage_close(page, fd);
  board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

static unsigned kills_wanted(void) {
  const char *given = getenv("KILLS");
  return given ? (unsigned)atoi(given) : 10000;
}

static void survive(void) {
  pid_t survivors[SURVIVORS];
  uint32_t random = 20251124;
  uint64_t before = 0;
  set_up();
  alarm(600);
  for (int i = 0; i < SURVIVORS; i++)
    if (!(survivors[i] = fork())) survivor(i, dice(&random) + (uint32_t)i + 1);
  unsigned kills = 0;
  for (unsigned round = 0; kills < kills_wanted(); round++) {
    for (unsigned in_round = 0; in_round < ROUND; in_round += VICTIMS) kills += kill_some(round + in_round, &random);
    CHECK(__atomic_load_n(&board->operations, __ATOMIC_RELAXED) > before); /* nobody waits for the dead */
    before = board->operations;
    pause_survivors(1);
    in_fresh_process(examine);
    pause_survivors(0);
  }
  __atomic_store_n(&board->stop, 1, __ATOMIC_RELEASE);
  for (int i = 0; i < SURVIVORS; i++) run_to_end(survivors[i]);
  memset(board->held, 0, sizeof board->held);
  in_fresh_process(examine);
  printf("     %u killed, %llu operations of survivors\n", kills, (unsigned long long)board->operations);
  unlink(path);
}

/* ---- more processes than slots ------------------------------------------------------ */

enum { CROWD = VGPU_SLOTS_MAX + 100 };

static void wait_in_the_crowd(void) {
  struct account account = join();
  CHECK_EQUAL(account_charge(&account, DEVICE, VGPU_MEMORY_LINEAR, 1, LIMIT), 0);
  __atomic_fetch_add(&board->operations, 1, __ATOMIC_RELAXED);
  for (;;) pause();
}

static void crowd(void) {
  static pid_t children[CROWD];
  uint64_t repaired;
  set_up();
  for (int i = 0; i < CROWD; i++)
    if (!(children[i] = fork())) wait_in_the_crowd();
  while (__atomic_load_n(&board->operations, __ATOMIC_RELAXED) < CROWD) usleep(1000);
  struct vgpu_usage *page;
  int fd;
  CHECK_EQUAL(vgpu_usage_open(path, &page, &fd), 0);
  CHECK_EQUAL(vgpu_usage_used(page, DEVICE), CROWD);
  CHECK_EQUAL(page->overflow, CROWD - VGPU_SLOTS_MAX);
  for (int i = 0; i < CROWD; i++) kill(children[i], SIGKILL);
  for (int i = 0; i < CROWD; i++) waitpid(children[i], NULL, 0);
  uint64_t started = vgpu_clock_ns();
  CHECK_EQUAL(vgpu_usage_reap(page, fd), VGPU_SLOTS_MAX + 1);
  CHECK_EQUAL(vgpu_usage_reconcile(page, DEVICE, &repaired), 0);
  CHECK(vgpu_clock_ns() - started < 1000000000);
  CHECK_EQUAL(vgpu_usage_used(page, DEVICE), 0);
  in_fresh_process(examine);
  unlink(path);
}

static const struct test tests[] = {
    {"more than 4096 processes share the table, and all that they held comes back", crowd},
    {"after any kill a fresh process finds the accounts exact within a second, and nobody waits", survive},
};

int main(void) { return RUN_TESTS(tests); }
