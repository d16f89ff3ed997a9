/* Binds to the oldest versions of what glibc 2.34 renamed when it took in libdl
 * and libpthread, so that one build runs in containers of any age (2.17 on). */
#ifndef VGPU_PORTABLE_H
#define VGPU_PORTABLE_H

#if defined(__x86_64__)
#define OLDEST(symbol) __asm__(".symver " #symbol "," #symbol "@GLIBC_2.2.5")
#else
#define OLDEST(symbol) __asm__(".symver " #symbol "," #symbol "@GLIBC_2.17")
#endif

#endif
