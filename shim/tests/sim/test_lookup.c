/* Lookup, ABI forms, recording and faults. */
#include <dlfcn.h>
#include <string.h>

#include "check.h"

static void *look_up(const char *name, int version, uint64_t flags, CUdriverProcAddressQueryResult *status) {
  void *address = (void *)1;
  OK(cuGetProcAddress_v2(name, &address, version, flags, status));
  return address;
}

/* The export an address from cuGetProcAddress records itself as. */
static const char *recorded_as(void *address) {
  struct sim_call call;
  sim_record(1);
  ((CUresult(*)(void *, uint64_t, uint64_t, uint64_t, uint64_t))address)(NULL, 0, 0, 0, 0);
  EXPECT(sim_calls() >= 1);
  EXPECT(sim_call(0, &call) == 0);
  EXPECT_EQUAL(call.route, 'p');
  return call.symbol;
}

static void addresses_differ(void) {
  CUdriverProcAddressQueryResult status;
  void *address = look_up("cuMemAlloc", 13000, 0, &status);
  EXPECT_EQUAL(status, CU_GET_PROC_ADDRESS_SUCCESS);
  EXPECT(address != NULL && address != (void *)cuMemAlloc_v2);
  EXPECT(dlsym(RTLD_DEFAULT, "cuMemAlloc_v2") == (void *)cuMemAlloc_v2);
}

static void versions_choose_forms(void) {
  OK(cuInit(0));
  EXPECT(strcmp(recorded_as(look_up("cuMemAlloc", 2000, 0, NULL)), "cuMemAlloc") == 0);
  EXPECT(strcmp(recorded_as(look_up("cuMemAlloc", 3020, 0, NULL)), "cuMemAlloc_v2") == 0);
  EXPECT(strcmp(recorded_as(look_up("cuMemPrefetchAsync", 8000, 0, NULL)), "cuMemPrefetchAsync") == 0);
  EXPECT(strcmp(recorded_as(look_up("cuMemPrefetchAsync", 12000, 0, NULL)), "cuMemPrefetchAsync") == 0);
  EXPECT(strcmp(recorded_as(look_up("cuMemPrefetchAsync", 12020, 0, NULL)), "cuMemPrefetchAsync_v2") == 0);
  EXPECT(strcmp(recorded_as(look_up("cuMemPrefetchAsync", 12020, 2, NULL)), "cuMemPrefetchAsync_v2_ptsz") == 0);
  EXPECT(strcmp(recorded_as(look_up("cuCtxCreate", 12000, 0, NULL)), "cuCtxCreate_v3") == 0);
  EXPECT(strcmp(recorded_as(look_up("cuMemcpyHtoD", 7000, 2, NULL)), "cuMemcpyHtoD_v2_ptds") == 0);
  EXPECT(strcmp(recorded_as(look_up("cuMemFree", 13000, 2, NULL)), "cuMemFree_v2") == 0);
}

static void lookup_of_lookup(void) {
  EXPECT(strcmp(recorded_as(look_up("cuGetProcAddress", 12000, 0, NULL)), "cuGetProcAddress_v2") == 0);
  EXPECT(strcmp(recorded_as(look_up("cuGetProcAddress", 11030, 0, NULL)), "cuGetProcAddress") == 0);
}

