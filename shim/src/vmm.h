/* Physical memory made by cuMemCreate: charged until nothing refers to it and
 * nothing maps it. */
#ifndef VGPU_VMM_H
#define VGPU_VMM_H

void vmm_after_fork(void);

#endif
