/* The driver behind the shim: its functions, by name, resolved at first use. */
#ifndef VGPU_REAL_H
#define VGPU_REAL_H

#include "cuda_abi.h"
#include "nvml_abi.h"

struct real_cuda {
#define CUDA(symbol, parameters, ...) CUresult(*symbol) parameters;
#define NVML(symbol, parameters)
#include "hooks.def"
#define CALL(symbol, parameters) CUresult(*symbol) parameters;
#define NVML_CALL(symbol, parameters)
#include "calls.def"
#undef CALL
#undef NVML_CALL
#undef CUDA
#undef NVML
};

struct real_nvml {
#define CUDA(symbol, parameters, ...)
#define NVML(symbol, parameters) nvmlReturn_t(*symbol) parameters;
#include "hooks.def"
#define CALL(symbol, parameters)
#define NVML_CALL(symbol, parameters) nvmlReturn_t(*symbol) parameters;
#include "calls.def"
#undef CALL
#undef NVML_CALL
#undef CUDA
#undef NVML
};

/* The hooks themselves, as everybody sees them. */
#define CUDA(symbol, parameters, ...) __attribute__((visibility("default"))) CUresult symbol parameters;
#define NVML(symbol, parameters) __attribute__((visibility("default"))) nvmlReturn_t symbol parameters;
#include "hooks.def"
#undef CUDA
#undef NVML

/* Do not use these two: real() and real_nvml() see to it that they are filled. */
extern struct real_cuda real_cuda_table;
extern struct real_nvml real_nvml_table;
extern int real_cuda_ready, real_nvml_ready;
void real_cuda_resolve(void);
void real_nvml_resolve(void);

/* Every entry can be called: one that this driver lacks answers NOT_FOUND. */
static inline const struct real_cuda *real(void) {
  if (__builtin_expect(!__atomic_load_n(&real_cuda_ready, __ATOMIC_ACQUIRE), 0)) real_cuda_resolve();
  return &real_cuda_table;
}

static inline const struct real_nvml *real_nvml(void) {
  if (__builtin_expect(!__atomic_load_n(&real_nvml_ready, __ATOMIC_ACQUIRE), 0)) real_nvml_resolve();
  return &real_nvml_table;
}

/* Whether this driver has the function. */
int real_has(const void *function);

/* The real address of any cu... or nvml... name; NULL: the driver does not have it. */
void *real_symbol(const char *name);

/* glibc's dlsym, past our own. */
typedef void *(*dlsym_function)(void *handle, const char *name);
dlsym_function real_dlsym(void);

#endif
