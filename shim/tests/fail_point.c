/* Dies at a named place: VGPU_FAIL_AT=name, or name:N for the Nth time it is passed. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "accounts.h"

const char *fail_at;    /* NULL: nowhere */
unsigned fail_countdown; /* 1: the next time */

void fail_point(const char *name) {
  if (!fail_at || strcmp(name, fail_at)) return;
  if (__atomic_sub_fetch(&fail_countdown, 1, __ATOMIC_RELAXED) == 0) kill(getpid(), SIGKILL);
}
