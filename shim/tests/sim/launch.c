/* Modules, functions and every way to launch a kernel, but graphs. */
#include "launch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "sim.h"

enum { WHOLE_GPU = 1000 };

/* ---- modules and functions ------------------------------------------------------ */

struct CUmod_st {
  uint32_t mark;
  struct CUfunc_st *functions;
};

/* "matmul_250us" runs 250 us; a name that starts with "spin" runs as long as its first parameter says. */
static void read_name(struct CUfunc_st *function) {
  unsigned long long number;
  char unit[4] = "";
  const char *last = strrchr(function->name, '_');
  function->by_parameter = strncmp(function->name, "spin", 4) == 0;
  if (last == NULL || sscanf(last, "_%llu%3s", &number, unit) != 2) return;
  if (strcmp(unit, "ns") == 0) function->duration = number;
  if (strcmp(unit, "us") == 0) function->duration = number * 1000;
  if (strcmp(unit, "ms") == 0) function->duration = number * 1000000;
}

static CUresult load(CUmodule *module) {
  struct CUctx_st *context;
  CUresult result = context_current(&context);
  if (result != CUDA_SUCCESS) return result;
  if (module == NULL) return CUDA_ERROR_INVALID_VALUE;
  *module = calloc(1, sizeof **module);
  if (*module == NULL) return CUDA_ERROR_OUT_OF_MEMORY;
  (*module)->mark = MARK_MODULE;
  return CUDA_SUCCESS;
}

CUresult sim_cuModuleLoad(CUmodule *module, const char *name) {
  return name == NULL ? CUDA_ERROR_INVALID_VALUE : load(module);
}

CUresult sim_cuModuleLoadData(CUmodule *module, const void *image) {
  return image == NULL ? CUDA_ERROR_INVALID_VALUE : load(module);
}

CUresult sim_cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned count, int *options, void **values) {
  (void)count, (void)options, (void)values;
  return sim_cuModuleLoadData(module, image);
}

CUresult sim_cuModuleLoadFatBinary(CUmodule *module, const void *image) { return sim_cuModuleLoadData(module, image); }

CUresult sim_cuModuleUnload(CUmodule module) {
  if (module == NULL || module->mark != MARK_MODULE) return CUDA_ERROR_INVALID_HANDLE;
  module->mark = MARK_DEAD;
  while (module->functions != NULL) {
    struct CUfunc_st *next = module->functions->next;
    module->functions->mark = MARK_DEAD; /* kept: a stale handle must be noticed */
    module->functions = next;
  }
  return CUDA_SUCCESS;
}

CUresult sim_cuModuleGetLoadingMode(int *mode) {
  if (mode == NULL) return CUDA_ERROR_INVALID_VALUE;
  *mode = 2; /* lazy, the default since 12.2 */
  return process_ready();
}

static struct CUfunc_st *find_function(CUmodule module, const char *name) {
  for (struct CUfunc_st *f = module->functions; f != NULL; f = f->next)
    if (strcmp(f->name, name) == 0) return f;
  struct CUfunc_st *made = calloc(1, sizeof *made);
  if (made == NULL) return NULL;
  made->mark = MARK_FUNCTION;
  made->module = module;
  snprintf(made->name, sizeof made->name, "%s", name);
  read_name(made);
  made->next = module->functions;
  return module->functions = made;
}

CUresult sim_cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
  if (function == NULL || name == NULL) return CUDA_ERROR_INVALID_VALUE;
  if (module == NULL || module->mark != MARK_MODULE) return CUDA_ERROR_INVALID_HANDLE;
  process_lock();
  *function = find_function(module, name);
  process_unlock();
  return *function == NULL ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
}

CUresult sim_cuLibraryLoadData(CUlibrary *library, const void *code, int *jit, void **jit_values, unsigned jit_count,
                               int *options, void **values, unsigned count) {
  (void)jit, (void)jit_values, (void)jit_count, (void)options, (void)values, (void)count;
  if (library == NULL || code == NULL) return CUDA_ERROR_INVALID_VALUE;
  CUmodule module = calloc(1, sizeof *module); /* a library is a module that needs no context */
  if (module == NULL) return CUDA_ERROR_OUT_OF_MEMORY;
  module->mark = MARK_MODULE;
  *library = (CUlibrary)module;
  return CUDA_SUCCESS;
}

