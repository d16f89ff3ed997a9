/* Every hook, by every road a program can take to it: linked, through dlsym,
 * through cuGetProcAddress, from a constructor, after fork. Built like any CUDA
 * program and run with the shim preloaded, so nothing of the shim is inside.
 *
 * By each road the very hook must be found, and called it must reach the same
 * form in the driver, with the same arguments.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "driver.h"
#include "sim/sim.h"
#include "slice.h"

enum { ARGUMENTS = 11, REFUSAL = CUDA_ERROR_ILLEGAL_STATE,
       FLAG_D = CU_GET_PROC_ADDRESS_DEFAULT, FLAG_P = CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM };

struct form {
  const char *symbol, *base;
  const void *linked;
  int version;
  uint64_t flag;
};

static const struct form forms[] = {
#define CUDA(symbol, parameters, base, version, flag) {#symbol, #base, (const void *)symbol, version, FLAG_##flag},
#define NVML(symbol, parameters)
#include "hooks.def"
#undef CUDA
#undef NVML
};
enum { FORMS = sizeof forms / sizeof *forms };

static int is_hook(const void *address, const char *symbol) {
  Dl_info info;
  return address && dladdr(address, &info) && info.dli_sname && strstr(info.dli_fname, "libvgpu") &&
         !strcmp(info.dli_sname, symbol);
}

static int report(int ok, const char *road, const struct form *form) {
  if (!ok) fprintf(stderr, "%s: not the hook by %s\n", form->symbol, road);
  return !ok;
}

/* ---- roads --------------------------------------------------------------------- */

static const void *by_dlsym(const struct form *form) { return dlsym(dlopen("libcuda.so.1", RTLD_NOW), form->symbol); }

static const void *by_driver(const struct form *form) {
  void *address = NULL;
  CUdriverProcAddressQueryResult status = CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT;
  CHECK_EQUAL(cuGetProcAddress_v2(form->base, &address, form->version, form->flag, &status), CUDA_SUCCESS);
  CHECK_EQUAL(status, CU_GET_PROC_ADDRESS_SUCCESS);
  return address;
}

static int count_lost(const void *(*road)(const struct form *), const char *name) {
  int lost = 0;
  for (int i = 0; i < FORMS; i++) lost += report(is_hook(road(&forms[i]), forms[i].symbol), name, &forms[i]);
  return lost;
}

static const void *by_link(const struct form *form) { return form->linked; }

static void linked(void) { CHECK_EQUAL(count_lost(by_link, "linking"), 0); }

static void through_dlsym(void) {
  void *next = dlsym(RTLD_NEXT, "cuMemAlloc_v2"), *anywhere = dlsym(RTLD_DEFAULT, "cuMemAlloc_v2");
  CHECK_EQUAL(count_lost(by_dlsym, "dlsym"), 0);
  CHECK(is_hook(next, "cuMemAlloc_v2"));
  CHECK(is_hook(anywhere, "cuMemAlloc_v2"));
  CHECK(dlsym(RTLD_NEXT, "puts") == dlsym(RTLD_NEXT, "puts") && dlsym(RTLD_NEXT, "puts"));
  CHECK(dlsym(RTLD_DEFAULT, "cu") == NULL);
  CHECK(dlsym(RTLD_DEFAULT, "cuNoSuchFunction") == NULL);
  CHECK(!strcmp(dlerror() ? "said" : "silent", "said"));
}

static void through_driver(void) { CHECK_EQUAL(count_lost(by_driver, "cuGetProcAddress"), 0); }

static void old_lookup(void) {
  void *address = NULL;
  CHECK_EQUAL((cuGetProcAddress)("cuMemAlloc", &address, 12000, 0), CUDA_SUCCESS);
  CHECK(is_hook(address, "cuMemAlloc_v2"));
  CHECK_EQUAL((cuGetProcAddress)("cuMemAlloc", &address, 2000, 0), CUDA_SUCCESS);
  CHECK(is_hook(address, "cuMemAlloc"));
}

