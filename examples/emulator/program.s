# Memory that is asked for, shared by copy on write, taken away and protected.
    li    a0, 0             # mmap(0, 64 KiB, read and write, private and anonymous, -1, 0)
    li    a1, 0x10000
    li    a2, 3
    li    a3, 0x22
    li    a4, -1
    li    a5, 0
    li    a7, 222
    ecall
    addi  t0, a0, 0         # t0: the memory
    li    t7, 0
    li    t1, greeting
    ld.16 t2, 0(t1)         # 16 bytes into t2 and t3 …
    st.16 t2, 4091(t0)      # … and out over the end of a page
    jal   t6, show
    li    a7, 220           # fork
    ecall
    beq   a0, t7, child

    li    a0, -1            # wait4(-1, &status)
    addi  a1, t0, 0
    li    a7, 260
    ecall
    ld.4  t1, 0(t0)
    li    t2, 11
    bne   t1, t2, wrong     # it died of SIGSEGV
    jal   t6, show          # what the child wrote is not here

    li    a0, 11            # sigaction(SIGSEGV, repair)
    li    a1, repair
    li    a7, 134
    ecall
    li    a2, 1
    jal   t6, protect       # the memory may only be read
    li    t1, 0x21          # '!'
    st.1  t1, 4105(t0)      # in place of the full stop: faults, is repaired, is done again
    jal   t6, show
    li    a0, 0
    jal   t6, exit

child:
    li    t1, 0x4a          # 'J'
    st.1  t1, 4091(t0)
    jal   t6, show
    addi  a0, t0, 0
    li    a1, 0x10000
    li    a7, 215           # munmap
    ecall
    st.8  t1, 0(t0)         # there is nothing any more

wrong:
    li    a0, 1
exit:
    li    a7, 93
    ecall

show:                       # write(1, t0 + 4091, 16)
    li    a0, 1
    addi  a1, t0, 4091
    li    a2, 16
    li    a7, 64
    ecall
    jr    t6

protect:                    # mprotect(t0, 64 KiB, a2)
    addi  a0, t0, 0
    li    a1, 0x10000
    li    a7, 226
    ecall
    jr    t6

repair:                     # the handler: a0 signal, a1 code, a2 address
    li    t1, 2
    bne   a1, t1, wrong     # SEGV_ACCERR
    li    a2, 3
    jal   t6, protect
    li    a7, 139           # sigreturn
    ecall

greeting:
    .ascii "Hello, my page.\n"
