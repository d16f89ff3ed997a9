/* Launches: held back while the slice is in debt, and measured. */
#ifndef VGPU_LAUNCH_H
#define VGPU_LAUNCH_H

#include "cuda_abi.h"

/* Ends what this thread has under measurement: before it waits, or captures. */
void launch_close_all(void);
void launch_forget_context(CUcontext context);
void launch_after_fork(void);

#endif