CUresult sim_cuLibraryUnload(CUlibrary library) { return sim_cuModuleUnload((CUmodule)library); }

CUresult sim_cuLibraryGetKernel(CUkernel *kernel, CUlibrary library, const char *name) {
  return sim_cuModuleGetFunction((CUfunction *)kernel, (CUmodule)library, name);
}

CUresult sim_cuLibraryGetModule(CUmodule *module, CUlibrary library) {
  *module = (CUmodule)library;
  return CUDA_SUCCESS;
}

CUresult sim_cuKernelGetFunction(CUfunction *function, CUkernel kernel) {
  *function = (CUfunction)kernel;
  return CUDA_SUCCESS;
}

static bool is_function(CUfunction function) { return function != NULL && function->mark == MARK_FUNCTION; }

CUresult sim_cuFuncGetModule(CUmodule *module, CUfunction function) {
  if (!is_function(function)) return CUDA_ERROR_INVALID_HANDLE;
  *module = function->module;
  return CUDA_SUCCESS;
}

CUresult sim_cuFuncGetName(const char **name, CUfunction function) {
  if (!is_function(function)) return CUDA_ERROR_INVALID_HANDLE;
  *name = function->name;
  return CUDA_SUCCESS;
}

CUresult sim_cuFuncGetAttribute(int *value, int attribute, CUfunction function) {
  if (!is_function(function)) return CUDA_ERROR_INVALID_HANDLE;
  *value = attribute == 0 ? 1024 : 0; /* 0: most threads per block */
  return CUDA_SUCCESS;
}

