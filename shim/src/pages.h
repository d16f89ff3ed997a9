/* Opening, checking and mapping the two pages. No accounting here. */
#ifndef VGPU_PAGES_H
#define VGPU_PAGES_H

#include "vgpu_region.h"

#define VGPU_API __attribute__((visibility("default")))

/* Maps the first `size` bytes of a file and checks that it has them; 0 or -errno. */
int pages_map(int fd, size_t size, int writable, void **out);
/* Whether a mapped page starts the way ours do. */
int pages_limits_sound(const struct vgpu_limits *page);
int pages_usage_sound(const struct vgpu_usage *page);
/* Fills in an empty usage page; the caller made it big enough. */
void pages_usage_format(struct vgpu_usage *page);

#endif
