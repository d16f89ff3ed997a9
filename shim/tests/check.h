/* Assertions and runners for the C tests: a failed check says where, what and how much. */
#ifndef VGPU_TESTS_CHECK_H
#define VGPU_TESTS_CHECK_H

#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                             \
  do {                                                                               \
    if (!(condition)) {                                                              \
      fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);      \
      exit(1);                                                                       \
    }                                                                                \
  } while (0)

#define CHECK_EQUAL(found, expected)                                                            \
  do {                                                                                          \
    long long found_ = (long long)(found), expected_ = (long long)(expected);                   \
    if (found_ != expected_) {                                                                  \
      fprintf(stderr, "%s:%d: %s is %lld, expected %lld\n", __FILE__, __LINE__, #found, found_, \
              expected_);                                                                       \
      exit(1);                                                                                  \
    }                                                                                           \
  } while (0)

/* A test's name is what holds when it passes. */
struct test {
  const char *sentence;
  void (*run)(void);
};

/* A test that hangs fails: this process is killed unless it says so again within two minutes.
 * A long test does after each part, for a crowded machine or a sanitizer only makes it slow. */
void expect_progress(void);

/* Runs all, each in a process of its own; the number that failed. */
int run_tests(const struct test *tests, int count);

#define RUN_TESTS(tests) run_tests(tests, (int)(sizeof(tests) / sizeof *(tests)))

#endif
