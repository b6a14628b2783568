/* Where the routines of the executor lie; both the executor and the recorder are made from these numbers. */
#ifndef ROUTINES_H
#define ROUTINES_H
#define HARNESS_START 0x7e0000000000
#define AT_SYSCALL 0x10
#define AT_LOAD 0x20
#define AT_STORE 0x40
#define AT_LOAD8 0x60
#define AT_STORE8 0x70
#define AT_COMPARE 0x80
/* Bytes of the instruction that may fault, to go on behind it. */
#define BYTES_OF_LOAD 3
#define BYTES_OF_STORE 3
#define BYTES_OF_COMPARE 5
/* Code begins behind the ELF header. */
#define AT_CODE 0x400
#define ROUTINE(offset) (HARNESS_START + AT_CODE + (offset))
#endif
