#define _GNU_SOURCE
#include "slice.h"

#include <dlfcn.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "driver.h"

static char machine[128];
static pid_t machine_owner;

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk) {
  (void)status, (void)type, (void)walk;
  return remove(path);
}

static void remove_machine(void) {
  if (getpid() == machine_owner) nftw(machine, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

void machine_new(void) {
  char state[160];
  snprintf(machine, sizeof machine, "/dev/shm/vgpu-test.XXXXXX"); /* a killed test leaves its own: no PID */
  CHECK(mkdtemp(machine));
  machine_owner = getpid();
  atexit(remove_machine);
  snprintf(state, sizeof state, "%s/sim", machine);
  setenv("VGPU_SIM_STATE", state, 1);
}

static void uuid_of_device(uint8_t *uuid) {
  CUuuid found;
  CUresult (*init)(unsigned) = (CUresult(*)(unsigned))sim_symbol("cuInit");
  CUresult (*ask)(CUuuid *, CUdevice) = (CUresult(*)(CUuuid *, CUdevice))sim_symbol("cuDeviceGetUuid");
  CHECK_EQUAL(init(0), CUDA_SUCCESS);
  CHECK_EQUAL(ask(&found, 0), CUDA_SUCCESS);
  memcpy(uuid, found.bytes, 16);
}

struct slice slice_new(uint64_t memory, uint32_t percent) {
  static int number;
  struct slice slice = {.fd = -1};
  char path[320];
  if (!*machine) machine_new();
  snprintf(slice.directory, sizeof slice.directory, "%s/slice%d.%d", machine, (int)getpid(), number++);
  CHECK(!mkdir(slice.directory, 0755));
  snprintf(path, sizeof path, "%s/usage", slice.directory);
  CHECK(!mkdir(path, 0777));
  snprintf(path, sizeof path, "%s/limits", slice.directory);
  CHECK_EQUAL(vgpu_limits_create(path, "test", 1), 0);
  snprintf(path, sizeof path, "%s/usage/accounts", slice.directory);
  CHECK_EQUAL(vgpu_usage_create(path, 1), 0);
  slice = slice_open(slice.directory);
  slice_enter(&slice);
  struct vgpu_limits_device line = {.memory_limit = memory, .compute_percent = percent};
  uuid_of_device(line.uuid);
  slice_write(&slice, &line);
  return slice;
}

struct slice slice_open(const char *directory) {
  struct slice slice = {.fd = -1};
  char path[320];
  snprintf(slice.directory, sizeof slice.directory, "%s", directory);
  snprintf(path, sizeof path, "%s/limits", directory);
  CHECK_EQUAL(vgpu_limits_open(path, 1, &slice.limits), 0);
  snprintf(path, sizeof path, "%s/usage/accounts", directory);
  CHECK_EQUAL(vgpu_usage_open(path, &slice.usage, &slice.fd), 0);
  return slice;
}

void slice_enter(const struct slice *slice) { setenv("VGPU_DIR", slice->directory, 1); }

struct vgpu_limits_device slice_line(const struct slice *slice) {
  struct vgpu_limits_device line;
  CHECK_EQUAL(vgpu_limits_read(slice->limits, 0, &line), 0);
  return line;
}

void slice_write(struct slice *slice, const struct vgpu_limits_device *line) {
  CHECK_EQUAL(vgpu_limits_write(slice->limits, 0, line), 0);
}

void slice_set(struct slice *slice, uint64_t memory, uint32_t percent) {
  struct vgpu_limits_device line = slice_line(slice);
  line.memory_limit = memory;
  line.compute_percent = percent;
  slice_write(slice, &line);
}

void *sim_symbol(const char *name) {
  static void *handle;
  if (!handle) handle = dlopen("libcuda.so.1", RTLD_NOW);
  void *(*look_up)(void *, const char *) = (void *(*)(void *, const char *))dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.34");
  void *address = handle && look_up ? look_up(handle, name) : NULL; /* past the shim's dlsym */
  if (!address) fprintf(stderr, "the simulated driver has no %s: is LD_LIBRARY_PATH set?\n", name);
  CHECK(address);
  return address;
}

CUcontext gpu_context(void) {
  CUcontext context;
  CHECK_EQUAL(cuInit(0), CUDA_SUCCESS);
  CHECK_EQUAL(cuCtxCreate_v2(&context, 0, 0), CUDA_SUCCESS);
  return context;
}

CUfunction gpu_function(const char *name) {
  CUmodule module;
  CUfunction function;
  CHECK_EQUAL(cuModuleLoadData(&module, ""), CUDA_SUCCESS);
  CHECK_EQUAL(cuModuleGetFunction(&function, module, name), CUDA_SUCCESS);
  return function;
}

CUresult launch_on(CUfunction function, unsigned blocks, CUstream stream) {
  return cuLaunchKernel(function, blocks, 1, 1, 256, 1, 1, 0, stream, NULL, NULL);
}
