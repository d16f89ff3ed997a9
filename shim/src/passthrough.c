/* Resolves the functions that are only passed through, each at its first call. */
#include <stddef.h>
#include <stdint.h>

#include "real.h"

static const char *const names[] = {
#define PASS(name) #name,
#include "passthrough.def"
#undef PASS
};

extern void *passthrough_table[] __attribute__((visibility("hidden")));

static CUresult absent_cuda(void) { return CUDA_ERROR_NOT_FOUND; }
static nvmlReturn_t absent_nvml(void) { return NVML_ERROR_FUNCTION_NOT_FOUND; }

/* Called from entry.S with every argument register saved. */
__attribute__((visibility("hidden"))) void *passthrough_resolve(uint64_t index) {
  const char *name = names[index];
  void *address = real_symbol(name);
  if (!address) address = name[0] == 'c' ? (void *)absent_cuda : (void *)absent_nvml;
  __atomic_store_n(&passthrough_table[index], address, __ATOMIC_RELAXED);
  return address;
}