CUresult sim_cuFuncSetAttribute(CUfunction function, int attribute, int value) {
  (void)attribute, (void)value;
  return is_function(function) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult sim_cuFuncSetCacheConfig(CUfunction function, int config) { return sim_cuFuncSetAttribute(function, config, 0); }

CUresult sim_cuFuncSetBlockShape(CUfunction function, int x, int y, int z) {
  if (!is_function(function)) return CUDA_ERROR_INVALID_HANDLE;
  return x > 0 && y > 0 && z > 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult sim_cuParamSetSize(CUfunction function, unsigned bytes) { return sim_cuFuncSetAttribute(function, 0, (int)bytes); }

CUresult sim_cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, CUfunction function, int block_size, size_t shared) {
  (void)shared;
  if (!is_function(function)) return CUDA_ERROR_INVALID_HANDLE;
  if (blocks == NULL || block_size <= 0 || block_size > 1024) return CUDA_ERROR_INVALID_VALUE;
  *blocks = 2048 / block_size;
  return CUDA_SUCCESS;
}

void sim_kernel_duration(CUfunction function, uint64_t ns) {
  function->duration = ns;
  function->by_parameter = false;
}

/* ---- what a launch amounts to ------------------------------------------------------ */

static uint64_t first_parameter(void **params, void **extra) {
  uint64_t value = 0;
  if (params != NULL && params[0] != NULL) memcpy(&value, params[0], sizeof value);
  for (int i = 0; params == NULL && extra != NULL && extra[i] != CU_LAUNCH_PARAM_END; i += 2)
    if (extra[i] == CU_LAUNCH_PARAM_BUFFER_POINTER) memcpy(&value, extra[i + 1], sizeof value);
  return value;
}

uint64_t launch_duration(const struct launch *launch) {
  const struct CUfunc_st *function = launch->function;
  if (function->by_parameter) return first_parameter(launch->params, launch->extra);
  return function->duration > 0 ? function->duration : option_value(process_state, OPTION_kernel_ns);
}

static uint16_t gpu_share(const struct launch *launch, int device) {
  uint64_t blocks = (uint64_t)launch->grid[0] * launch->grid[1] * launch->grid[2];
  uint64_t places = process_state->devices[device].multiprocessors;
  if (launch->cooperative || blocks >= places) return WHOLE_GPU;
  uint64_t share = blocks * WHOLE_GPU / places;
  return share == 0 ? 1 : (uint16_t)share;
}

CUresult launch_check(const struct launch *launch) {
  if (!is_function(launch->function)) return CUDA_ERROR_INVALID_HANDLE;
  for (int i = 0; i < 3; i++)
    if (launch->grid[i] == 0 || launch->block[i] == 0) return CUDA_ERROR_INVALID_VALUE;
  return (uint64_t)launch->block[0] * launch->block[1] * launch->block[2] > 1024 ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

static CUresult submit(const struct launch *launch, CUstream stream) {
  struct stream_place place;
  CUresult result = stream_place(stream, &place);
  if (result != CUDA_SUCCESS) return result;
  result = launch_check(launch);
  if (result != CUDA_SUCCESS) return result;
  if (place.handle != NULL && place.handle->capture != NULL) return capture_launch(place.handle, launch);
  struct sim_item item = {.kind = ITEM_WORK, .remaining = launch_duration(launch),
                          .share = gpu_share(launch, place.context->device)};
  return stream_submit(&place, item, NULL);
}

/* ---- entry points -------------------------------------------------------------------- */

CUresult sim_cuLaunchKernel(CUfunction function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                            unsigned bz, unsigned shared, CUstream stream, void **params, void **extra) {
  if (process_minimal) return process_ready();
  struct launch launch = {function, {gx, gy, gz}, {bx, by, bz}, false, params, extra};
  (void)shared;
  return submit(&launch, stream);
}

CUresult sim_cuLaunchCooperativeKernel(CUfunction function, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
                                       unsigned by, unsigned bz, unsigned shared, CUstream stream, void **params) {
  if (process_minimal) return process_ready();
  struct launch launch = {function, {gx, gy, gz}, {bx, by, bz}, true, params, NULL};
  (void)shared;
  return submit(&launch, stream);
}

static bool asks_cooperation(const CUlaunchConfig *config) {
  for (unsigned i = 0; i < config->numAttrs; i++)
    if (config->attrs[i].id == CU_LAUNCH_ATTRIBUTE_COOPERATIVE && config->attrs[i].value.cooperative) return true;
  return false;
}

static CUresult launch_ex(const CUlaunchConfig *config, CUfunction function, void **params, void **extra, CUstream stream) {
  if (process_minimal) return process_ready();
  struct launch launch = {function, {config->gridDimX, config->gridDimY, config->gridDimZ},
                          {config->blockDimX, config->blockDimY, config->blockDimZ},
                          asks_cooperation(config), params, extra};
  return submit(&launch, stream);
}

CUresult sim_cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction function, void **params, void **extra) {
  if (config == NULL) return CUDA_ERROR_INVALID_VALUE;
  return launch_ex(config, function, params, extra, config->hStream);
}

CUresult sim_cuLaunchKernelEx_ptsz(const CUlaunchConfig *config, CUfunction function, void **params, void **extra) {
  if (config == NULL) return CUDA_ERROR_INVALID_VALUE;
  return launch_ex(config, function, params, extra, config->hStream == NULL ? CU_STREAM_PER_THREAD : config->hStream);
}

CUresult sim_cuLaunchCooperativeKernelMultiDevice(CUDA_LAUNCH_PARAMS *list, unsigned count, unsigned flags) {
  if (list == NULL || count == 0 || flags > 3) return CUDA_ERROR_INVALID_VALUE;
  for (unsigned i = 0; i < count; i++) {
    CUDA_LAUNCH_PARAMS *p = &list[i];
    CUresult result = sim_cuLaunchCooperativeKernel(p->function, p->gridDimX, p->gridDimY, p->gridDimZ, p->blockDimX,
                                                    p->blockDimY, p->blockDimZ, p->sharedMemBytes, p->hStream, p->kernelParams);
    if (result != CUDA_SUCCESS) return result;
  }
  return CUDA_SUCCESS;
}

CUresult sim_cuLaunchGridAsync(CUfunction function, int width, int height, CUstream stream) {
  if (width <= 0 || height <= 0) return CUDA_ERROR_INVALID_VALUE;
  return sim_cuLaunchKernel(function, (unsigned)width, (unsigned)height, 1, 1, 1, 1, 0, stream, NULL, NULL);
}

CUresult sim_cuLaunchGrid(CUfunction function, int width, int height) {
  return sim_cuLaunchGridAsync(function, width, height, NULL);
}

CUresult sim_cuLaunch(CUfunction function) { return sim_cuLaunchGridAsync(function, 1, 1, NULL); }
