/*
 * The program that the recorder runs operations in. It has one mapping, no stack, no C library and no signal handler: the
 * recorder sets the registers, lets it run to the next int3 and looks at what became of it. Page 0 holds the ELF header and the
 * routines below, the sixteen pages behind it are room for the arguments of system calls.
 *
 * Loads and stores are loops so that n accesses cost one stop and not n. An access that faults stops at its own instruction; the
 * recorder goes on behind it, as if the access had been skipped.
 */
#include "routines.h"
        .macro  same a, b               /* stops the assembly where an instruction is not as long as routines.h says */
        .if     (\a) - (\b)
        .error  "routines.h is wrong"
        .endif
        .endm

        .text
        .globl  _start
_start: int3

        .org    AT_SYSCALL, 0x90
        syscall
        int3

        .org    AT_LOAD, 0x90           /* rdi address, ecx count (at most 8) -> rbx: one byte an access, the first uppermost */
1:      movzbl  (%rdi),%eax
2:      shl     $8,%rbx
        or      %rax,%rbx
        add     $4096,%rdi
        dec     %ecx
        jnz     1b
        int3
        same    2b-1b, BYTES_OF_LOAD

        .org    AT_STORE, 0x90          /* rdi address, ecx count, sil the byte, one more for each access */
1:      movb    %sil,(%rdi)
2:      inc     %esi
        add     $4096,%rdi
        dec     %ecx
        jnz     1b
        int3
        same    2b-1b, BYTES_OF_STORE

        .org    AT_LOAD8, 0x90          /* rdi address -> rax */
        movq    (%rdi),%rax
        int3

        .org    AT_STORE8, 0x90         /* rdi address, rsi word */
        movq    %rsi,(%rdi)
        int3

        .org    AT_COMPARE, 0x90        /* rdi address, ecx count, sil the new byte where the old one is 0 */
0:      xor     %eax,%eax
1:      lock    cmpxchgb %sil,(%rdi)
2:      add     $4096,%rdi
        dec     %ecx
        jnz     0b
        int3
        same    2b-1b, BYTES_OF_COMPARE

        .section .room,"aw",@progbits
        .balign 4096
        .fill   65536,1,0
