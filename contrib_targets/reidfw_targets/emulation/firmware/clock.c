/* The processor's own registers: the floating point unit, and the clock by which a run in QEMU is counted.
 *
 * Source: Armv7-M and Armv8-M Architecture Reference Manuals (system control space, SysTick).
 */
#include "harness.h"

#define REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))

#define CPACR REGISTER(0xe000ed88u)
#define SYSTICK_CONTROL REGISTER(0xe000e010u)
#define SYSTICK_RELOAD REGISTER(0xe000e014u)
#define SYSTICK_VALUE REGISTER(0xe000e018u)

#define FULL_ACCESS_TO_FPU (0xfu << 20)
#define TICKS 0x1000000u /* SysTick has 24 bits; each time round counts one interrupt */

void reidfw_prepare_processor(void)
{
    CPACR |= FULL_ACCESS_TO_FPU;
    __asm__ volatile("dsb\n isb" ::: "memory");
}

#if defined(REIDFW_CLOCK_SYSTICK)

static volatile uint32_t reidfw_wraps;

void reidfw_clock_start(void)
{
    SYSTICK_RELOAD = TICKS - 1u;
    SYSTICK_VALUE = 0u;
    SYSTICK_CONTROL = 7u; /* processor clock, interrupt, on */
}

uint64_t reidfw_clock(void)
{
    uint32_t wraps, value;
    do {
        wraps = reidfw_wraps;
        value = SYSTICK_VALUE;
    } while (wraps != reidfw_wraps);
    return (uint64_t)wraps * TICKS + ((TICKS - value) & (TICKS - 1u)); /* it counts down, and 0 comes first */
}

void reidfw_clock_overflow(void)
{
    reidfw_wraps++;
}

#else /* the emulator counts by itself */

void reidfw_clock_start(void)
{
}

uint64_t reidfw_clock(void)
{
    return 0u;
}

void reidfw_clock_overflow(void)
{
}

#endif