/* What the driver does not have, what is unhooked, and what is wrong stay the driver's answer. */
static void drivers_answers_stand(void) {
  void *address = (void *)1;
  CUdriverProcAddressQueryResult status;
  CHECK_EQUAL(cuGetProcAddress_v2("cuNoSuchFunction", &address, 12000, 0, &status), CUDA_SUCCESS);
  CHECK(address == NULL);
  CHECK_EQUAL(status, CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
  CHECK_EQUAL(cuGetProcAddress_v2("cuMemAlloc", &address, 99000, 0, &status), CUDA_ERROR_INVALID_VALUE);
  CHECK_EQUAL(cuGetProcAddress_v2("cuDeviceGetCount", &address, 12000, 0, NULL), CUDA_SUCCESS);
  CHECK(address && !is_hook(address, "cuDeviceGetCount"));
}

/* ---- calls ----------------------------------------------------------------------- */

typedef CUresult (*any_function)(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                                 uint64_t, uint64_t);

/* Amounts of memory are small; all else may be looked at, so it points to nothing but zeros. */
static int is_amount(const char *symbol, int argument) {
  if (!strcmp(symbol, "cuMemCreate")) return argument == 1;
  if (strncmp(symbol, "cuMemAlloc", 10)) return 0;
  return argument >= 1 && !(strstr(symbol, "Async") && argument >= 2);
}

static uint64_t argument_for(const char *symbol, int argument) {
  static char zeros[ARGUMENTS][1024];
  return is_amount(symbol, argument) ? 0x1000u + (unsigned)argument * 0x10u : (uint64_t)(uintptr_t)zeros[argument];
}

static int same_arguments(const struct sim_call *call, const uint64_t *given) {
  for (unsigned i = 0; i < call->argc; i++)
    if ((uint32_t)call->args[i] != (uint32_t)given[i]) return 0; /* 32-bit ones have no upper half */
  return 1;
}

static int reached(const char *symbol, const uint64_t *given) {
  struct sim_call call;
  if (SIM(sim_count)(symbol) != 1) return 0;
  for (unsigned i = 0; i < SIM(sim_calls)(); i++)
    if (!SIM(sim_call)(i, &call) && !strcmp(call.symbol, symbol)) return same_arguments(&call, given);
  return 0;
}

static int calls_through(const struct form *form, const void *address) {
  uint64_t a[ARGUMENTS];
  for (int i = 0; i < ARGUMENTS; i++) a[i] = argument_for(form->symbol, i);
  CHECK_EQUAL(SIM(sim_fail)(form->symbol, 0, REFUSAL), 0);
  SIM(sim_record)(1);
  CUresult result =
      ((any_function)address)(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10]);
  int ok = (int)result == REFUSAL && reached(form->symbol, a);
  if (!ok) fprintf(stderr, "%s: answers %d, reached %u times\n", form->symbol, result, SIM(sim_count)(form->symbol));
  CHECK_EQUAL(SIM(sim_fail)(form->symbol, 0, 0), 0);
  return ok;
}

/* The simulated driver keeps room for 64 faults: so many forms in one process. */
enum { AT_ONCE = 48 };

static int count_wrong_from(int first, const void *(*road)(const struct form *)) {
  int wrong = 0;
  struct slice slice = slice_new(1ull << 40, 100);
  gpu_context();
  for (int i = first; i < FORMS && i < first + AT_ONCE; i++) {
    if (strstr(forms[i].symbol, "cuGetProcAddress")) continue; /* it is what `by_driver` asks */
    if (strstr(forms[i].symbol, "cuMemGetInfo")) continue;     /* answered from the account */
    wrong += !calls_through(&forms[i], road(&forms[i]));
  }
  CHECK_EQUAL(vgpu_usage_used(slice.usage, 0), 0); /* every refusal was given back */
  return wrong;
}

static int count_wrong(const void *(*road)(const struct form *)) {
  int failed = 0, status;
  for (int first = 0; first < FORMS; first += AT_ONCE) {
    pid_t child = fork();
    if (!child) exit(count_wrong_from(first, road) != 0);
    waitpid(child, &status, 0);
    failed += !WIFEXITED(status) || WEXITSTATUS(status);
  }
  return failed;
}

