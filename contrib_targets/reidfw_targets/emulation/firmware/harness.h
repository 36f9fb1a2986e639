/* What start-up code, clock and harness share. Every name begins with reidfw_: the tools tell them from the model by it.
 *
 * Macros that the build sets:
 *   REIDFW_CLOCK_SYSTICK     instructions are read from SysTick (QEMU, where a tick is a fixed number of them);
 *                            without it no clock is read (unicorn counts by itself)
 *   MODEL_TRACE              the model hands over each row of each tensor, and tells each step
 */
#ifndef REIDFW_HARNESS_H
#define REIDFW_HARNESS_H

#include <stdint.h>

#define REIDFW_STACK_PAINT 0xa5c3965au

/* What the records of the result file hold; reidfw_targets/emulation/records.py reads them. */
#define REIDFW_RECORD_TRACE 1u     /* a: tensor, b: row; payload: the row */
#define REIDFW_RECORD_START 2u     /* a: image; the network starts with the next call */
#define REIDFW_RECORD_EMBEDDING 3u /* a: image, b: what the model returned; payload: its output */
#define REIDFW_RECORD_STACK 4u     /* a: bytes of stack used */
#define REIDFW_RECORD_FAULT 5u     /* a: program counter, b: fault address; payload: CFSR, HFSR */
#define REIDFW_RECORD_STEP 6u      /* a: operator that has done one more step */

#define REIDFW_EXIT_NO_INPUT 2u
#define REIDFW_EXIT_NO_RESULT 3u
#define REIDFW_EXIT_FAULT 4u

/* clock.c */
void reidfw_prepare_processor(void);
void reidfw_clock_start(void);
uint64_t reidfw_clock(void);
void reidfw_clock_overflow(void);

/* harness.c */
int reidfw_main(void);
void reidfw_report_fault(const uint32_t *frame);
void reidfw_exit(uint32_t status) __attribute__((noreturn));

#endif
