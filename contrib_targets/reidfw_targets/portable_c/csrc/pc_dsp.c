/* Convolutions for Cortex-M4, M7 and M33: two 16-bit products an instruction. Weights: see DspPacking in packing.py. */
#include "pc_kernels.h"
#include "model.h"

#if MODEL_KERNELS == PC_KERNELS_DSP

#if !defined(__ARM_FEATURE_DSP)
#error "The weights are packed for processors with DSP instructions; compile for one, or generate plain code"
#endif

/* Bytes 0 and 2, or 1 and 3, of a word as two signed 16-bit numbers. */
static inline uint32_t even_bytes(uint32_t word)
{
    uint32_t result;
    __asm__("sxtb16 %0, %1" : "=r"(result) : "r"(word));
    return result;
}

static inline uint32_t odd_bytes(uint32_t word)
{
    uint32_t result;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(result) : "r"(word));
    return result;
}

/* sum plus the product of the lower, or the upper, halves. */
static inline int32_t add_lower(uint32_t a, uint32_t b, int32_t sum)
{
    int32_t result;
    __asm__("smlabb %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(sum));
    return result;
}

static inline int32_t add_upper(uint32_t a, uint32_t b, int32_t sum)
{
    int32_t result;
    __asm__("smlatt %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(sum));
    return result;
}

static inline uint32_t load(const int8_t *bytes)
{
    uint32_t word;
    __asm__("ldr %0, %1" : "=r"(word) : "m"(*(const int8_t (*)[4])bytes));
    return word;
}

/* The result of one sum; the same roundings as pc_scaled. */
static inline int8_t result_of(int32_t sum, int32_t multiplier, int32_t shift, int32_t zero_point, int32_t low,
                               int32_t high)
{
    int32_t value;
    int32_t left = (shift > 0) ? (shift + 1) : 1;
    int32_t doubled = (int32_t)((uint32_t)sum << (uint32_t)left);
    __asm__("smmulr %0, %1, %2" : "=r"(value) : "r"(doubled), "r"(multiplier));
    if (shift < 0) {
        value = (value + (value >> 31) + ((int32_t)1 << (-shift - 1))) >> -shift;
    }
    return (int8_t)pc_limited(value + zero_point, low, high);
}

/* The same with what is constant in a kernel: local copies, as a store to the output might change the parameters. */
#define RESULT(sum, multiplier, shift) result_of((sum), (multiplier), (shift), zero_point, low, high)

/* Spreads 4 * words bytes to 16 bits: a word of the even and a word of the odd bytes, every other pair of words. */
static void spread(const int8_t *bytes, uint32_t *to, uint32_t words)
{
    uint32_t i;
    for (i = 0u; i < words; i++) {
        uint32_t word = load(bytes);
        to[0] = even_bytes(word);
        to[1] = odd_bytes(word);
        to += 4;
        bytes += 4;
    }
}

/* The bytes under the window of output pixel x, padding as zero points; a multiple of 4, filled up with anything. */
static const int8_t *patch(const pc_convolution *p, const pc_call *call, int32_t x, int8_t *room)
{
    const int32_t channels = p->input_channels;
    const int32_t from = (x * p->stride) - p->pad_left;
    const int32_t first = (from < 0) ? -from : 0;
    const int32_t end = ((from + p->kernel_width) > p->input_width) ? (p->input_width - from) : p->kernel_width;
    int8_t *to = room;
    int32_t ky;

    if ((p->kernel_height == 1u) && (p->kernel_width == 1u) && ((channels % 4) == 0) && (call->rows[0] != NULL)) {
        return call->rows[0] + (from * channels);
    }
    for (ky = 0; ky < (int32_t)p->kernel_height; ky++) {
        int32_t bytes = (int32_t)p->kernel_width * channels;
        if ((call->rows[ky] == NULL) || (first >= end)) {
            pc_fill(to, p->input_zero_point, (uint32_t)bytes);
        } else {
            pc_fill(to, p->input_zero_point, (uint32_t)(first * channels));
            pc_copy(to + (first * channels), call->rows[ky] + ((from + first) * channels),
                    (uint32_t)((end - first) * channels));
            pc_fill(to + (end * channels), p->input_zero_point, (uint32_t)(bytes - (end * channels)));
        }
        to += bytes;
    }
    return room;
}

void pc_convolution_row(const pc_call *call)
{
    const pc_convolution *p = (const pc_convolution *)call->parameters;
    const uint32_t depth = (uint32_t)p->kernel_height * p->kernel_width * p->input_channels;
    const uint32_t words = (depth + 3u) / 4u;
    uint32_t *spread_out = (uint32_t *)call->scratch;
    int8_t *room = (int8_t *)(spread_out + (4u * words));
    const uint32_t *end = spread_out + (4u * words);
    const uint32_t channels = p->output_channels;
    const int32_t zero_point = p->output_zero_point;
    const int32_t low = p->low;
    const int32_t high = p->high;
    const int32_t *const bias = p->bias;
    const int32_t *const multipliers = p->multipliers;
    const int8_t *const shifts = p->shifts;
    uint32_t x;

    for (x = 0u; x < p->output_width; x += 2u) {
        const int two = (x + 1u) < p->output_width;
        const uint32_t *weights = (const uint32_t *)p->weights;
        int8_t *output = call->output + (x * channels);
        uint32_t o;
        spread(patch(p, call, (int32_t)x, room), spread_out, words);
        spread(patch(p, call, (int32_t)(two ? (x + 1u) : x), room), spread_out + 2, words);
        for (o = 0u; o < channels; o += 2u) {
            const int pair = (o + 1u) < channels;
            const uint32_t other = pair ? (o + 1u) : o;
            const uint32_t *values = spread_out;
            int32_t s00 = bias[o];
            int32_t s01 = bias[other];
            int32_t s10 = s00;
            int32_t s11 = s01;
            uint32_t w0, w1, a0, a1, t, u;
            __asm__ volatile(
                "1:\n"
                "ldrd %[w0], %[w1], [%[pw]], #8\n"
                "ldrd %[a0], %[a1], [%[pa]], #8\n"
                "sxtb16 %[t], %[w0]\n"
                "sxtb16 %[w0], %[w0], ror #8\n"
                "sxtb16 %[u], %[w1]\n"
                "sxtb16 %[w1], %[w1], ror #8\n"
                "smlad %[s00], %[a0], %[t], %[s00]\n"
                "smlad %[s01], %[a0], %[u], %[s01]\n"
                "smlad %[s00], %[a1], %[w0], %[s00]\n"
                "smlad %[s01], %[a1], %[w1], %[s01]\n"
                "ldrd %[a0], %[a1], [%[pa]], #8\n"
                "smlad %[s10], %[a0], %[t], %[s10]\n"
                "smlad %[s11], %[a0], %[u], %[s11]\n"
                "smlad %[s10], %[a1], %[w0], %[s10]\n"
                "smlad %[s11], %[a1], %[w1], %[s11]\n"
                "cmp %[pa], %[end]\n"
                "bne 1b\n"
                : [s00] "+r"(s00), [s01] "+r"(s01), [s10] "+r"(s10), [s11] "+r"(s11), [pa] "+r"(values),
                  [pw] "+r"(weights), [w0] "=&r"(w0), [w1] "=&r"(w1), [a0] "=&r"(a0), [a1] "=&r"(a1),
                  [t] "=&r"(t), [u] "=&r"(u)
                : [end] "r"(end)
                : "cc", "memory");
            output[o] = RESULT(s00, multipliers[o], shifts[o]);
            if (pair) {
                output[o + 1u] = RESULT(s01, multipliers[o + 1u], shifts[o + 1u]);
            }
            if (two) {
                output[channels + o] = RESULT(s10, multipliers[o], shifts[o]);
                if (pair) {
                    output[channels + o + 1u] = RESULT(s11, multipliers[o + 1u], shifts[o + 1u]);
                }
            }
        }
    }
}

#define TAP(values, weight)                  \
    do {                                     \
        uint32_t v = (values);               \
        uint32_t w = load(weight);           \
        uint32_t ve = even_bytes(v);         \
        uint32_t we = even_bytes(w);         \
        uint32_t vo = odd_bytes(v);          \
        uint32_t wo = odd_bytes(w);          \
        s0 = add_lower(ve, we, s0);          \
        s1 = add_lower(vo, wo, s1);          \
        s2 = add_upper(ve, we, s2);          \
        s3 = add_upper(vo, wo, s3);          \
    } while (0)

void pc_depthwise_row(const pc_call *call)
{
    const pc_convolution *p = (const pc_convolution *)call->parameters;
    const int32_t channels = p->input_channels;
    const int8_t *weights = (const int8_t *)p->weights;
    const int32_t zero_point = p->output_zero_point;
    const int32_t low = p->low;
    const int32_t high = p->high;
    const int32_t *const bias = p->bias;
    const int32_t *const multipliers = p->multipliers;
    const int8_t *const shifts = p->shifts;
    const int32_t kernel_height = p->kernel_height;
    const uint32_t padding = (uint32_t)(uint8_t)p->input_zero_point * 0x01010101u;
    const int8_t *const *rows = call->rows;
    const int square = (p->kernel_height == 3u) && (p->kernel_width == 3u);
    int whole = 1;
    int32_t x;
    int32_t c;
    int32_t ky;
    int32_t kx;

    for (ky = 0; ky < kernel_height; ky++) {
        whole = whole && (call->rows[ky] != NULL);
    }
    for (x = 0; x < (int32_t)p->output_width; x++) {
        const int32_t from = (x * p->stride) - p->pad_left;
        const int inside = whole && (from >= 0) && ((from + p->kernel_width) <= p->input_width);
        int8_t *output = call->output + (x * channels);
        for (c = 0; (c + 4) <= channels; c += 4) {
            int32_t s0 = bias[c];
            int32_t s1 = bias[c + 1];
            int32_t s2 = bias[c + 2];
            int32_t s3 = bias[c + 3];
            const int8_t *weight = weights + c;
            if (inside && square) {
                const int32_t place = (from * channels) + c;
                const int8_t *one = rows[0] + place;
                const int8_t *two = rows[1] + place;
                const int8_t *three = rows[2] + place;
                TAP(load(one), weight);
                TAP(load(one + channels), weight + channels);
                TAP(load(one + (2 * channels)), weight + (2 * channels));
                weight += 3 * channels;
                TAP(load(two), weight);
                TAP(load(two + channels), weight + channels);
                TAP(load(two + (2 * channels)), weight + (2 * channels));
                weight += 3 * channels;
                TAP(load(three), weight);
                TAP(load(three + channels), weight + channels);
                TAP(load(three + (2 * channels)), weight + (2 * channels));
            } else if (inside && (p->kernel_width == 3u)) {
                for (ky = 0; ky < kernel_height; ky++) {
                    const int8_t *pixel = call->rows[ky] + (from * channels) + c;
                    TAP(load(pixel), weight);
                    TAP(load(pixel + channels), weight + channels);
                    TAP(load(pixel + (2 * channels)), weight + (2 * channels));
                    weight += 3 * channels;
                }
            } else {
                for (ky = 0; ky < kernel_height; ky++) {
                    for (kx = from; kx < (from + p->kernel_width); kx++) {
                        int there = (call->rows[ky] != NULL) && (kx >= 0) && (kx < (int32_t)p->input_width);
                        TAP(there ? load(call->rows[ky] + (kx * channels) + c) : padding, weight);
                        weight += channels;
                    }
                }
            }
            output[c] = RESULT(s0, multipliers[c], shifts[c]);
            output[c + 1] = RESULT(s1, multipliers[c + 1], shifts[c + 1]);
            output[c + 2] = RESULT(s2, multipliers[c + 2], shifts[c + 2]);
            output[c + 3] = RESULT(s3, multipliers[c + 3], shifts[c + 3]);
        }
        for (; c < channels; c++) {
            int32_t sum = bias[c];
            const int8_t *weight = weights + c;
            for (ky = 0; ky < kernel_height; ky++) {
                for (kx = from; kx < (from + p->kernel_width); kx++) {
                    int there = (call->rows[ky] != NULL) && (kx >= 0) && (kx < (int32_t)p->input_width);
                    sum += *weight * (there ? call->rows[ky][(kx * channels) + c] : (int32_t)p->input_zero_point);
                    weight += channels;
                }
            }
            output[c] = RESULT(sum, multipliers[c], shifts[c]);
        }
    }
}

#endif