static void linked_calls(void) { CHECK_EQUAL(count_wrong(by_link), 0); }
static void dlsym_calls(void) { CHECK_EQUAL(count_wrong(by_dlsym), 0); }
static void driver_calls(void) { CHECK_EQUAL(count_wrong(by_driver), 0); }

static void forked_calls(void) {
  int status;
  CUdeviceptr ptr;
  struct slice slice = slice_new(1 << 30, 100);
  gpu_context();
  CHECK_EQUAL(cuMemAlloc_v2(&ptr, 1 << 20), CUDA_SUCCESS);
  SIM(sim_set)("fork_reinit", 1);
  pid_t child = fork();
  if (!child) {
    gpu_context();
    CHECK_EQUAL(cuMemAlloc_v2(&ptr, 1 << 29), CUDA_SUCCESS);
    CHECK_EQUAL(vgpu_usage_used(slice.usage, 0), (1 << 29) + (1 << 20));
    CHECK_EQUAL(slice.usage->slots[1].pid, getpid()); /* a slot of its own */
    CHECK_EQUAL(cuMemFree_v2(ptr), CUDA_SUCCESS);
    CHECK_EQUAL(cuMemAlloc_v2(&ptr, 1 << 28), CUDA_SUCCESS);
    _exit(0);
  }
  waitpid(child, &status, 0);
  CHECK(WIFEXITED(status) && !WEXITSTATUS(status));
  CHECK_EQUAL(vgpu_usage_reap(slice.usage, slice.fd), 1);
  CHECK_EQUAL(vgpu_usage_used(slice.usage, 0), 1 << 20); /* the parent's alone */
}

/* ---- from a constructor ------------------------------------------------------------- */

static int constructed_lost = -1;

__attribute__((constructor)) static void construct(void) {
  if (getenv("ABI_CONSTRUCTOR")) constructed_lost = count_lost(by_dlsym, "dlsym in a constructor") +
                                                    count_lost(by_driver, "cuGetProcAddress in a constructor");
}

static void from_a_constructor(void) {
  int status;
  pid_t child = fork();
  if (!child) {
    setenv("ABI_CONSTRUCTOR", "1", 1);
    execl("/proc/self/exe", "abi", NULL);
  }
  waitpid(child, &status, 0);
  CHECK(WIFEXITED(status) && !WEXITSTATUS(status));
}

/* ---- what is passed through ------------------------------------------------------------ */

static void passed_through(void) {
  int count = 0;
  gpu_context();
  SIM(sim_record)(1);
  CHECK_EQUAL(cuDeviceGetCount(&count), CUDA_SUCCESS);
  CHECK_EQUAL(count, 1);
  CHECK_EQUAL(SIM(sim_count)("cuDeviceGetCount"), 1);
}

CUresult cuKernelGetParamCount(void *kernel, size_t *count) __attribute__((weak));

/* A newer function than this driver has: the shim exports it, the driver lacks it. */
static void absent(void) {
  size_t count;
  if (!cuKernelGetParamCount) return; /* then the program can tell for itself */
  CHECK_EQUAL(cuKernelGetParamCount(NULL, &count), CUDA_ERROR_NOT_FOUND);
}

static const struct test tests[] = {
    {"every hook is found by linking", linked},
    {"every hook is found through dlsym, and nothing else is changed there", through_dlsym},
    {"every form of every hook is found through cuGetProcAddress", through_driver},
    {"the older cuGetProcAddress gives the ABI that was asked for", old_lookup},
    {"what is not hooked stays the driver's answer", drivers_answers_stand},
    {"every hook is found from a constructor", from_a_constructor},
    {"linked, every hook reaches its own form with its own arguments", linked_calls},
    {"through dlsym, every hook reaches its own form with its own arguments", dlsym_calls},
    {"through cuGetProcAddress, every hook reaches its own form with its own arguments", driver_calls},
    {"a forked child is charged for what it allocates, and for nothing else", forked_calls},
    {"what is not hooked is passed through", passed_through},
    {"what the driver lacks is answered, not called", absent},
};

int main(void) {
  if (constructed_lost >= 0) return constructed_lost != 0;
  return RUN_TESTS(tests);
}
