/* Watching calls: what sim_record() keeps, what VGPU_SIM_TRACE writes, and the faults
 * that answer in a body's place.
 */
#ifndef SIM_RECORD_H
#define SIM_RECORD_H

#include <stdint.h>

struct entry { /* a row of the list of exports */
  const char *symbol, *name; /* the export; what cuGetProcAddress calls it */
  uint32_t since;            /* first CUDA version with this ABI; 0 in the NVML list */
  uint8_t form, argc, stream, absent;
};

enum { FORM_LEGACY, FORM_PTSZ, FORM_PTDS };

extern const struct entry entries[];
extern const unsigned entry_count;
extern const void *const entry_addresses[]; /* what cuGetProcAddress hands out, by row */

/* Reads VGPU_SIM_TRACE and VGPU_SIM_FAIL. */
void record_open(void);

#endif
