/* Finds the real libraries and fills the tables of their functions.
 *
 * Nothing here runs before the first call of a driver function: the library is
 * loaded into every process of a container, most of which never make one.
 *
 * As a preloaded library we ask the loader for libcuda.so.1 by its name. Where
 * the shim stands in the driver's place that name leads back to us, and the
 * real files lie in the slice's directory under driver/.
 */
#define _GNU_SOURCE
#include "real.h"

#include <dlfcn.h>
#include <sched.h>
#include <stdio.h>

#include "directory.h"
#include "lookup.h"
#include "portable.h"

OLDEST(dlopen);
OLDEST(dlvsym);

struct real_cuda real_cuda_table;
struct real_nvml real_nvml_table;
int real_cuda_ready, real_nvml_ready;

static CUresult missing_cuda(void) { return CUDA_ERROR_NOT_FOUND; }
static nvmlReturn_t missing_nvml(void) { return NVML_ERROR_FUNCTION_NOT_FOUND; }

int real_has(const void *function) { return function != (const void *)missing_cuda; }

dlsym_function real_dlsym(void) {
  static dlsym_function found;
  dlsym_function at = __atomic_load_n(&found, __ATOMIC_RELAXED);
  if (at) return at;
  /* dlvsym is not ours, so RTLD_NEXT means "after us". The version was renamed in glibc 2.34;
   * the old one is still there: https://sourceware.org/pipermail/libc-alpha/2021-August/129718.html */
  const char *versions[] = {"GLIBC_2.34", "GLIBC_2.2.5", "GLIBC_2.17"};
  for (unsigned i = 0; !at && i < sizeof versions / sizeof *versions; i++)
    at = (dlsym_function)dlvsym(RTLD_NEXT, "dlsym", versions[i]);
  __atomic_store_n(&found, at, __ATOMIC_RELAXED);
  return at;
}

/* Whether a handle leads to this very library. */
static int is_ourselves(void *handle, const char *probe, const void *ours) {
  return handle && real_dlsym()(handle, probe) == ours;
}

static void *open_library(const char *name, const char *probe, const void *ours) {
  char path[256];
  void *handle = dlopen(name, RTLD_LAZY | RTLD_LOCAL);
  if (!is_ourselves(handle, probe, ours)) return handle;
  snprintf(path, sizeof path, "%s/driver/%s", directory_path(), name);
  handle = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
  return is_ourselves(handle, probe, ours) ? NULL : handle;
}

static void *library_cuda(void) {
  static void *handle;
  void *at = __atomic_load_n(&handle, __ATOMIC_ACQUIRE);
  if (!at) {
    at = open_library("libcuda.so.1", "cuGetProcAddress", (const void *)cuGetProcAddress);
    __atomic_store_n(&handle, at, __ATOMIC_RELEASE);
  }
  return at;
}

static void *library_nvml(void) {
  static void *handle;
  void *at = __atomic_load_n(&handle, __ATOMIC_ACQUIRE);
  if (!at) {
    at = open_library("libnvidia-ml.so.1", "nvmlDeviceGetMemoryInfo",
                      (const void *)nvmlDeviceGetMemoryInfo);
    __atomic_store_n(&handle, at, __ATOMIC_RELEASE);
  }
  return at;
}

void *real_symbol(const char *name) {
  void *library = name[0] == 'c' ? library_cuda() : library_nvml();
  return library ? real_dlsym()(library, name) : NULL;
}

static void *function_cuda(const char *name) {
  void *at = real_symbol(name);
  return at ? at : (void *)missing_cuda;
}

static void *function_nvml(const char *name) {
  void *at = real_symbol(name);
  return at ? at : (void *)missing_nvml;
}

/* One thread fills the tables; the others wait for it, and its own nested calls go on. */
enum { FRESH = 0, FILLING = 1, FILLED = 2 };
static __thread int filling;

static int enter_once(int *state) {
  int fresh = FRESH;
  if (filling) return 0;
  if (__atomic_compare_exchange_n(state, &fresh, FILLING, 0, __ATOMIC_ACQUIRE, __ATOMIC_ACQUIRE)) {
    filling = 1;
    return 1;
  }
  while (__atomic_load_n(state, __ATOMIC_ACQUIRE) != FILLED) sched_yield();
  return 0;
}

static void leave_once(int *state, int *ready) {
  filling = 0;
  __atomic_store_n(ready, 1, __ATOMIC_RELEASE);
  __atomic_store_n(state, FILLED, __ATOMIC_RELEASE);
}

static void fill_cuda(struct real_cuda *table) {
#define CUDA(symbol, ...) table->symbol = (__typeof__(table->symbol))function_cuda(#symbol);
#define NVML(symbol, parameters)
#define CALL(symbol, parameters) table->symbol = (__typeof__(table->symbol))function_cuda(#symbol);
#define NVML_CALL(symbol, parameters)
#include "hooks.def"
#include "calls.def"
#undef CALL
#undef NVML_CALL
#undef CUDA
#undef NVML
}

void real_cuda_resolve(void) {
  static int state;
  if (!enter_once(&state)) return;
  fill_cuda(&real_cuda_table);
  lookup_fill_cuda(&real_cuda_table);
  leave_once(&state, &real_cuda_ready);
}

static void fill_nvml(struct real_nvml *table) {
#define CUDA(...)
#define NVML(symbol, parameters) table->symbol = (__typeof__(table->symbol))function_nvml(#symbol);
#define CALL(symbol, parameters)
#define NVML_CALL(symbol, parameters) NVML(symbol, parameters)
#include "hooks.def"
#include "calls.def"
#undef CALL
#undef NVML_CALL
#undef CUDA
#undef NVML
}

void real_nvml_resolve(void) {
  static int state;
  if (!enter_once(&state)) return;
  fill_nvml(&real_nvml_table);
  lookup_fill_nvml(&real_nvml_table);
  leave_once(&state, &real_nvml_ready);
}
