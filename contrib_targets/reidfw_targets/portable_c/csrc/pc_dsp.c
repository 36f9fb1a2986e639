/* Convolutions for Cortex-M4, M7 and M33: two 16-bit products an instruction. Weights: see DspPacking in packing.py.
 *
 * A convolution computes tiles of four pixels and two filters. For two inputs of each, that are 16 products:
 *     1 load of weights, 1 widening of weights, 2 loads of two pixels, 8 smlad          12 instructions, 0.75 a product
 * The weights' word holds byte by byte (first filter, second filter) of two inputs. As two signed 16-bit numbers it is
 * 256 * second + first, as the packing subtracts 1 from the second where the first is negative; so smlad with the word
 * as it is gives 256 * sum2 + sum1, and only the first filter's weights are widened (sxtb16) to give sum1. The packing
 * takes this kernel only where 256 * sum2 fits 32 bits for all inputs; the "wide" one widens both.
 *
 * Requantization, for each result: double, smmulr (multiply, upper half, rounded), add the sign (ties away from zero),
 * add half and zero point, shift, saturate with the last bit of the shift. All numbers of a channel are two words:
 * (bias << 8) + shift to the right - 1, and the multiplier. Where a ReLU follows, negative numbers all become the zero
 * point, so the sign is left out.
 *
 * A depthwise convolution of 3x3 or 5x5 widens each column of 4 channels once: two rows as pairs for smlad, the last one
 * for smlabb and smlatt; then there are no borders and no padding, and 36 products of 3x3 take 36 instructions, loads
 * included.
 *
 * The inner loops are functions of assembly, as they need all 14 registers: no compiler keeps them so.
 */
#include "pc_kernels.h"
#include "model.h"

#if MODEL_KERNELS == PC_KERNELS_DSP

#if !defined(__ARM_FEATURE_DSP)
#error "The weights are packed for processors with DSP instructions; compile for one, or generate plain code"
#endif

/* A function whose body is assembly, called by the rules of the procedure call standard. */
#define ASSEMBLY __attribute__((naked, noinline, used))
#define HERE __attribute__((unused))

#define PIXELS 4u
#define NUMBERS 4u /* words of a pair of filters beside the weights */

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

/* The lower, or the upper, halves of two words. */
static inline uint32_t lower_halves(uint32_t low, uint32_t high)
{
    uint32_t result;
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(result) : "r"(low), "r"(high));
    return result;
}

static inline uint32_t upper_halves(uint32_t low, uint32_t high)
{
    uint32_t result;
    __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(result) : "r"(high), "r"(low));
    return result;
}

/* Two inputs of two filters (sums r4-r7 and r8-r11) and four pixels. r0: inputs, r1: weights. */
#define TWO_INPUTS(widen)               \
    "ldr r12, [r1], #4\n"               \
    "ldrd r2, r3, [r0], #8\n"           \
    "sxtb16 lr, r12\n" widen            \
    "smlad r4, r2, lr, r4\n"            \
    "smlad r8, r2, r12, r8\n"           \
    "smlad r5, r3, lr, r5\n"            \
    "smlad r9, r3, r12, r9\n"           \
    "ldrd r2, r3, [r0], #8\n"           \
    "smlad r6, r2, lr, r6\n"            \
    "smlad r10, r2, r12, r10\n"         \
    "smlad r7, r3, lr, r7\n"            \
    "smlad r11, r3, r12, r11\n"

/* From a sum to a result; `doubled` is the instruction that leaves twice the sum in the register. */
#define RESULT(sum, doubled, multiplier, right, sign)  \
    doubled                                            \
    "smmulr " sum ", " sum ", " multiplier "\n"        \
    sign                                               \
    "add " sum ", " sum ", lr\n"                       \
    "asr " sum ", " sum ", " right "\n"                \
    "ssat " sum ", #8, " sum ", asr #1\n"

