/* Counts the cycles that a generated model takes on a board, with the processor's own counter (DWT CYCCNT).
 *
 * How to use it: add this file and the files that `reidfw compile` wrote to a project that runs on the board (clocks,
 * flash wait states and caches set as in the product, since they decide the result), call cycles_measure() with a
 * function that prints through a UART or a debugger, and store what it prints as cycles.csv. Then
 *
 *     benchmarking:
 *       tool: portable_c
 *       tool_options: { calibration: cycles.csv }
 *
 * makes reports say "calibrated on BOARD" instead of "modelled". The counter has 32 bits: 7 s at 600 MHz.
 *
 * Source: Armv7-M and Armv8-M Architecture Reference Manuals, Data Watchpoint and Trace unit.
 */
#include "cycles.h"

#include <stdint.h>

#include "model.h"

#define REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))
#define DEMCR REGISTER(0xe000edfcu)
#define DWT_CONTROL REGISTER(0xe0001000u)
#define DWT_CYCLES REGISTER(0xe0001004u)
#define DWT_LOCK_ACCESS REGISTER(0xe0001fb0u) /* of a Cortex-M7 */

static model_output_t embedding[MODEL_EMBEDDING_SIZE];

#if !MODEL_INPUT_IS_RESIDENT
static model_input_t pixels[(unsigned)MODEL_INPUT_WIDTH * (unsigned)MODEL_INPUT_CHANNELS];

/* What is on the image does not matter for the time. */
static const model_input_t *next_row(void *user, int row)
{
    (void)user;
    pixels[0] = (model_input_t)row;
    return pixels;
}
#endif

static char *put_text(char *to, const char *text, const char *end)
{
    while ((*text != '\0') && (to < end)) {
        *to++ = *text++;
    }
    return to;
}

static char *put_number(char *to, unsigned long number, const char *end)
{
    char digits[11];
    int count = 0;
    do {
        digits[count++] = (char)('0' + (int)(number % 10u));
        number /= 10u;
    } while (number > 0u);
    while ((count > 0) && (to < end)) {
        *to++ = digits[--count];
    }
    return to;
}

void cycles_measure(const char *board, unsigned long instructions, int repeats, void (*print)(const char *line))
{
    char line[96];
    const char *const end = line + sizeof line - 2;
    int i;

    DEMCR |= (uint32_t)1u << 24;
    DWT_LOCK_ACCESS = 0xc5acce55u;
    DWT_CONTROL |= 1u;
    print("board,instructions,cycles\n");
    for (i = 0; i < repeats; i++) {
        uint32_t cycles = DWT_CYCLES;
        char *to = line;
#if MODEL_INPUT_IS_RESIDENT
        const int status = model_run_image(model_image(), embedding);
#else
        const int status = model_run_rows(next_row, 0, embedding);
#endif
        cycles = DWT_CYCLES - cycles;
        if (status != MODEL_OK) {
            print("the model failed\n");
            return;
        }
        to = put_text(to, board, end);
        to = put_text(to, ",", end);
        to = put_number(to, instructions, end);
        to = put_text(to, ",", end);
        to = put_number(to, cycles, end);
        *to++ = '\n';
        *to = '\0';
        print(line);
    }
}
