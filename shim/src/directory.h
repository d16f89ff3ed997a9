/* Where the slice's files are: /run/vgpu, or VGPU_DIR only where that does not exist. */
#ifndef VGPU_DIRECTORY_H
#define VGPU_DIRECTORY_H

/* The directory, without a trailing slash; "" when the process is in no slice. */
const char *directory_path(void);

/* "DIR/NAME" into a buffer; 0, or -ENAMETOOLONG. */
int directory_file(char *path, unsigned long space, const char *name);

#define DIRECTORY_LIMITS "limits"        /* the limits page */
#define DIRECTORY_USAGE "usage/accounts" /* the usage page */
#define DIRECTORY_REQUIRED "required"    /* there must be a limits page */

#endif
