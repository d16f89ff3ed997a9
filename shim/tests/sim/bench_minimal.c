/* Cost of the driver's hot calls with VGPU_SIM_MINIMAL=1, ns per call: what a benchmark of
 * the shim subtracts. Run by hand; nothing is asserted.
 */
#include <time.h>

#include "check.h"

static double now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

#define COST(name, call)                                              \
  do {                                                                \
    enum { ROUNDS = 2000000 };                                        \
    double begin = now_ns();                                          \
    for (int i = 0; i < ROUNDS; i++) { call; }                        \
    printf("%-28s %6.1f ns\n", name, (now_ns() - begin) / ROUNDS);    \
  } while (0)

int main(void) {
  CUdeviceptr address;
  CUevent event;
  CUstream stream;
  size_t room, total;
  int count;
  sim_minimal(1);
  start();
  CUfunction function = kernel("k");
  OK(cuEventCreate(&event, 0));
  OK(cuStreamCreate(&stream, 0));
  COST("cuDeviceGetCount", cuDeviceGetCount(&count));
  COST("cuMemAlloc + cuMemFree", cuMemAlloc_v2(&address, 4096); cuMemFree_v2(address));
  COST("cuMemAllocAsync + FreeAsync", cuMemAllocAsync(&address, 4096, NULL); cuMemFreeAsync(address, NULL));
  COST("cuLaunchKernel", cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL));
  COST("cuLaunchKernel, own stream", cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, stream, NULL, NULL));
  COST("cuMemGetInfo", cuMemGetInfo_v2(&room, &total));
  COST("cuEventRecord", cuEventRecord(event, NULL));
  COST("cuEventQuery", cuEventQuery(event));
  void *pointer;
  COST("cuGetProcAddress", cuGetProcAddress_v2("cuLaunchKernel", &pointer, 13000, 0, NULL));
  return 0;
}
