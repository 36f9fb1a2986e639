/* Softmax in fixed point. Source: Jacob et al. 2018 (see fixed_point.py) and Newton's division. */
#include "pc_kernels.h"

/* A number of at least 0 divided by 2^bits, rounded; unlike pc_shift_rounded up to the largest one. */
static int32_t shifted(int32_t value, int32_t bits)
{
    return ((value >> (bits - 1)) + 1) >> 1;
}

/* 2^62 / (2^31 + fraction), for a fraction in [0, 2^31): one over a number in [1, 2), in units of 2^-31. */
static int32_t reciprocal(int32_t fraction)
{
    int32_t half = (int32_t)(((int64_t)fraction + INT32_MAX + 1) / 2);
    int32_t x = 1515870810 + pc_multiply_high(half, -1010580540);  /* 48/17 - 32/17 * half, in units of 2^-29 */
    int32_t i;

    for (i = 0; i < 3; i++) {
        int32_t rest = (1 << 29) - pc_multiply_high(half, x);
        x += pc_multiply_high(x, rest) * 4;
    }
    return (x >= (1 << 30)) ? INT32_MAX : (x * 2);
}

void pc_softmax_row(const pc_call *call)
{
    const pc_softmax *p = (const pc_softmax *)call->parameters;
    const int8_t *pixel = call->rows[0];
    int8_t *output = call->output;
    uint32_t x;
    uint32_t c;

    for (x = 0u; x < p->width; x++) {
        int32_t largest = -128;
        int32_t sum = 0;      /* with 19 fraction bits */
        int32_t leading = 0;  /* zeros before its first digit */
        int32_t scale;
        for (c = 0u; c < p->channels; c++) {
            largest = (pixel[c] > largest) ? pixel[c] : largest;
        }
        for (c = 0u; c < p->channels; c++) {
            sum += shifted(p->exponentials[largest - pixel[c]], 12);
        }
        while (((uint32_t)sum << (uint32_t)leading) < 0x80000000u) {
            leading++;
        }
        scale = reciprocal((int32_t)(((uint32_t)sum << (uint32_t)leading) - 0x80000000u));
        for (c = 0u; c < p->channels; c++) {
            int32_t product = pc_multiply_high(scale, p->exponentials[largest - pixel[c]]);
            *output = (int8_t)pc_limited(shifted(product, 35 - leading) - 128, -128, 127);
            output++;
        }
        pixel += p->channels;
    }
}
