/* Arm semihosting: how firmware talks to an emulator or a debugger without any peripheral of the board.
 *
 * Source: Arm, "Semihosting for AArch32 and AArch64" (release 2.0). The same calls work in the emulators here, in QEMU
 * with -semihosting, and on a board behind OpenOCD or another debugger that has semihosting switched on.
 */
#ifndef REIDFW_SEMIHOSTING_H
#define REIDFW_SEMIHOSTING_H

#include <stdint.h>

#define SEMIHOSTING_OPEN 0x01u
#define SEMIHOSTING_CLOSE 0x02u
#define SEMIHOSTING_WRITE0 0x04u
#define SEMIHOSTING_WRITE 0x05u
#define SEMIHOSTING_READ 0x06u
#define SEMIHOSTING_EXIT_EXTENDED 0x20u
#define SEMIHOSTING_READ_BINARY 1u
#define SEMIHOSTING_WRITE_BINARY 5u
#define SEMIHOSTING_APPLICATION_EXIT 0x20026u

/* One call; the meaning of `argument` and of the result depends on the operation. */
static inline int32_t semihosting(uint32_t operation, const void *argument)
{
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return (int32_t)r0;
}

#endif