static void bad_questions(void) {
  CUdriverProcAddressQueryResult status;
  void *address;
  EXPECT(look_up("cuNoSuchThing", 13000, 0, &status) == NULL);
  EXPECT_EQUAL(status, CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
  EXPECT(look_up("cuMemAllocAsync", 11000, 0, &status) == NULL);
  EXPECT_EQUAL(status, CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT);
  EXPECT_EQUAL(cuGetProcAddress_v2("cuInit", &address, 13010, 0, NULL), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQUAL(cuGetProcAddress_v2("cuInit", &address, 13000, 3, NULL), CUDA_ERROR_INVALID_VALUE);
  OK(cuGetProcAddress("cuNoSuchThing", &address, 13000, 0));
  EXPECT(address == NULL);
}

static void older_driver(void) {
  CUdriverProcAddressQueryResult status;
  void *address;
  int version;
  OK(cuDriverGetVersion(&version));
  EXPECT_EQUAL(version, 11040);
  EXPECT(look_up("cuGraphInstantiateWithParams", 11040, 0, &status) == NULL);
  EXPECT_EQUAL(status, CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
  EXPECT_EQUAL(cuGetProcAddress_v2("cuInit", &address, 12000, 0, NULL), CUDA_ERROR_INVALID_VALUE);
}

static void arguments_are_kept(void) {
  struct sim_call call;
  start();
  CUfunction function = kernel("k");
  sim_record(1);
  OK(cuLaunchKernel_ptsz(function, 1, 2, 3, 4, 5, 6, 7, NULL, NULL, NULL));
  EXPECT_EQUAL(sim_count("cuLaunchKernel_ptsz"), 1);
  EXPECT_EQUAL(sim_count("cuLaunchKernel"), 0);
  EXPECT(sim_call(0, &call) == 0);
  EXPECT_EQUAL(call.route, 'd');
  EXPECT_EQUAL(call.argc, 11);
  EXPECT(call.args[0] == (uint64_t)function);
  for (unsigned i = 1; i < 8; i++) EXPECT_EQUAL((uint32_t)call.args[i], i);
  EXPECT_EQUAL(call.stream, 0);
}

static void per_thread_default_stream(void) {
  unsigned long long legacy, own;
  start();
  OK(cuStreamGetId(NULL, &legacy));
  OK(cuStreamGetId_ptsz(NULL, &own));
  EXPECT(legacy != own);
  OK(cuStreamGetId(CU_STREAM_PER_THREAD, &legacy));
  EXPECT_EQUAL(legacy, own);
}

static void stack_stream_is_translated(void) {
  start();
  CUfunction function = kernel("k_1ms");
  OK(cuLaunchKernel_ptsz(function, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL));
  EXPECT_EQUAL(cuStreamQuery(CU_STREAM_PER_THREAD), CUDA_ERROR_NOT_READY);
  EXPECT_EQUAL(cuStreamQuery(CU_STREAM_LEGACY), CUDA_SUCCESS);
}

static void faults_answer(void) {
  CUdeviceptr address;
  CUevent event;
  start();
  EXPECT_EQUAL(sim_fail("cuMemAlloc_v2", 2, CUDA_ERROR_OUT_OF_MEMORY), 0);
  OK(cuMemAlloc_v2(&address, 1));
  EXPECT_EQUAL(cuMemAlloc_v2(&address, 1), CUDA_ERROR_OUT_OF_MEMORY);
  OK(cuMemAlloc_v2(&address, 1));
  EXPECT_EQUAL(sim_fail("cuEventCreate", 0, CUDA_ERROR_INVALID_CONTEXT), 0);
  for (int i = 0; i < 3; i++) EXPECT_EQUAL(cuEventCreate(&event, 0), CUDA_ERROR_INVALID_CONTEXT);
  EXPECT_EQUAL(sim_fail("cuEventCreate", 0, 0), 0);
  OK(cuEventCreate(&event, 0));
  EXPECT_EQUAL(sim_fail("cuNoSuchThing", 1, 1), -1);
}

static void tables(void) {
  const void *table;
  CUuuid known = {{0xf8, 0xcf, 0xf9, 0x51, 0x21, 0x46, 0x8b, 0x4e, 0xb9, 0xe2, 0xfb, 0x46, 0x9e, 0x7c, 0x0d, 0xd9}};
  CUuuid unknown = {{1}};
  OK(cuGetExportTable(&table, &known));
  EXPECT(*(const size_t *)table > 0);
  EXPECT_EQUAL(cuGetExportTable(&table, &unknown), CUDA_ERROR_NOT_FOUND);
}

/* The list itself: every row is exported, and handed out at another address. */
static const struct { const char *symbol, *name; int since; } rows[] = {
#define ENTRY(symbol, name, since, form, argc, stream, body) {#symbol, #name, since},
#define ABSENT(symbol, name, since, form) {#symbol, #name, since},
#include "entries.def"
#undef ENTRY
#undef ABSENT
};

static void whole_list(void) {
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    void *exported = dlsym(RTLD_DEFAULT, rows[i].symbol), *address = NULL;
    EXPECT(exported != NULL);
    OK(cuGetProcAddress_v2(rows[i].name, &address, rows[i].since, 0, NULL));
    EXPECT(address != NULL || strstr(rows[i].symbol, "_pt") != NULL);
    EXPECT(address != exported);
  }
}

static void what_is_not_simulated(void) {
  EXPECT_EQUAL(cuMulticastCreate(NULL, NULL), CUDA_ERROR_NOT_SUPPORTED);
}

static const struct test tests[] = {
    {"cuGetProcAddress hands out other addresses than dlsym", addresses_differ, NULL},
    {"all exports have a second address", whole_list, NULL},
    {"the asked version and flag choose the ABI form", versions_choose_forms, NULL},
    {"cuGetProcAddress finds itself in both forms", lookup_of_lookup, NULL},
    {"unknown names succeed with NULL, wrong versions say why", bad_questions, NULL},
    {"an older driver does not know newer names", older_driver, "driver_version 11040\n"},
    {"a recorded call keeps form, route and every argument", arguments_are_kept, NULL},
    {"a NULL stream means another stream in the per-thread forms", per_thread_default_stream, NULL},
    {"that holds for a stream passed on the stack", stack_stream_is_translated, NULL},
    {"a fault answers on the nth call, or on all", faults_answer, NULL},
    {"export tables answer by their id", tables, NULL},
    {"what is not simulated says so", what_is_not_simulated, NULL},
};
RUN_TESTS(tests)
