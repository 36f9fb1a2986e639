/* Convolutions for the vector extension of Cortex-M55 (MVE, "Helium").
 *
 * One instruction makes 16 products and adds them up; results are scaled four at a time. The share of the input's zero
 * point is in the bias, so padding is filled with it. The roundings are those of pc_scaled, so all is exact.
 *
 * Packing (MvePacking in packing.py), words first: 1 where a shift goes to the left, else 0; then for a convolution, for each
 * block of four filters:
 *     int32 bias[4], multiplier[4], shift[4]; for each 16 inputs: int8 first[16], second[16], third[16], fourth[16]
 * and for a depthwise one, for each block of 16 channels, channel 4 * lane + {0, 2, 1, 3}[vector] in each lane:
 *     int32 bias[4][4]; for each pair of taps: int8 one[16], other[16]; int32 {multiplier[4], shift[4]}[4]
 */
#include "pc_kernels.h"
#include "model.h"

#if MODEL_KERNELS == PC_KERNELS_MVE

#include <arm_mve.h>

/* Four sums times their factors; with `leftward` some shifts may go to the left. */
static inline int32x4_t scaled(int32x4_t sums, int32x4_t multipliers, int32x4_t shifts, int leftward)
{
    int32x4_t rightward = shifts;
    int32x4_t product;
    if (leftward != 0) {
        sums = vshlq_s32(sums, vmaxq_s32(shifts, vdupq_n_s32(0)));
        rightward = vminq_s32(shifts, vdupq_n_s32(0));
    }
    product = vqrdmulhq_s32(sums, multipliers);
    /* one less where negative and shifted, since the last rounding goes up and must go away from zero */
    product = vaddq_s32(product, vshrq_n_s32(vandq_s32(product, rightward), 31));
    return vrshlq_s32(product, rightward);
}

static inline int8_t *copied(int8_t *to, const int8_t *from, int32_t bytes)
{
    int8_t *end = to + bytes;
    __asm__ volatile("wlstp.8 lr, %[bytes], 2f\n"
                     "1:\n"
                     "vldrb.8 q0, [%[from]], #16\n"
                     "vstrb.8 q0, [%[to]], #16\n"
                     "letp lr, 1b\n"
                     "2:\n"
                     : [to] "+r"(to), [from] "+r"(from)
                     : [bytes] "r"(bytes)
                     : "lr", "q0", "memory");
    return end;
}

static inline int8_t *filled(int8_t *to, int32_t value, int32_t bytes)
{
    int8_t *end = to + bytes;
    __asm__ volatile("vdup.8 q0, %[value]\n"
                     "wlstp.8 lr, %[bytes], 2f\n"
                     "1:\n"
                     "vstrb.8 q0, [%[to]], #16\n"
                     "letp lr, 1b\n"
                     "2:\n"
                     : [to] "+r"(to)
                     : [value] "r"(value), [bytes] "r"(bytes)
                     : "lr", "q0", "memory");
    return end;
}

/* All inputs of one result, one behind another. */
static void gather(const pc_call *call, const pc_convolution *p, int32_t x)
{
    const int32_t channels = p->input_channels;
    const int32_t from = (x * p->stride) - p->pad_left;
    const int32_t first = (from < 0) ? -from : 0;
    const int32_t end = ((from + p->kernel_width) > p->input_width) ? (p->input_width - from) : p->kernel_width;
    int8_t *to = (int8_t *)call->scratch;
    int32_t ky;

    for (ky = 0; ky < (int32_t)p->kernel_height; ky++) {
        if ((call->rows[ky] == NULL) || (first >= end)) {
            to = filled(to, p->input_zero_point, p->kernel_width * channels);
        } else {
            if (first > 0) {
                to = filled(to, p->input_zero_point, first * channels);
            }
            to = copied(to, call->rows[ky] + ((from + first) * channels), (end - first) * channels);
            if (end < (int32_t)p->kernel_width) {
                to = filled(to, p->input_zero_point, (p->kernel_width - end) * channels);
            }
        }
    }
}

