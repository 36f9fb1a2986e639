/* Runs the generated model on the images of a file and writes what it gave to another one.
 *
 * It uses nothing of the model but its public interface (model.h). Files and the end of the run go through
 * semihosting, so the same harness runs in unicorn, in QEMU and on a board behind a debugger.
 *
 *   input.bin    one word: the number of images; then the images, row by row
 *   result.bin   records (see harness.h), each with the clock at which it was written
 */
#include "harness.h"
#include "model.h"
#include "semihosting.h"

#define ROW_ELEMENTS ((uint32_t)MODEL_INPUT_WIDTH * (uint32_t)MODEL_INPUT_CHANNELS)

typedef struct {
    uint32_t kind;
    uint32_t a;
    uint32_t b;
    uint32_t bytes;
    uint64_t clock;
} record_t;

extern uint32_t reidfw_stack_start[], reidfw_stack_end[];

static int32_t reidfw_input = -1;
static int32_t reidfw_result = -1;
static uint64_t reidfw_paused; /* what the harness itself took of the clock while the network ran */

#if !MODEL_INPUT_IS_RESIDENT
static model_input_t reidfw_row[ROW_ELEMENTS] __attribute__((aligned(16)));
#endif
static model_output_t reidfw_embedding[MODEL_EMBEDDING_SIZE] __attribute__((aligned(16)));

static int32_t reidfw_open(const char *name, uint32_t length, uint32_t mode)
{
    const uintptr_t arguments[3] = {(uintptr_t)name, mode, length};
    return semihosting(SEMIHOSTING_OPEN, arguments);
}

static void reidfw_write(const void *data, uint32_t bytes)
{
    const uintptr_t arguments[3] = {(uintptr_t)reidfw_result, (uintptr_t)data, bytes};
    if (semihosting(SEMIHOSTING_WRITE, arguments) != 0) {
        reidfw_exit(REIDFW_EXIT_NO_RESULT);
    }
}

static void reidfw_read(void *data, uint32_t bytes)
{
    const uintptr_t arguments[3] = {(uintptr_t)reidfw_input, (uintptr_t)data, bytes};
    if (semihosting(SEMIHOSTING_READ, arguments) != 0) {
        reidfw_exit(REIDFW_EXIT_NO_INPUT);
    }
}

static void reidfw_record(uint32_t kind, uint32_t a, uint32_t b, const void *payload, uint32_t bytes, uint64_t clock)
{
    const record_t record = {kind, a, b, bytes, clock};
    reidfw_write(&record, (uint32_t)sizeof record);
    if (bytes > 0u) {
        reidfw_write(payload, bytes);
    }
}

#if defined(MODEL_TRACE)
void model_trace(int tensor, int row, const void *data, int bytes)
{
    const uint64_t before = reidfw_clock();
    reidfw_record(REIDFW_RECORD_TRACE, (uint32_t)tensor, (uint32_t)row, data, (uint32_t)bytes, before - reidfw_paused);
    reidfw_paused += reidfw_clock() - before;
}

void model_trace_step(int operator_number)
{
    const uint64_t before = reidfw_clock();
    reidfw_record(REIDFW_RECORD_STEP, (uint32_t)operator_number, 0u, 0, 0u, before - reidfw_paused);
    reidfw_paused += reidfw_clock() - before;
}
#endif

#if !MODEL_INPUT_IS_RESIDENT
static const model_input_t *reidfw_next_row(void *user, int row)
{
    const uint64_t before = reidfw_clock();
    (void)user;
    (void)row;
    reidfw_read(reidfw_row, (uint32_t)sizeof reidfw_row);
    reidfw_paused += reidfw_clock() - before;
    return reidfw_row;
}
#endif

static void reidfw_run(uint32_t image)
{
#if MODEL_INPUT_IS_RESIDENT
    reidfw_read(model_image(), (uint32_t)MODEL_INPUT_HEIGHT * ROW_ELEMENTS * (uint32_t)sizeof(model_input_t));
#endif
    reidfw_record(REIDFW_RECORD_START, image, 0u, &image, 0u, 0u);
    const uint64_t begin = reidfw_clock();
    reidfw_paused = begin;
#if MODEL_INPUT_IS_RESIDENT
    const int status = model_run_image(model_image(), reidfw_embedding);
#else
    const int status = model_run_rows(reidfw_next_row, 0, reidfw_embedding);
#endif
    const uint64_t end = reidfw_clock();
    reidfw_record(REIDFW_RECORD_EMBEDDING, image, (uint32_t)status, reidfw_embedding,
                  (uint32_t)sizeof reidfw_embedding, end - reidfw_paused);
}

static uint32_t reidfw_stack_used(void)
{
    const uint32_t *word = reidfw_stack_start;
    while (word < reidfw_stack_end && *(const volatile uint32_t *)word == REIDFW_STACK_PAINT) {
        word++;
    }
    return (uint32_t)((uintptr_t)reidfw_stack_end - (uintptr_t)word);
}

int reidfw_main(void)
{
    uint32_t images = 0u;
    reidfw_result = reidfw_open("result.bin", 10u, SEMIHOSTING_WRITE_BINARY);
    if (reidfw_result < 0) {
        return (int)REIDFW_EXIT_NO_RESULT;
    }
    reidfw_input = reidfw_open("input.bin", 9u, SEMIHOSTING_READ_BINARY);
    if (reidfw_input < 0) {
        return (int)REIDFW_EXIT_NO_INPUT;
    }
    reidfw_read(&images, (uint32_t)sizeof images);
    reidfw_clock_start();
    for (uint32_t image = 0u; image < images; image++) {
        reidfw_run(image);
    }
    const uint32_t used = reidfw_stack_used();
    reidfw_record(REIDFW_RECORD_STACK, used, 0u, &used, 0u, 0u);
    return 0;
}

/* `frame` holds r0-r3, r12, lr, pc and xpsr as the processor saved them. */
void reidfw_report_fault(const uint32_t *frame)
{
    const uint32_t status[2] = {*(volatile const uint32_t *)0xe000ed28u, *(volatile const uint32_t *)0xe000ed2cu};
    const uint32_t address = *(volatile const uint32_t *)0xe000ed38u;
    if (reidfw_result >= 0) {
        reidfw_record(REIDFW_RECORD_FAULT, frame[6], address, status, (uint32_t)sizeof status, 0u);
    }
    reidfw_exit(REIDFW_EXIT_FAULT);
}

void reidfw_exit(uint32_t status)
{
    const uintptr_t arguments[2] = {SEMIHOSTING_APPLICATION_EXIT, status};
    const uintptr_t result[1] = {(uintptr_t)reidfw_result};
    if (reidfw_result >= 0) {
        (void)semihosting(SEMIHOSTING_CLOSE, result);
    }
    for (;;) {
        (void)semihosting(SEMIHOSTING_EXIT_EXTENDED, arguments);
    }
}