#define DOUBLE(sum) "lsl " sum ", " sum ", #1\n"
#define FIRST(sum, sign) RESULT(sum, DOUBLE(sum), "r3", "r0", sign(sum))
#define SECOND(sum, doubled, sign) RESULT(sum, doubled(sum), "r12", "r2", sign(sum))
#define SIGN(sum) "add " sum ", " sum ", " sum ", asr #31\n"
#define NO_SIGN(sum)

/* The second sums: taken out of the word they share with the first, or by themselves. */
#define PACKED_START "add r8, r3, r4\n"
#define PACKED_WIDEN
#define PACKED_PART "sub r8, r8, r4\nsub r9, r9, r5\nsub r10, r10, r6\nsub r11, r11, r7\n"
#define PACKED_DOUBLE(sum) "asr " sum ", " sum ", #7\n"
#define WIDE_START "asr r8, r3, #8\n"
#define WIDE_WIDEN "sxtb16 r12, r12, ror #8\n"
#define WIDE_PART

/* All filters of four pixels.
 * activations: for each two inputs, a word for each pixel; `end` behind them
 * weights, weights_end: pairs of filters as packed; an even number
 * output: of the first pixel; `step` bytes to the next pixel's
 * zero: 2 * zero point + 1 */
#define TILE(name, kind, double_second, sign)                                                                      \
    ASSEMBLY void name(const uint32_t *activations HERE, const uint32_t *weights HERE, const uint32_t *end HERE,   \
                       int8_t *output HERE, uint32_t step HERE, int32_t zero HERE,                                 \
                       const uint32_t *weights_end HERE);                                                          \
    ASSEMBLY void name(const uint32_t *activations HERE, const uint32_t *weights HERE, const uint32_t *end HERE,   \
                       int8_t *output HERE, uint32_t step HERE, int32_t zero HERE,                                 \
                       const uint32_t *weights_end HERE)                                                           \
    {                                                                                                              \
        __asm__ volatile("push {r0-r11, lr}\n"                                                                     \
                         "sub sp, sp, #8\n" /* 0: numbers, 8: activations, 16: end, 20: output, 60: step, zero */  \
                         "1:\n"                                                                                    \
                         "ldrd r2, r3, [r1], #8\n"                                                                 \
                         "ldr r0, [sp, #8]\n"                                                                      \
                         "strd r2, r3, [sp]\n"                                                                     \
                         "asr r4, r2, #8\n" kind##_START                                                           \
                         "mov r5, r4\nmov r6, r4\nmov r7, r4\n"                                                    \
                         "mov r9, r8\nmov r10, r8\nmov r11, r8\n"                                                  \
                         "2:\n" TWO_INPUTS(kind##_WIDEN) TWO_INPUTS(kind##_WIDEN) TWO_INPUTS(kind##_WIDEN)         \
                         TWO_INPUTS(kind##_WIDEN)                                                                  \
                         "ldr lr, [sp, #16]\n"                                                                     \
                         "cmp r0, lr\n"                                                                            \
                         "bne 2b\n" kind##_PART                                                                    \
                         "ldrd r0, r2, [sp]\n"                                                                     \
                         "ldrd r3, r12, [r1], #8\n"                                                                \
                         "ldr lr, [sp, #64]\n"                                                                     \
                         "lsl lr, lr, r0\n" FIRST("r4", sign) FIRST("r5", sign) FIRST("r6", sign) FIRST("r7", sign) \
                         "ldr lr, [sp, #64]\n"                                                                     \
                         "lsl lr, lr, r2\n" SECOND("r8", double_second, sign) SECOND("r9", double_second, sign)    \
                         SECOND("r10", double_second, sign) SECOND("r11", double_second, sign)                     \
                         "bfi r4, r8, #8, #8\nbfi r5, r9, #8, #8\nbfi r6, r10, #8, #8\nbfi r7, r11, #8, #8\n"      \
                         "ldr r0, [sp, #20]\n"                                                                     \
                         "ldr r2, [sp, #60]\n"                                                                     \
                         "add r3, r0, r2, lsl #1\n"                                                                \
                         "strh r5, [r0, r2]\n"                                                                     \
                         "strh r6, [r3]\n"                                                                         \
                         "strh r7, [r3, r2]\n"                                                                     \
                         "strh r4, [r0], #2\n"                                                                     \
                         "ldr r3, [sp, #68]\n"                                                                     \
                         "str r0, [sp, #20]\n"                                                                     \
                         "cmp r1, r3\n"                                                                            \
                         "bne 1b\n"                                                                                \
                         "add sp, sp, #24\n"                                                                       \
                         "pop {r4-r11, pc}\n");                                                                    \
    }

typedef void (*tile_function)(const uint32_t *activations, const uint32_t *weights, const uint32_t *end, int8_t *output,
                              uint32_t step, int32_t zero, const uint32_t *weights_end);

TILE(pc_dsp_tile, PACKED, PACKED_DOUBLE, SIGN)
TILE(pc_dsp_tile_relu, PACKED, PACKED_DOUBLE, NO_SIGN)
TILE(pc_dsp_tile_wide, WIDE, DOUBLE, SIGN)

/* Spreads 4 * words bytes to 16 bits: channels (0, 2) and (1, 3) of each word, in the tile's order. */
static inline void spread(const int8_t *bytes, uint32_t *to, uint32_t words)
{
    uint32_t left;
    for (left = words; left > 0u; left -= 2u) {
        uint32_t word = pc_load_word(bytes);
        uint32_t next = pc_load_word(bytes + 4);
        to[0] = even_bytes(word);
        to[PIXELS] = odd_bytes(word);
        to[2u * PIXELS] = even_bytes(next);
        to[3u * PIXELS] = odd_bytes(next);
        to += 4u * PIXELS;
        bytes += 8;
    }
}

static inline void convolve(const pc_call *call, tile_function tile)
{
    const pc_convolution *p = (const pc_convolution *)call->parameters;
    const uint32_t depth = (uint32_t)p->kernel_height * p->kernel_width * p->input_channels;
    const uint32_t words = 2u * ((depth + 7u) / 8u);
    uint32_t *const inputs = (uint32_t *)call->scratch;
    const uint32_t *const end = inputs + (2u * PIXELS * words);
    int8_t *const room = (int8_t *)(inputs + (2u * PIXELS * words));
    const uint32_t channels = p->output_channels;
    const uint32_t *const weights = (const uint32_t *)p->weights;
    const uint32_t *const weights_end = weights + ((channels / 2u) * ((2u * words) + NUMBERS));
    const int32_t zero = (2 * p->output_zero_point) + 1;
    const uint32_t width = p->output_width;
    const uint32_t pixels = (width < PIXELS) ? 1u : PIXELS;  /* a narrow row: four times the same pixel */
    const int direct = pc_is_direct(p, call) && ((depth % 8u) == 0u);
    uint32_t done = 0u;

    while (done < width) {
        const uint32_t x = ((done + pixels) > width) ? (width - pixels) : done;
        const uint32_t step = (pixels == 1u) ? 0u : channels;
        int8_t *output = call->output + (x * channels);
        uint32_t i;
        for (i = 0u; i < PIXELS; i++) {
            const int32_t at = (int32_t)((pixels == 1u) ? x : (x + i));
            spread(direct ? (call->rows[0] + (at * p->stride * (int32_t)depth)) : pc_window(call, p, at, room),
                   inputs + i, words);
        }
        if (channels > 1u) {
            tile(inputs, weights, end, output, step, zero, weights_end);
        }
        if ((channels % 2u) != 0u) {
            int8_t last[2u * PIXELS];
            tile(inputs, weights_end, end, last, 2u, zero, weights_end + ((2u * words) + NUMBERS));
            for (i = 0u; i < pixels; i++) {
                output[(i * channels) + channels - 1u] = last[2u * i];
            }
        }
        done += pixels;
    }
    pc_limit_row(call->output, width * channels, p->low, p->high);
}

void pc_dsp_convolution_row(const pc_call *call)
{
    convolve(call, pc_dsp_tile);
}

void pc_dsp_convolution_relu_row(const pc_call *call)
{
    convolve(call, pc_dsp_tile_relu);
}

void pc_dsp_convolution_wide_row(const pc_call *call)
{
    convolve(call, pc_dsp_tile_wide);
}

/* What a depthwise convolution of 4 channels needs lies in working memory in the order in which it is read:
 *     4 biases
 *     of each column, the weights as 16 bits: of rows 0 and 1 four pairs, of rows 2 and 3 (where there are five) four
 *     pairs, of the last row channels 0 and 2, channels 1 and 3
 *     of channels 0 and 1, then of 2 and 3: multipliers, shifts to the right less 1, half with zero point
 * and behind it the inputs, widened to the order of the weights. */
#define LARGEST_SIDE 5u
#define GROUP_WORDS(side) (16u + (2u * (side) * (side)))

/* Two rows of one column of the window, in r8-r11; r4-r7 are the sums, r1 is in the weights. */
#define TWO_ROWS                \
    "ldrd r2, r3, [r1], #8\n"   \
    "smlad r4, r8, r2, r4\n"    \
    "smlad r5, r9, r3, r5\n"    \
    "ldrd r2, r3, [r1], #8\n"   \
    "smlad r6, r10, r2, r6\n"   \
    "smlad r7, r11, r3, r7\n"

/* One column, r0 is in the inputs. The last row is in r12 and lr. */
#define COLUMN_OF_3              \
    "ldm r0!, {r8-r12, lr}\n" TWO_ROWS \
    "ldrd r2, r3, [r1], #8\n"   \
    "smlabb r4, r12, r2, r4\n"  \
    "smlabb r5, lr, r3, r5\n"   \
    "smlatt r6, r12, r2, r6\n"  \
    "smlatt r7, lr, r3, r7\n"

#define COLUMN_OF_5 "ldm r0!, {r8-r11}\n" TWO_ROWS COLUMN_OF_3

#define ONE_RESULT(sum, multiplier, right, rest)   \
    "lsl " sum ", " sum ", #1\n"                   \
    "smmulr " sum ", " sum ", " multiplier "\n"    \
    "add " sum ", " sum ", " sum ", asr #31\n"     \
    "add " sum ", " sum ", " rest "\n"             \
    "asr " sum ", " sum ", " right "\n"            \
    "ssat " sum ", #8, " sum ", asr #1\n"

/* Four channels of a row.
 * columns: widened; `back` bytes from behind one window to the next one; `end`: where the next window would begin
 * group: GROUP_WORDS, of `bytes` bytes
 * output: of the first pixel; `step` bytes to the next pixel's */
#define FOUR_CHANNELS(name, window, bytes)                                                                          \
    ASSEMBLY void name(const uint32_t *columns HERE, const uint32_t *group HERE, int32_t back HERE,                 \
                       const uint32_t *end HERE, int8_t *output HERE, uint32_t step HERE);                          \
    ASSEMBLY void name(const uint32_t *columns HERE, const uint32_t *group HERE, int32_t back HERE,                 \
                       const uint32_t *end HERE, int8_t *output HERE, uint32_t step HERE)                           \
    {                                                                                                               \
        __asm__ volatile("push {r2-r11, lr}\n" /* 0: back, 4: end, 44: output, 48: step */                          \
                         "1:\n"                                                                                     \
                         "ldm r1!, {r4-r7}\n" window                                                                \
                         "ldm r1!, {r2, r3, r8-r11}\n" ONE_RESULT("r4", "r2", "r8", "r10")                          \
                         ONE_RESULT("r5", "r3", "r9", "r11")                                                        \
                         "ldm r1!, {r2, r3, r8-r11}\n" ONE_RESULT("r6", "r2", "r8", "r10")                          \
                         ONE_RESULT("r7", "r3", "r9", "r11")                                                        \
                         "bfi r4, r5, #8, #8\n"                                                                     \
                         "bfi r6, r7, #8, #8\n"                                                                     \
                         "pkhbt r4, r4, r6, lsl #16\n"                                                              \
                         "ldr r5, [sp, #44]\n"                                                                      \
                         "ldr r6, [sp, #48]\n"                                                                      \
                         "ldrd r2, r3, [sp]\n"                                                                      \
                         "str r4, [r5]\n"                                                                           \
                         "add r5, r5, r6\n"                                                                         \
                         "sub r1, r1, #" bytes "\n"                                                                 \
                         "sub r0, r0, r2\n"                                                                         \
                         "str r5, [sp, #44]\n"                                                                      \
                         "cmp r0, r3\n"                                                                             \
                         "bne 1b\n"                                                                                 \
                         "add sp, sp, #8\n"                                                                         \
                         "pop {r4-r11, pc}\n");                                                                     \
    }

FOUR_CHANNELS(pc_dsp_depthwise_3, COLUMN_OF_3 COLUMN_OF_3 COLUMN_OF_3, "136")
FOUR_CHANNELS(pc_dsp_depthwise_5, COLUMN_OF_5 COLUMN_OF_5 COLUMN_OF_5 COLUMN_OF_5 COLUMN_OF_5, "264")

/* From packed constants, see DspPacking, to a group; `words` of weights. Returns what lies behind the constants. */
static const uint32_t *unpack(const uint32_t *packed, uint32_t *group, uint32_t words, int32_t zero)
{
    int32_t *const bias = (int32_t *)group;
    int32_t *numbers = (int32_t *)(group + 4u + (2u * words));
    uint32_t *weights = group + 4;
    uint32_t i;
    for (i = 0u; i < 4u; i++) {
        int32_t right = (int32_t)(packed[i] & 0xFFu);
        bias[i] = (int32_t)packed[i] >> 8;
        numbers[0] = (int32_t)packed[4u + i];
        numbers[2] = right;
        numbers[4] = zero * ((int32_t)1 << right);
        numbers += (i == 1u) ? 5 : 1;
    }
    packed += 8;
    for (i = 0u; i < words; i++) {
        weights[0] = even_bytes(packed[i]);
        weights[1] = odd_bytes(packed[i]);
        weights += 2;
    }
    return packed + words;
}

/* A row of an image, or of padding. */
typedef struct {
    const int8_t *bytes;
    int32_t step; /* bytes to the next pixel */
} pixel_row;

/* Widens 4 channels of `count` columns of two rows; `step` words from one widened column to the next. */
static void widen_two(const pixel_row *rows, int32_t count, uint32_t step, uint32_t *to)
{
    pixel_row one = rows[0];
    pixel_row two = rows[1];
    int32_t left;
    for (left = count; left > 0; left--) {
        uint32_t a = pc_load_word(one.bytes);
        uint32_t b = pc_load_word(two.bytes);
        uint32_t low = lower_halves(a, b);
        uint32_t high = upper_halves(a, b);
        to[0] = even_bytes(low);
        to[1] = odd_bytes(low);
        to[2] = even_bytes(high);
        to[3] = odd_bytes(high);
        to += step;
        one.bytes += one.step;
        two.bytes += two.step;
    }
}

/* The same for three rows, the last ones of a window. */
static void widen_three(const pixel_row *rows, int32_t count, uint32_t step, uint32_t *to)
{
    pixel_row one = rows[0];
    pixel_row two = rows[1];
    pixel_row three = rows[2];
    int32_t left;
    for (left = count; left > 0; left--) {
        uint32_t a = pc_load_word(one.bytes);
        uint32_t b = pc_load_word(two.bytes);
        uint32_t c = pc_load_word(three.bytes);
        uint32_t low = lower_halves(a, b);
        uint32_t high = upper_halves(a, b);
        to[0] = even_bytes(low);
        to[1] = odd_bytes(low);
        to[2] = even_bytes(high);
        to[3] = odd_bytes(high);
        to[4] = even_bytes(c);
        to[5] = odd_bytes(c);
        to += step;
        one.bytes += one.step;
        two.bytes += two.step;
        three.bytes += three.step;
    }
}

static void widen(const pixel_row *rows, uint32_t side, int32_t count, uint32_t *to)
{
    if (side == 5u) {
        widen_two(rows, count, 2u * side, to);
        widen_three(rows + 2, count, 2u * side, to + 4);
    } else {
        widen_three(rows, count, 2u * side, to);
    }
}

/* A part of a row of results, from result `first` on. */
static void depthwise_band(const pc_call *call, int32_t first, int32_t width)
{
    const pc_convolution *p = (const pc_convolution *)call->parameters;
    const uint32_t side = p->kernel_width; /* 3 or 5 */
    const uint32_t column = 2u * side;     /* words */
    const int32_t channels = p->input_channels;
    const int32_t zero = (2 * p->output_zero_point) + 1;
    const int8_t value = (int8_t)p->input_zero_point;
    const int8_t padding[4] = {value, value, value, value};
    const int32_t count = ((width - 1) * p->stride) + (int32_t)side;
    const int32_t from = (first * p->stride) - p->pad_left;
    const int32_t before = pc_limited(-from, 0, count);
    const int32_t behind = pc_limited((from + count) - p->input_width, 0, count - before);
    const int32_t there = count - before - behind;
    uint32_t *const group = (uint32_t *)call->scratch;
    uint32_t *const columns = group + GROUP_WORDS(side);
    uint32_t *const inside = columns + ((uint32_t)before * column);
    const uint32_t *const end = columns + ((uint32_t)width * p->stride * column);
    const int32_t back = ((int32_t)side - (int32_t)p->stride) * (int32_t)(column * sizeof *columns);
    const uint32_t *packed = (const uint32_t *)p->weights;
    int8_t *output = call->output + (first * channels);
    pixel_row rows[LARGEST_SIDE];
    uint32_t i;
    int32_t c;

    for (i = 0u; i < LARGEST_SIDE; i++) {
        rows[i].bytes = padding;
        rows[i].step = 0;
    }
    widen(rows, side, before, columns);
    widen(rows, side, behind, inside + ((uint32_t)there * column));
    for (i = 0u; i < side; i++) {
        if (call->rows[i] != NULL) {
            rows[i].bytes = call->rows[i] + ((from + before) * channels);
            rows[i].step = channels;
        }
    }
    for (c = 0; c < channels; c += 4) {
        packed = unpack(packed, group, side * side, zero);
        widen(rows, side, there, inside);
        if (side == 5u) {
            pc_dsp_depthwise_5(columns, group, back, end, output + c, (uint32_t)channels);
        } else {
            pc_dsp_depthwise_3(columns, group, back, end, output + c, (uint32_t)channels);
        }
        for (i = 0u; i < side; i++) {
            rows[i].bytes += (rows[i].step != 0) ? 4 : 0;
        }
    }
}

void pc_dsp_depthwise_row(const pc_call *call)
{
    const pc_convolution *p = (const pc_convolution *)call->parameters;
    const int32_t width = p->output_width;
    int32_t first;

    for (first = 0; first < width; first += PC_DSP_BAND) {
        depthwise_band(call, first, ((width - first) < PC_DSP_BAND) ? (width - first) : PC_DSP_BAND);
    }
    pc_limit_row(call->output, p->output_width * (uint32_t)p->input_channels, p->low, p->high);
}

#endif