/* All results of one pixel. */
static inline void filters(const pc_convolution *p, const int8_t *inputs, int32_t depth, int8_t *output, int leftward)
{
    const int8_t *block = (const int8_t *)p->weights + 4;
    const int32x4_t low = vdupq_n_s32(p->low);
    const int32x4_t high = vdupq_n_s32(p->high);
    const int32_t zero_point = p->output_zero_point;
    int32_t left;

    for (left = p->output_channels; left > 0; left -= 4) {
        const int32_t *numbers = (const int32_t *)(const void *)block;
        int32_t s0 = numbers[0];
        int32_t s1 = numbers[1];
        int32_t s2 = numbers[2];
        int32_t s3 = numbers[3];
        const int8_t *pixel = inputs;
        int32x4_t sums;
        block += 48;
        __asm__ volatile("dlstp.8 lr, %[depth]\n"
                         "1:\n"
                         "vldrb.8 q0, [%[pixel]], #16\n"
                         "vldrb.8 q1, [%[block]], #16\n"
                         "vldrb.8 q2, [%[block]], #16\n"
                         "vmladava.s8 %[s0], q0, q1\n"
                         "vldrb.8 q1, [%[block]], #16\n"
                         "vmladava.s8 %[s1], q0, q2\n"
                         "vldrb.8 q2, [%[block]], #16\n"
                         "vmladava.s8 %[s2], q0, q1\n"
                         "vmladava.s8 %[s3], q0, q2\n"
                         "letp lr, 1b\n"
                         : [s0] "+Te"(s0), [s1] "+Te"(s1), [s2] "+Te"(s2), [s3] "+Te"(s3), [pixel] "+r"(pixel),
                           [block] "+r"(block)
                         : [depth] "r"(depth)
                         : "lr", "q0", "q1", "q2", "memory");
        sums = vdupq_n_s32(s0);
        sums = vsetq_lane_s32(s1, sums, 1);
        sums = vsetq_lane_s32(s2, sums, 2);
        sums = vsetq_lane_s32(s3, sums, 3);
        sums = scaled(sums, vldrwq_s32(numbers + 4), vldrwq_s32(numbers + 8), leftward);
        sums = vminq_s32(vmaxq_s32(vaddq_n_s32(sums, zero_point), low), high);
        if (left >= 4) {
            vstrbq_s32(output, sums);
        } else {
            vstrbq_p_s32(output, sums, vctp32q((uint32_t)left));
        }
        output += 4;
    }
}

void pc_mve_convolution_row(const pc_call *call)
{
    const pc_convolution *p = (const pc_convolution *)call->parameters;
    const int32_t depth = (int32_t)p->kernel_height * p->kernel_width * p->input_channels;
    const int direct = pc_is_direct(p, call);
    const int leftward = *(const int32_t *)p->weights != 0;
    int8_t *output = call->output;
    int32_t x;

    for (x = 0; x < (int32_t)p->output_width; x++) {
        const int8_t *inputs = (const int8_t *)call->scratch;
        if (direct != 0) {
            inputs = call->rows[0] + (x * p->stride * (int32_t)p->input_channels);
        } else {
            gather(call, p, x);
        }
        if (leftward != 0) {
            filters(p, inputs, depth, output, 1);
        } else {
            filters(p, inputs, depth, output, 0);
        }
        output += p->output_channels;
    }
}

/* Working memory of a depthwise convolution: where each tap's pixel is, how far it moves to the next result, and a
 * pixel of padding; the taps are rounded up to a multiple of four. */
static void find_taps(const pc_call *call, const pc_convolution *p, int32_t x, const int8_t **taps, int32_t *steps,
                      const int8_t *padding)
{
    const int32_t channels = p->input_channels;
    const int32_t from = (x * p->stride) - p->pad_left;
    int32_t ky;
    int32_t kx;

    for (ky = 0; ky < (int32_t)p->kernel_height; ky++) {
        for (kx = 0; kx < (int32_t)p->kernel_width; kx++) {
            int32_t column = from + kx;
            int inside = (call->rows[ky] != NULL) && (column >= 0) && (column < (int32_t)p->input_width);
            *taps = (inside != 0) ? (call->rows[ky] + (column * channels)) : padding;
            *steps = (inside != 0) ? (p->stride * channels) : 0;
            taps++;
            steps++;
        }
    }
}

