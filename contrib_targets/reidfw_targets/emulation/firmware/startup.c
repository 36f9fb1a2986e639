/* Vector table and reset of a Cortex-M: memory, floating point unit, painted stack, then the harness.
 *
 * The stack lies at the very bottom of the RAM (see the linker script): one that is too small runs out of the memory
 * and faults, instead of overwriting variables.
 */
#include <stdint.h>

#include "harness.h"

typedef void (*handler_t)(void);

extern uint32_t reidfw_stack_start[], reidfw_stack_end[];
extern uint32_t reidfw_data_start[], reidfw_data_end[], reidfw_data_load[];
extern uint32_t reidfw_bss_start[], reidfw_bss_end[];

void reidfw_reset(void);
void reidfw_fault(void);

__attribute__((section(".vectors"), used)) static const handler_t vectors[16] = {
    (handler_t)(void *)reidfw_stack_end,
    reidfw_reset,
    reidfw_fault, /* NMI */
    reidfw_fault, /* hard fault */
    reidfw_fault, /* memory management */
    reidfw_fault, /* bus */
    reidfw_fault, /* usage */
    reidfw_fault, /* secure */
    reidfw_fault, reidfw_fault, reidfw_fault, reidfw_fault, reidfw_fault, reidfw_fault,
    reidfw_fault, /* PendSV */
    reidfw_clock_overflow, /* SysTick */
};

void reidfw_reset(void)
{
    reidfw_prepare_processor();
    const uint32_t *load = reidfw_data_load;
    for (uint32_t *word = reidfw_data_start; word < reidfw_data_end; word++) {
        *word = *load++;
    }
    for (uint32_t *word = reidfw_bss_start; word < reidfw_bss_end; word++) {
        *word = 0u;
    }
    uint32_t *const here = __builtin_frame_address(0);
    for (uint32_t *word = reidfw_stack_start; word < here - 16; word++) {
        *(volatile uint32_t *)word = REIDFW_STACK_PAINT;
    }
    reidfw_exit((uint32_t)reidfw_main());
}

/* A fault ends the run; the frame that the processor saved tells where it came from. */
__attribute__((naked)) void reidfw_fault(void)
{
    __asm__ volatile("mrs r0, msp\n bl reidfw_report_fault\n b .");
}
