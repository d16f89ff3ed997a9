/* A slice for a test: a directory with pages, and a simulated machine of its own. */
#ifndef VGPU_TESTS_SLICE_H
#define VGPU_TESTS_SLICE_H

#include "cuda_abi.h"
#include "vgpu_region.h"

struct slice {
  char directory[256];
  struct vgpu_limits *limits; /* writable */
  struct vgpu_usage *usage;
  int fd;
};

/* A new machine for this process and its children; removed when this process ends. */
void machine_new(void);

/* A slice of device 0 in a new directory, which becomes this process's own. */
struct slice slice_new(uint64_t memory, uint32_t percent);
/* Opens the same pages once more, as another process would. */
struct slice slice_open(const char *directory);
void slice_set(struct slice *slice, uint64_t memory, uint32_t percent);
struct vgpu_limits_device slice_line(const struct slice *slice);
void slice_write(struct slice *slice, const struct vgpu_limits_device *line);
void slice_enter(const struct slice *slice);

/* cuInit and a context on device 0. */
CUcontext gpu_context(void);
CUfunction gpu_function(const char *name);
CUresult launch_on(CUfunction function, unsigned blocks, CUstream stream);

/* Functions of the simulated driver, which only the shim has opened. */
void *sim_symbol(const char *name);
#define SIM(name) ((__typeof__(&name))sim_symbol(#name))

#endif
