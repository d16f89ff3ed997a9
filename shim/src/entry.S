/* What C cannot say: jumps that leave every register as it was.
 *
 *  - one entry per function that is passed through: `jmp *table(%rip)`, whose
 *    table entry leads to a resolver until the first call;
 *  - dlsym, which must look to glibc as if its caller had called it.
 */
#if !defined(__x86_64__)
#error "entry.S knows x86-64 only"
#endif

        .text
        .macro  PASS_ENTRY name         /* \@ counts the entries: the only macro here */
        .globl  \name
        .type   \name, @function
        .balign 16
\name:
        jmp     *passthrough_table+8*\@(%rip)
        .size   \name, .-\name
        .local  .Lfirst_\name
.Lfirst_\name:
        pushq   $\@
        jmp     .Lresolve
        .pushsection .data.rel.local, "aw"
        .quad   .Lfirst_\name
        .popsection
        .endm

        .section .data.rel.local, "aw"
        .balign 8
        .globl  passthrough_table
        .hidden passthrough_table
passthrough_table:
        .text

#define PASS(name) PASS_ENTRY name ;
#include "passthrough.def"

/* On the stack: index, the caller's return address. Saves whatever may carry an
 * argument, fetches the real address, and jumps there. */
        .balign 16
.Lresolve:
        pushq   %rdi
        pushq   %rsi
        pushq   %rdx
        pushq   %rcx
        pushq   %r8
        pushq   %r9
        pushq   %rax
        subq    $72, %rsp               /* 8 of them keep the stack aligned */
        movsd   %xmm0, (%rsp)
        movsd   %xmm1, 8(%rsp)
        movsd   %xmm2, 16(%rsp)
        movsd   %xmm3, 24(%rsp)
        movq    128(%rsp), %rdi
        call    passthrough_resolve
        movq    %rax, %r11
        movsd   (%rsp), %xmm0
        movsd   8(%rsp), %xmm1
        movsd   16(%rsp), %xmm2
        movsd   24(%rsp), %xmm3
        addq    $72, %rsp
        popq    %rax
        popq    %r9
        popq    %r8
        popq    %rcx
        popq    %rdx
        popq    %rsi
        popq    %rdi
        addq    $8, %rsp
        jmp     *%r11

#ifndef VGPU_WITHOUT_DLSYM              /* a sanitizer's runtime needs the name for itself */
        .globl  dlsym
        .type   dlsym, @function
        .balign 16
dlsym:
        cmpq    $-1, %rdi               /* RTLD_NEXT asks for what comes after the caller */
        je      .Lforward
        testq   %rsi, %rsi
        je      .Lforward
        cmpb    $'c', (%rsi)
        jne     .Lnvml
        cmpb    $'u', 1(%rsi)
        jne     .Lforward
        movb    2(%rsi), %al
        jmp     .Lcapital
.Lnvml:
        cmpb    $'n', (%rsi)            /* byte by byte: a short name may end where memory ends */
        jne     .Lforward
        cmpb    $'v', 1(%rsi)
        jne     .Lforward
        cmpb    $'m', 2(%rsi)
        jne     .Lforward
        cmpb    $'l', 3(%rsi)
        jne     .Lforward
        movb    4(%rsi), %al
.Lcapital:
        subb    $'A', %al
        cmpb    $25, %al
        jbe     lookup_dlsym
.Lforward:
        pushq   %rdi
        pushq   %rsi
        subq    $8, %rsp
        call    lookup_real_dlsym
        addq    $8, %rsp
        popq    %rsi
        popq    %rdi
        jmp     *%rax
        .size   dlsym, .-dlsym
#endif

        .section .note.GNU-stack, "", @progbits
