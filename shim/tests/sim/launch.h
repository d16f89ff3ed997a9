/* Kernels and what launching one amounts to; graphs keep launches for later. */
#ifndef SIM_LAUNCH_H
#define SIM_LAUNCH_H

#include "process.h"

struct CUfunc_st {
  uint32_t mark;
  CUmodule module;
  char name[256];
  uint64_t duration; /* ns; 0: the option kernel_ns */
  bool by_parameter; /* the first kernel parameter is the duration */
  struct CUfunc_st *next;
};

struct launch {
  CUfunction function;
  unsigned grid[3], block[3];
  bool cooperative;
  void **params, **extra;
};

CUresult launch_check(const struct launch *launch);
uint64_t launch_duration(const struct launch *launch); /* ns */

/* capture.c: adds the launch to the graph the stream is being captured into. */
CUresult capture_launch(struct CUstream_st *stream, const struct launch *launch);

#endif
