/* The one handler of SIGBUS, and which frame a thread lands in. */
#define _GNU_SOURCE
#include "guard.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "pages.h"

static __thread struct guard *armed;
static struct sigaction before;
static uint32_t installed;

struct __jmp_buf_tag *guard_arm(struct guard *guard) {
  guard->outer = armed;
  armed = guard;
  return guard->landing;
}

void guard_disarm(const struct guard *guard) { armed = guard->outer; }

/* Somebody else's fault: as if we had never been here. */
static void hand_on(int number, siginfo_t *info, void *context) {
  if (before.sa_flags & SA_SIGINFO)
    before.sa_sigaction(number, info, context);
  else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN)
    before.sa_handler(number);
  else
    sigaction(number, &before, NULL); /* the instruction runs again and meets it */
}

static void landed(int number, siginfo_t *info, void *context) {
  struct guard *guard = armed;
  if (!guard) {
    hand_on(number, info, context);
    return;
  }
  armed = guard->outer;
  siglongjmp(guard->landing, 1);
}

VGPU_API int vgpu_guard(void) {
  struct sigaction action = {.sa_sigaction = landed, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};
  if (__atomic_exchange_n(&installed, 1, __ATOMIC_ACQ_REL)) return 0;
  sigemptyset(&action.sa_mask);
  return sigaction(SIGBUS, &action, &before) ? -errno : 0;
}
