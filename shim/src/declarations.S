/* The header's text inside the library: cffi reads the layout of the very library
 * that it opened. */
        .section .rodata
        .globl  vgpu_header_text
        .hidden vgpu_header_text
vgpu_header_text:
        .incbin "vgpu_region.h"
        .byte   0
        .section .note.GNU-stack, "", @progbits
