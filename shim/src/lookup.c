/* cuGetProcAddress, dlsym, and the map from real addresses to hooks.
 *
 * The driver is asked first and decides about names, versions and flags; only
 * the address it answers is replaced. The map is filled from both roads, since
 * a driver may hand out different addresses for one function.
 */
#define _GNU_SOURCE
#include "lookup.h"

#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>

#include "real.h"

enum { MAP_SIZE = 2048, FLAG_D = CU_GET_PROC_ADDRESS_DEFAULT,
       FLAG_P = CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM };

struct pair {
  uintptr_t address; /* 0: empty; written last, so readers need no lock */
  void *hook;
};

static struct pair map[MAP_SIZE];

static size_t slot_of(uintptr_t address) {
  return (size_t)((address * 0x9e3779b97f4a7c15u) >> 53);
}

_Static_assert(MAP_SIZE == 1 << 11, "slot_of keeps 11 bits");

static void add(void *address, void *hook) {
  if (!address || address == hook || !real_has(address)) return;
  for (size_t i = slot_of((uintptr_t)address), tried = 0; tried < MAP_SIZE;
       i = (i + 1) % MAP_SIZE, tried++) {
    if (map[i].address == (uintptr_t)address) return;
    if (map[i].address) continue;
    map[i].hook = hook;
    __atomic_store_n(&map[i].address, (uintptr_t)address, __ATOMIC_RELEASE);
    return;
  }
}

void *lookup_substitute(void *address) {
  for (size_t i = slot_of((uintptr_t)address);; i = (i + 1) % MAP_SIZE) {
    uintptr_t at = __atomic_load_n(&map[i].address, __ATOMIC_ACQUIRE);
    if (!at) return address;
    if (at == (uintptr_t)address) return map[i].hook;
  }
}

/* The address by which cuGetProcAddress itself hands out one exact form. */
static void *ask(const struct real_cuda *table, const char *name, int version, uint64_t flags) {
  void *address = NULL;
  if (table->cuGetProcAddress(name, &address, version, flags)) return NULL;
  return address;
}

void lookup_fill_cuda(const struct real_cuda *table) {
#define CUDA(symbol, parameters, base, version, flag)    \
  add((void *)table->symbol, (void *)symbol);            \
  add(ask(table, #base, version, FLAG_##flag), (void *)symbol);
#define NVML(symbol, parameters)
#include "hooks.def"
#undef CUDA
#undef NVML
}

void lookup_fill_nvml(const struct real_nvml *table) {
#define CUDA(...)
#define NVML(symbol, parameters) add((void *)table->symbol, (void *)symbol);
#include "hooks.def"
#undef CUDA
#undef NVML
}

CUresult cuGetProcAddress(const char *symbol, void **pfn, int version, uint64_t flags) {
  CUresult result = real()->cuGetProcAddress(symbol, pfn, version, flags);
  if (result == CUDA_SUCCESS && pfn && *pfn) *pfn = lookup_substitute(*pfn);
  return result;
}

CUresult cuGetProcAddress_v2(const char *symbol, void **pfn, int version, uint64_t flags,
                             CUdriverProcAddressQueryResult *status) {
  CUresult result = real()->cuGetProcAddress_v2(symbol, pfn, version, flags, status);
  if (result == CUDA_SUCCESS && pfn && *pfn) *pfn = lookup_substitute(*pfn);
  return result;
}

/* ---- dlsym -------------------------------------------------------------- */

/* Called by the entry in entry.S for cu[A-Z]... and nvml[A-Z]... names only. */
__attribute__((visibility("hidden"))) void *lookup_dlsym(void *handle, const char *name) {
  void *address = real_dlsym()(handle, name);
  if (!address) return NULL;
  if (name[0] == 'c')
    real();
  else
    real_nvml();
  return lookup_substitute(address);
}

/* Where entry.S jumps for every other name; a jump leaves the caller, and with
 * it the meaning of RTLD_NEXT and RTLD_DEFAULT, as they were. */
__attribute__((visibility("hidden"))) void *lookup_real_dlsym(void) { return (void *)real_dlsym(); }
