/* Counts the instructions that an emulator executes: one call a basic block, in the emulator's own thread.
 *
 * Built for this computer when a run needs it. An interpreter's callback in this place takes fifty times as long.
 */
#include <stdint.h>

typedef struct {
    uint64_t base;          /* address of the first instruction looked at */
    uint64_t bytes;         /* how many bytes of code there are from there */
    const uint8_t *code;    /* these bytes */
    const uint8_t *counted; /* one flag a halfword: blocks that begin here count */
    uint64_t *runs;         /* one counter a halfword: how often the block that begins here ran */
    uint32_t *instructions; /* one number a halfword: instructions of the block that begins here, 0 unknown */
    uint64_t total;         /* instructions executed */
} reidfw_counter_t;

/* Thumb: halfwords whose five upper bits are 11101, 11110 or 11111 are followed by a second one. */
static uint32_t instructions_of(const uint8_t *code, uint32_t bytes)
{
    uint32_t count = 0;
    for (uint32_t at = 0; at < bytes; count++) {
        at += (code[at + 1] >> 3) >= 29 ? 4 : 2;
    }
    return count;
}

void reidfw_count_block(void *emulator, uint64_t address, uint32_t bytes, void *user)
{
    reidfw_counter_t *counter = user;
    const uint64_t offset = address - counter->base;
    (void)emulator;
    if (offset >= counter->bytes || bytes > counter->bytes - offset || !counter->counted[offset >> 1]) {
        return;
    }
    uint32_t *known = &counter->instructions[offset >> 1];
    if (*known == 0) {
        *known = instructions_of(counter->code + offset, bytes);
    }
    counter->runs[offset >> 1]++;
    counter->total += *known;
}
