/* Decides once where the slice's files are. */
#define _GNU_SOURCE
#include "directory.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *decide(void) {
  /* A container cannot point the shim elsewhere: its own directory comes first. */
  if (!access("/run/vgpu", F_OK)) return "/run/vgpu";
  const char *given = secure_getenv("VGPU_DIR");
  return given ? given : "";
}

const char *directory_path(void) {
  static const char *decided;
  const char *path = __atomic_load_n(&decided, __ATOMIC_ACQUIRE);
  if (path) return path;
  static char kept[4096];
  static int keeping;
  if (__atomic_exchange_n(&keeping, 1, __ATOMIC_ACQ_REL)) { /* another thread is about to say */
    while (!(path = __atomic_load_n(&decided, __ATOMIC_ACQUIRE))) usleep(1);
    return path;
  }
  snprintf(kept, sizeof kept, "%s", decide()); /* the environment may move under us */
  __atomic_store_n(&decided, kept, __ATOMIC_RELEASE);
  return kept;
}

int directory_file(char *path, unsigned long space, const char *name) {
  int length = snprintf(path, space, "%s/%s", directory_path(), name);
  return length < 0 || (unsigned long)length >= space ? -ENAMETOOLONG : 0;
}
