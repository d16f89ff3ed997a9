/* One thunk per row of the list and per route: the exported symbol, and the address
 * that cuGetProcAddress hands out. The two differ on purpose. A thunk jumps to the
 * body; while calls are watched it first tells record.c (row, route, argument
 * registers, stack), which may answer in the body's place. In the per-thread-default
 * forms a NULL stream argument becomes CU_STREAM_PER_THREAD (2) on the way.
 *
 * LIST is the file of rows, TABLE the name of the table of handed-out addresses.
 */
#ifndef __x86_64__
#error "the simulated driver's thunks are written for x86-64; add the other architecture's here"
#endif

  .text
  .hidden sim_watched
  .hidden record_call

/* In: eax row << 8 | route, r11 body. Keeps every argument as it was. */
watched:
  push %r9
  push %r8
  push %rcx
  push %rdx
  push %rsi
  push %rdi
  push %r11
  mov %eax, %edi
  lea 8(%rsp), %rsi          /* six registers, return address, stack arguments */
  sub $16, %rsp              /* keeps the stack aligned, takes the answer */
  mov %rsp, %rdx
  call record_call           /* 1: *rdx is the answer */
  mov (%rsp), %r10
  add $16, %rsp
  pop %r11
  pop %rdi
  pop %rsi
  pop %rdx
  pop %rcx
  pop %r8
  pop %r9
  test %eax, %eax
  jnz 1f
  jmp *%r11
1:
  mov %r10d, %eax
  ret

  .set row, 0

/* The stream argument's place, counted from 1: registers, then the stack behind the return address. */
#define STREAM_0
#define STREAM_1 test %rdi, %rdi; jnz 9f; mov $2, %edi; 9:
#define STREAM_2 test %rsi, %rsi; jnz 9f; mov $2, %esi; 9:
#define STREAM_3 test %rdx, %rdx; jnz 9f; mov $2, %edx; 9:
#define STREAM_4 test %rcx, %rcx; jnz 9f; mov $2, %ecx; 9:
#define STREAM_5 test %r8, %r8; jnz 9f; mov $2, %r8d; 9:
#define STREAM_6 test %r9, %r9; jnz 9f; mov $2, %r9d; 9:
#define STREAM_7 cmpq $0, 8(%rsp); jnz 9f; movq $2, 8(%rsp); 9:
#define STREAM_9 cmpq $0, 24(%rsp); jnz 9f; movq $2, 24(%rsp); 9:
#define DEFAULT_LEGACY(stream)
#define DEFAULT_PTDS(stream)
#define DEFAULT_PTSZ(stream) STREAM_##stream

#define THUNK(label, code, form, stream, body) \
  .p2align 4; \
  .type label, @function; \
  label: cmpb $0, sim_watched(%rip); \
  jne 1f; \
  DEFAULT_##form(stream) \
  jmp body; \
  1: mov $(row << 8 | code), %eax; \
  lea 2f(%rip), %r11; \
  jmp watched; \
  2: DEFAULT_##form(stream) \
  jmp body; \
  .size label, . - label;

#define BODY(symbol, form, stream, body) \
  .globl symbol; \
  THUNK(symbol, 'd', form, stream, body) \
  THUNK(proc_##symbol, 'p', form, stream, body) \
  .set row, row + 1;

#define ENTRY(symbol, name, since, form, argc, stream, body) .hidden sim_##body; BODY(symbol, form, stream, sim_##body)
#define ABSENT(symbol, name, since, form) .hidden sim_absent; BODY(symbol, LEGACY, 0, sim_absent)
#include LIST
#undef ENTRY
#undef ABSENT

  .section .data.rel.ro, "aw"
  .globl TABLE
  .hidden TABLE
  .p2align 3
TABLE:
#define ENTRY(symbol, name, since, form, argc, stream, body) .quad proc_##symbol;
#define ABSENT(symbol, name, since, form) .quad proc_##symbol;
#include LIST

  .section .note.GNU-stack, "", @progbits