/* 16 channels of one result; `mask` keeps what lies behind the last channel from being touched. */
static inline const int8_t *sixteen(const pc_convolution *p, const int8_t *const *taps, int32_t pairs, int32_t channel,
                                    const int8_t *block, int8_t *output, mve_pred16_t mask, int leftward)
{
    const int32_t *bias = (const int32_t *)(const void *)block;
    const int32_t *factors;
    const int32_t zero_point = p->output_zero_point;
    int32x4_t s0 = vldrwq_s32(bias);
    int32x4_t s1 = vldrwq_s32(bias + 4);
    int32x4_t s2 = vldrwq_s32(bias + 8);
    int32x4_t s3 = vldrwq_s32(bias + 12);
    int16x8_t even;
    int16x8_t odd;
    int8x16_t result;

    block += 64;
    for (; pairs > 0; pairs--) {
        /* a weight is never -128, so two products fit 16 bits */
        int8x16_t one = vldrbq_z_s8(taps[0] + channel, mask);
        int8x16_t weights = vldrbq_s8(block);
        even = vmullbq_int_s8(one, weights);
        odd = vmulltq_int_s8(one, weights);
        one = vldrbq_z_s8(taps[1] + channel, mask);
        weights = vldrbq_s8(block + 16);
        even = vaddq_s16(even, vmullbq_int_s8(one, weights));
        odd = vaddq_s16(odd, vmulltq_int_s8(one, weights));
        s0 = vaddq_s32(s0, vmovlbq_s16(even));
        s1 = vaddq_s32(s1, vmovltq_s16(even));
        s2 = vaddq_s32(s2, vmovlbq_s16(odd));
        s3 = vaddq_s32(s3, vmovltq_s16(odd));
        taps += 2;
        block += 32;
    }
    factors = (const int32_t *)(const void *)block;
    s0 = vaddq_n_s32(scaled(s0, vldrwq_s32(factors), vldrwq_s32(factors + 4), leftward), zero_point);
    s1 = vaddq_n_s32(scaled(s1, vldrwq_s32(factors + 8), vldrwq_s32(factors + 12), leftward), zero_point);
    s2 = vaddq_n_s32(scaled(s2, vldrwq_s32(factors + 16), vldrwq_s32(factors + 20), leftward), zero_point);
    s3 = vaddq_n_s32(scaled(s3, vldrwq_s32(factors + 24), vldrwq_s32(factors + 28), leftward), zero_point);
    even = vqmovntq_s32(vqmovnbq_s32(vdupq_n_s16(0), s0), s1);
    odd = vqmovntq_s32(vqmovnbq_s32(vdupq_n_s16(0), s2), s3);
    result = vqmovntq_s16(vqmovnbq_s16(vdupq_n_s8(0), even), odd);
    result = vminq_s8(vmaxq_s8(result, vdupq_n_s8((int8_t)p->low)), vdupq_n_s8((int8_t)p->high));
    vstrbq_p_s8(output, result, mask);
    return block + 128;
}

void pc_mve_depthwise_row(const pc_call *call)
{
    const pc_convolution *p = (const pc_convolution *)call->parameters;
    const int32_t channels = p->input_channels;
    const int32_t taps = (int32_t)p->kernel_height * p->kernel_width;
    const int32_t places = (taps + 3) & ~3;
    const int leftward = *(const int32_t *)p->weights != 0;
    const int8_t **pointers = (const int8_t **)call->scratch;
    int32_t *steps = (int32_t *)call->scratch + places;
    int8_t *padding = (int8_t *)(steps + places);
    int8_t *output = call->output;
    int known = 0;
    int32_t i;
    int32_t x;

    (void)filled(padding, p->input_zero_point, channels);
    for (i = taps; i < places; i++) {
        pointers[i] = padding;
        steps[i] = 0;
    }
    for (x = 0; x < (int32_t)p->output_width; x++) {
        const int8_t *block = (const int8_t *)p->weights + 4;
        int32_t from = (x * p->stride) - p->pad_left;
        int inside = (from >= 0) && ((from + p->kernel_width) <= (int32_t)p->input_width);
        int32_t channel;
        if ((known != 0) && (inside != 0)) {
            for (i = 0; i < places; i += 4) {
                int32_t *four = (int32_t *)(void *)(pointers + i);
                vstrwq_s32(four, vaddq_s32(vldrwq_s32(four), vldrwq_s32(steps + i)));
            }
        } else {
            find_taps(call, p, x, pointers, steps, padding);
        }
        known = inside;
        for (channel = 0; channel < channels; channel += 16) {
            mve_pred16_t mask = vctp8q((uint32_t)(channels - channel));
            if (leftward != 0) {
                block = sixteen(p, pointers, (taps + 1) / 2, channel, block, output + channel, mask, 1);
            } else {
                block = sixteen(p, pointers, (taps + 1) / 2, channel, block, output + channel, mask, 0);
            }
        }
        output += channels;
    }
}

#endif
