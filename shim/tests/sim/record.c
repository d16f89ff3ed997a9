/* See record.h. Called by every thunk while sim_watched is set; entries.S has the frame. */
#include "record.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sim.h"

enum { KEPT = 65536, FAULTS = 64, REGISTERS = 6 };

_Atomic uint8_t sim_watched; /* read by the thunks: anything to do per call? */
int record_call(uint32_t code, const uint64_t *frame, int64_t *answer);

struct fault {
  unsigned row, nth; /* nth 0: every call */
  int result;
  bool armed;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct sim_call *calls; /* ring of KEPT */
static unsigned call_count;
static bool recording;
static int trace_fd = -1;
static struct fault faults[FAULTS];
static unsigned fault_count;

static void watch(void) { atomic_store(&sim_watched, recording || trace_fd >= 0 || fault_count > 0); }

/* ---- recording -------------------------------------------------------------- */

static uint64_t argument(const uint64_t *frame, unsigned index) {
  return index < REGISTERS ? frame[index] : frame[index + 1]; /* skips the return address */
}

static void describe(uint32_t code, const uint64_t *frame, struct sim_call *call) {
  const struct entry *entry = &entries[code >> 8];
  call->symbol = entry->symbol;
  call->route = (int)(code & 0xff);
  call->argc = entry->argc < SIM_MAX_ARGS ? entry->argc : SIM_MAX_ARGS;
  for (unsigned i = 0; i < call->argc; i++) call->args[i] = argument(frame, i);
  call->stream = entry->stream > 0 ? argument(frame, entry->stream - 1U) : 0;
  call->thread = (uint64_t)syscall(SYS_gettid);
}

static void write_trace(const struct sim_call *call) {
  char line[512];
  int length = snprintf(line, sizeof line, "%d %s %c", (int)getpid(), call->symbol, call->route);
  for (unsigned i = 0; i < call->argc; i++)
    length += snprintf(line + length, sizeof line - (size_t)length, " %llx", (unsigned long long)call->args[i]);
  line[length++] = '\n';
  if (write(trace_fd, line, (size_t)length) < 0) trace_fd = -1;
}

static bool take_fault(unsigned row, int64_t *answer) {
  for (unsigned i = 0; i < fault_count; i++) {
    struct fault *fault = &faults[i];
    if (!fault->armed || fault->row != row) continue;
    if (fault->nth > 1) {
      fault->nth--;
      continue;
    }
    if (fault->nth == 1) fault->armed = false;
    *answer = fault->result;
    return true;
  }
  return false;
}

/* Returns 1 when *answer is to be returned in the body's place. */
int record_call(uint32_t code, const uint64_t *frame, int64_t *answer) {
  struct sim_call call = {0};
  describe(code, frame, &call);
  pthread_mutex_lock(&mutex);
  if (recording) calls[call_count++ % KEPT] = call;
  if (trace_fd >= 0) write_trace(&call);
  int answered = take_fault(code >> 8, answer);
  pthread_mutex_unlock(&mutex);
  return answered;
}

void sim_record(int on) {
  pthread_mutex_lock(&mutex);
  if (on && calls == NULL) calls = calloc(KEPT, sizeof *calls);
  if (on) call_count = 0;
  recording = on && calls != NULL;
  watch();
  pthread_mutex_unlock(&mutex);
}

unsigned sim_calls(void) { return call_count < KEPT ? call_count : KEPT; }

int sim_call(unsigned index, struct sim_call *out) {
  if (index >= sim_calls()) return -1;
  pthread_mutex_lock(&mutex);
  unsigned first = call_count < KEPT ? 0 : call_count - KEPT;
  *out = calls[(first + index) % KEPT];
  pthread_mutex_unlock(&mutex);
  return 0;
}

unsigned sim_count(const char *symbol) {
  unsigned count = 0;
  pthread_mutex_lock(&mutex);
  for (unsigned i = 0; i < sim_calls(); i++) count += strcmp(calls[i].symbol, symbol) == 0;
  pthread_mutex_unlock(&mutex);
  return count;
}

/* ---- faults -------------------------------------------------------------------- */

static int find_row(const char *symbol) {
  for (unsigned row = 0; row < entry_count; row++)
    if (strcmp(entries[row].symbol, symbol) == 0) return (int)row;
  return -1;
}

static struct fault *fault_of(unsigned row) {
  for (unsigned i = 0; i < fault_count; i++)
    if (faults[i].row == row) return &faults[i];
  return fault_count < FAULTS ? &faults[fault_count++] : NULL;
}

int sim_fail(const char *symbol, unsigned nth, int result) {
  int row = find_row(symbol);
  if (row < 0) return -1;
  pthread_mutex_lock(&mutex);
  struct fault *fault = fault_of((unsigned)row);
  if (fault != NULL) *fault = (struct fault){(unsigned)row, nth, result, result != 0};
  watch();
  pthread_mutex_unlock(&mutex);
  return fault == NULL ? -1 : 0;
}

static void arm_from_environment(const char *text) {
  char symbol[96];
  unsigned nth;
  int result, length;
  while (sscanf(text, "%95[^:]:%u:%d%n", symbol, &nth, &result, &length) == 3) {
    sim_fail(symbol, nth, result);
    text += length;
    if (*text != ',') return;
    text++;
  }
}

static void in_child(void) { pthread_mutex_init(&mutex, NULL); }

void record_open(void) {
  const char *trace = getenv("VGPU_SIM_TRACE"), *fail = getenv("VGPU_SIM_FAIL");
  pthread_atfork(NULL, NULL, in_child);
  if (trace != NULL && *trace != '\0') trace_fd = open(trace, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (fail != NULL) arm_from_environment(fail);
  watch();
}
