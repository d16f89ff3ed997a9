#include "check.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

void expect_progress(void) { alarm(120); }

/* A process of its own: the shim's state, like the driver's, is one per process. */
static int run_one(const struct test *test) {
  int status;
  fflush(stdout);
  pid_t child = fork();
  if (!child) {
    expect_progress();
    test->run();
    exit(0);
  }
  waitpid(child, &status, 0);
  int ok = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  if (WIFSIGNALED(status)) fprintf(stderr, "killed by %s\n", strsignal(WTERMSIG(status)));
  printf("%s %s\n", ok ? "ok  " : "FAIL", test->sentence);
  return !ok;
}

int run_tests(const struct test *tests, int count) {
  const char *only = getenv("ONLY"); /* part of a sentence */
  int failed = 0;
  setvbuf(stdout, NULL, _IOLBF, 0);
  for (int i = 0; i < count; i++)
    if (!only || strstr(tests[i].sentence, only)) failed += run_one(&tests[i]);
  return failed != 0;
}
