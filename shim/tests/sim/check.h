/* The tests' harness: each test is a child process with a machine of its own, and
 * prototypes of what they call. A test ends at its first broken expectation.
 */
#ifndef SIM_CHECK_H
#define SIM_CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cuda_abi.h"
#include "sim.h"

struct test {
  const char *sentence;
  void (*run)(void);
  const char *config; /* lines of VGPU_SIM_CONFIG */
};

#define EXPECT(condition)                                                        \
  do {                                                                           \
    if (condition) break;                                                        \
    fprintf(stderr, "%s:%d: expected %s\n", __FILE__, __LINE__, #condition);     \
    _exit(1);                                                                    \
  } while (0)
#define EXPECT_EQUAL(found, wanted)                                              \
  do {                                                                           \
    long long found_ = (long long)(found), wanted_ = (long long)(wanted);        \
    if (found_ == wanted_) break;                                                \
    fprintf(stderr, "%s:%d: %s is %lld, expected %lld\n", __FILE__, __LINE__, #found, found_, wanted_); \
    _exit(1);                                                                    \
  } while (0)
#define EXPECT_NEAR(found, wanted, by) EXPECT((double)(found) >= (double)(wanted) - (by) && (double)(found) <= (double)(wanted) + (by))
#define OK(call) EXPECT_EQUAL(call, CUDA_SUCCESS)

static inline void write_config(const char *path, const char *lines) {
  FILE *file = fopen(path, "we");
  EXPECT(file != NULL);
  fputs(lines == NULL ? "" : lines, file);
  fclose(file);
}

static inline int run_test(const struct test *test) {
  enum { SECONDS = 60 };
  char state[64], config[72];
  snprintf(state, sizeof state, "/tmp/vgpu-sim-test.%d", (int)getpid());
  snprintf(config, sizeof config, "%s.config", state);
  write_config(config, test->config);
  setenv("VGPU_SIM_STATE", state, 1);
  setenv("VGPU_SIM_CONFIG", config, 1);
  pid_t child = fork();
  if (child == 0) {
    alarm(SECONDS);
    test->run();
    exit(0);
  }
  int status;
  waitpid(child, &status, 0);
  unlink(state);
  unlink(config);
  printf("%s %s\n", status == 0 ? "ok  " : "FAIL", test->sentence);
  if (WIFSIGNALED(status)) printf("     killed by signal %d\n", WTERMSIG(status));
  return status == 0 ? 0 : 1;
}

/* Runs those whose sentence contains the argument, or all. */
static inline int run_tests(const struct test *tests, size_t count, const char *only) {
  int failed = 0;
  setvbuf(stdout, NULL, _IOLBF, 0);
  for (size_t i = 0; i < count; i++)
    if (only == NULL || strstr(tests[i].sentence, only) != NULL) failed += run_test(&tests[i]);
  return failed == 0 ? 0 : 1;
}

#define RUN_TESTS(tests) \
  int main(int argc, char **argv) { return run_tests(tests, sizeof tests / sizeof tests[0], argc > 1 ? argv[1] : NULL); }

/* ---- the driver, as the tests call it ---- */

CUresult cuInit(unsigned);
CUresult cuDriverGetVersion(int *);
CUresult cuGetProcAddress(const char *, void **, int, uint64_t);
CUresult cuGetProcAddress_v2(const char *, void **, int, uint64_t, CUdriverProcAddressQueryResult *);
CUresult cuGetExportTable(const void **, const CUuuid *);
CUresult cuDeviceGetCount(int *);
CUresult cuDeviceGetName(char *, int, CUdevice);
CUresult cuDeviceGetUuid_v2(CUuuid *, CUdevice);
CUresult cuDeviceTotalMem_v2(size_t *, CUdevice);
CUresult cuDeviceCanAccessPeer(int *, CUdevice, CUdevice);
CUresult cuCtxCreate_v2(CUcontext *, unsigned, CUdevice);
CUresult cuCtxDestroy_v2(CUcontext);
CUresult cuCtxSetCurrent(CUcontext);
CUresult cuCtxGetCurrent(CUcontext *);
CUresult cuCtxSynchronize(void);
CUresult cuDevicePrimaryCtxRetain(CUcontext *, CUdevice);
CUresult cuDevicePrimaryCtxReset_v2(CUdevice);
CUresult cuMemAlloc_v2(CUdeviceptr *, size_t);
CUresult cuMemAllocPitch_v2(CUdeviceptr *, size_t *, size_t, size_t, unsigned);
CUresult cuMemAllocManaged(CUdeviceptr *, size_t, unsigned);
CUresult cuMemFree_v2(CUdeviceptr);
CUresult cuMemGetInfo_v2(size_t *, size_t *);
CUresult cuMemGetAddressRange_v2(CUdeviceptr *, size_t *, CUdeviceptr);
CUresult cuPointerGetAttribute(void *, CUpointer_attribute, CUdeviceptr);
CUresult cuMemAllocAsync(CUdeviceptr *, size_t, CUstream);
CUresult cuMemAllocAsync_ptsz(CUdeviceptr *, size_t, CUstream);
CUresult cuMemFreeAsync(CUdeviceptr, CUstream);
CUresult cuMemAllocFromPoolAsync(CUdeviceptr *, size_t, CUmemoryPool, CUstream);
CUresult cuMemPoolCreate(CUmemoryPool *, const CUmemPoolProps *);
CUresult cuMemPoolDestroy(CUmemoryPool);
CUresult cuMemPoolTrimTo(CUmemoryPool, size_t);
CUresult cuMemPoolSetAttribute(CUmemoryPool, CUmemPool_attribute, void *);
CUresult cuMemPoolGetAttribute(CUmemoryPool, CUmemPool_attribute, void *);
CUresult cuDeviceGetDefaultMemPool(CUmemoryPool *, CUdevice);
CUresult cuMemCreate(CUmemGenericAllocationHandle *, size_t, const CUmemAllocationProp *, unsigned long long);
CUresult cuMemRelease(CUmemGenericAllocationHandle);
CUresult cuMemAddressReserve(CUdeviceptr *, size_t, size_t, CUdeviceptr, unsigned long long);
CUresult cuMemAddressFree(CUdeviceptr, size_t);
CUresult cuMemMap(CUdeviceptr, size_t, size_t, CUmemGenericAllocationHandle, unsigned long long);
CUresult cuMemUnmap(CUdeviceptr, size_t);
CUresult cuMemRetainAllocationHandle(CUmemGenericAllocationHandle *, void *);
CUresult cuArray3DCreate_v2(CUarray *, const CUDA_ARRAY3D_DESCRIPTOR *);
CUresult cuArrayDestroy(CUarray);
CUresult cuArrayGetMemoryRequirements(CUDA_ARRAY_MEMORY_REQUIREMENTS *, CUarray, CUdevice);
CUresult cuMipmappedArrayCreate(CUmipmappedArray *, const CUDA_ARRAY3D_DESCRIPTOR *, unsigned);
CUresult cuMipmappedArrayDestroy(CUmipmappedArray);
CUresult cuIpcGetMemHandle(CUipcMemHandle *, CUdeviceptr);
CUresult cuIpcOpenMemHandle_v2(CUdeviceptr *, CUipcMemHandle, unsigned);
CUresult cuIpcCloseMemHandle(CUdeviceptr);
CUresult cuImportExternalMemory(CUexternalMemory *, const CUDA_EXTERNAL_MEMORY_HANDLE_DESC *);
CUresult cuExternalMemoryGetMappedBuffer(CUdeviceptr *, CUexternalMemory, const CUDA_EXTERNAL_MEMORY_BUFFER_DESC *);
CUresult cuDestroyExternalMemory(CUexternalMemory);
CUresult cuMemcpyHtoD_v2(CUdeviceptr, const void *, size_t);
CUresult cuMemcpyDtoH_v2(void *, CUdeviceptr, size_t);
CUresult cuMemsetD32Async(CUdeviceptr, unsigned, size_t, CUstream);
CUresult cuStreamCreate(CUstream *, unsigned);
CUresult cuStreamDestroy_v2(CUstream);
CUresult cuStreamSynchronize(CUstream);
CUresult cuStreamQuery(CUstream);
CUresult cuStreamWaitEvent(CUstream, CUevent, unsigned);
CUresult cuStreamGetId(CUstream, unsigned long long *);
CUresult cuStreamGetId_ptsz(CUstream, unsigned long long *);
CUresult cuStreamBeginCapture_v2(CUstream, CUstreamCaptureMode);
CUresult cuStreamEndCapture(CUstream, CUgraph *);
CUresult cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode *);
CUresult cuEventCreate(CUevent *, unsigned);
CUresult cuEventDestroy_v2(CUevent);
CUresult cuEventRecord(CUevent, CUstream);
CUresult cuEventQuery(CUevent);
CUresult cuEventSynchronize(CUevent);
CUresult cuEventElapsedTime(float *, CUevent, CUevent);
CUresult cuModuleLoadData(CUmodule *, const void *);
CUresult cuModuleGetFunction(CUfunction *, CUmodule, const char *);
CUresult cuLaunchKernel(CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, CUstream, void **, void **);
CUresult cuLaunchKernel_ptsz(CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, CUstream, void **, void **);
CUresult cuLaunchCooperativeKernel(CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, CUstream, void **);
CUresult cuGraphCreate(CUgraph *, unsigned);
CUresult cuGraphAddKernelNode_v2(CUgraphNode *, CUgraph, const CUgraphNode *, size_t, const CUDA_KERNEL_NODE_PARAMS *);
CUresult cuGraphAddMemAllocNode(CUgraphNode *, CUgraph, const CUgraphNode *, size_t, CUDA_MEM_ALLOC_NODE_PARAMS *);
CUresult cuGraphInstantiateWithFlags(CUgraphExec *, CUgraph, unsigned long long);
CUresult cuGraphLaunch(CUgraphExec, CUstream);
CUresult cuGraphExecDestroy(CUgraphExec);
CUresult cuDeviceGraphMemTrim(CUdevice);
CUresult cuDeviceGetGraphMemAttribute(CUdevice, CUgraphMem_attribute, void *);
CUresult cuCtxCreate(CUcontext *, unsigned, CUdevice);
CUresult cuMulticastCreate(void *, void *);

/* ---- what most tests begin with ---- */

static inline CUcontext start(void) {
  CUcontext context;
  OK(cuInit(0));
  OK(cuCtxCreate_v2(&context, 0, 0));
  return context;
}

static inline CUfunction kernel(const char *name) {
  CUmodule module;
  CUfunction function;
  OK(cuModuleLoadData(&module, "image"));
  OK(cuModuleGetFunction(&function, module, name));
  return function;
}

static inline void launch(CUfunction function, unsigned blocks, CUstream stream) {
  OK(cuLaunchKernel(function, blocks, 1, 1, 256, 1, 1, 0, stream, NULL, NULL));
}

#define MIB (1ULL << 20)
#define GIB (1ULL << 30)
#define US 1000ULL
#define MS 1000000ULL

#endif
