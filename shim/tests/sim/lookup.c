/* The list of exports as data, and cuGetProcAddress on it. */
#include <string.h>

#include "cuda_abi.h"
#include "process.h"
#include "record.h"

enum { BUCKETS = 1024, NONE = -1 };

const struct entry entries[] = {
#define ENTRY(symbol, name, since, form, argc, stream, body) {#symbol, #name, since, FORM_##form, argc, stream, 0},
#define ABSENT(symbol, name, since, form) {#symbol, #name, since, FORM_##form, 0, 0, 1},
#include "entries.def"
#undef ENTRY
#undef ABSENT
};

enum { ENTRIES = sizeof entries / sizeof entries[0] };
const unsigned entry_count = ENTRIES;

static int16_t first[BUCKETS], following[ENTRIES]; /* chains of rows by hash of the name */

static unsigned bucket(const char *name) {
  unsigned hash = 2166136261U;
  for (; *name != '\0'; name++) hash = (hash ^ (unsigned char)*name) * 16777619U;
  return (hash ^ hash >> 16) % BUCKETS;
}

__attribute__((constructor)) static void index_names(void) {
  for (int i = 0; i < BUCKETS; i++) first[i] = NONE;
  for (int row = 0; row < ENTRIES; row++) {
    unsigned place = bucket(entries[row].name);
    following[row] = first[place];
    first[place] = (int16_t)row;
  }
}

static bool better(int row, int best) { return best == NONE || entries[row].since > entries[best].since; }

/* The newest form that `version` may have: of the wanted kind where there is one, else the plain one. */
static int find(const char *name, int version, int driver, bool per_thread, bool *known) {
  int plain = NONE, wanted = NONE;
  *known = false;
  for (int row = first[bucket(name)]; row != NONE; row = following[row]) {
    if (strcmp(entries[row].name, name) != 0 || (int)entries[row].since > driver) continue;
    *known = true;
    if ((int)entries[row].since > version) continue;
    if (entries[row].form == FORM_LEGACY && better(row, plain)) plain = row;
    if (entries[row].form != FORM_LEGACY && better(row, wanted)) wanted = row;
  }
  return per_thread && wanted != NONE ? wanted : plain;
}

static CUresult look_up(const char *name, void **address, int version, uint64_t flags, CUdriverProcAddressQueryResult *status) {
  int driver = (int)option_value(state_open(), OPTION_driver_version);
  if (name == NULL || address == NULL || flags > 2 || version > driver) return CUDA_ERROR_INVALID_VALUE;
  bool known;
  int row = find(name, version, driver, (flags & CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM) != 0, &known);
  *address = row == NONE ? NULL : (void *)entry_addresses[row];
  if (status == NULL) return CUDA_SUCCESS;
  *status = row != NONE ? CU_GET_PROC_ADDRESS_SUCCESS
            : known     ? CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT
                        : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
  return CUDA_SUCCESS;
}

CUresult sim_cuGetProcAddress(const char *name, void **address, int version, uint64_t flags) {
  if (state_open() == NULL) return CUDA_ERROR_OPERATING_SYSTEM;
  return look_up(name, address, version, flags, NULL);
}

CUresult sim_cuGetProcAddress_v2(const char *name, void **address, int version, uint64_t flags,
                                 CUdriverProcAddressQueryResult *status) {
  if (state_open() == NULL) return CUDA_ERROR_OPERATING_SYSTEM;
  return look_up(name, address, version, flags, status);
}

/* Rows that the simulated driver names but cannot do. */
CUresult sim_absent(void) { return CUDA_ERROR_NOT_SUPPORTED; }

/* The undocumented tables: known by their id, their content is nobody's business but the runtime's. */
CUresult sim_cuGetExportTable(const void **table, const CUuuid *id) {
  static const uint64_t empty[64] = {sizeof empty}; /* a table begins with its size in bytes */
  static const unsigned char known[2][16] = {
      {0xf8, 0xcf, 0xf9, 0x51, 0x21, 0x46, 0x8b, 0x4e, 0xb9, 0xe2, 0xfb, 0x46, 0x9e, 0x7c, 0x0d, 0xd9},
      {0x6b, 0xd5, 0xfb, 0x6c, 0x5b, 0xf4, 0xe7, 0x4a, 0x89, 0x87, 0xd9, 0x39, 0x12, 0xfd, 0x9d, 0xf9}};
  if (table == NULL || id == NULL) return CUDA_ERROR_INVALID_VALUE;
  for (int i = 0; i < 2; i++)
    if (memcmp(id->bytes, known[i], sizeof known[i]) == 0) return *table = empty, CUDA_SUCCESS;
  *table = NULL;
  return CUDA_ERROR_NOT_FOUND;
}
