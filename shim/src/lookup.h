/* Which addresses of the real driver stand for which hook. */
#ifndef VGPU_LOOKUP_H
#define VGPU_LOOKUP_H

struct real_cuda;
struct real_nvml;

void lookup_fill_cuda(const struct real_cuda *table);
void lookup_fill_nvml(const struct real_nvml *table);

/* The hook for a real address, or that address itself. */
void *lookup_substitute(void *address);

#endif
