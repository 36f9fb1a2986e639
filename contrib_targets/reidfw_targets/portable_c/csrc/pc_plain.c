/* Convolutions in plain C, for any processor.
 *
 * Weights: filter, row, column, channel; depthwise: row, column, channel. The share of the input's zero point is in the
 * bias, so padding counts as zero points. Four results are made at a time: 5 loads for 4 products.
 */
#include "pc_kernels.h"

/* What makes results of sums: local copies, as a store to the output might change the parameters. */
typedef struct {
    const int32_t *bias;
    const int32_t *multipliers;
    const int8_t *shifts;
    int32_t zero_point;
    int32_t low;
    int32_t high;
} results;

static inline results results_of(const pc_convolution *p)
{
    results made = {p->bias, p->multipliers, p->shifts, p->output_zero_point, p->low, p->high};
    return made;
}

static inline int8_t result(const results *made, int32_t sum, int32_t channel)
{
    int32_t value = pc_scaled(sum, made->multipliers[channel], made->shifts[channel]) + made->zero_point;
    return (int8_t)pc_limited(value, made->low, made->high);
}

/* `count` products of each of four filters; the filters lie one behind another. */
static inline void four_filters(const int8_t *inputs, const int8_t *filter, int32_t count, int32_t *sums)
{
    const int8_t *const end = inputs + count;
    const int8_t *second = filter + count;
    const int8_t *third = second + count;
    const int8_t *fourth = third + count;
    int32_t s0 = sums[0];
    int32_t s1 = sums[1];
    int32_t s2 = sums[2];
    int32_t s3 = sums[3];

    while (inputs != end) {
        int32_t value = *inputs;
        s0 += *filter * value;
        s1 += *second * value;
        s2 += *third * value;
        s3 += *fourth * value;
        inputs++;
        filter++;
        second++;
        third++;
        fourth++;
    }
    sums[0] = s0;
    sums[1] = s1;
    sums[2] = s2;
    sums[3] = s3;
}

void pc_convolution_row(const pc_call *call)
{
    const pc_convolution *p = (const pc_convolution *)call->parameters;
    const results made = results_of(p);
    const int32_t depth = (int32_t)p->kernel_height * p->kernel_width * (int32_t)p->input_channels;
    const int32_t channels = p->output_channels;
    const int direct = pc_is_direct(p, call);
    int8_t *output = call->output;
    int32_t x;

    for (x = 0; x < (int32_t)p->output_width; x++) {
        const int8_t *inputs = direct ? (call->rows[0] + (x * p->stride * depth))
                                      : pc_window(call, p, x, (int8_t *)call->scratch);
        const int8_t *filter = (const int8_t *)p->weights;
        int32_t o;
        int32_t i;
        for (o = 0; (o + 4) <= channels; o += 4) {
            int32_t sums[4];
            for (i = 0; i < 4; i++) {
                sums[i] = made.bias[o + i];
            }
            four_filters(inputs, filter, depth, sums);
            for (i = 0; i < 4; i++) {
                output[o + i] = result(&made, sums[i], o + i);
            }
            filter += 4 * depth;
        }
        for (; o < channels; o++) {
            int32_t sum = made.bias[o];
            for (i = 0; i < depth; i++) {
                sum += filter[i] * inputs[i];
            }
            output[o] = result(&made, sum, o);
            filter += depth;
        }
        output += channels;
    }
}

/* Adds `count` columns of one row of a window, for one or four channels; `step` bytes from one to the next. */
static inline void add_columns(const int8_t *pixel, const int8_t *weight, int32_t count, int32_t pixel_step,
                               int32_t weight_step, int32_t width, int32_t *sums)
{
    int32_t left;
    for (left = count; left > 0; left--) {
        sums[0] += weight[0] * pixel[0];
        if (width == 4) {
            sums[1] += weight[1] * pixel[1];
            sums[2] += weight[2] * pixel[2];
            sums[3] += weight[3] * pixel[3];
        }
        pixel += pixel_step;
        weight += weight_step;
    }
}

/* One or four channels of one result. */
static inline void depthwise(const pc_call *call, const pc_convolution *p, const results *made, int32_t from, int32_t c,
                             int32_t width, int8_t *output)
{
    const int8_t value = (int8_t)p->input_zero_point;
    const int8_t padding[4] = {value, value, value, value};
    const int32_t channels = p->input_channels;
    const int32_t kernel_width = p->kernel_width;
    const int8_t *weight = (const int8_t *)p->weights + c;
    int32_t sums[4];
    int32_t first;
    int32_t end;
    int32_t ky;
    int32_t i;

    pc_columns(from, kernel_width, p->input_width, &first, &end);
    for (i = 0; i < width; i++) {
        sums[i] = made->bias[c + i];
    }
    for (ky = 0; ky < (int32_t)p->kernel_height; ky++) {
        const int8_t *row = call->rows[ky];
        if ((row != NULL) && (end > first)) {
            add_columns(padding, weight, first, 0, channels, width, sums);
            add_columns(row + ((from + first) * channels) + c, weight + (first * channels), end - first, channels,
                        channels, width, sums);
            add_columns(padding, weight + (end * channels), kernel_width - end, 0, channels, width, sums);
        } else {
            add_columns(padding, weight, kernel_width, 0, channels, width, sums);
        }
        weight += kernel_width * channels;
    }
    for (i = 0; i < width; i++) {
        output[c + i] = result(made, sums[i], c + i);
    }
}

void pc_depthwise_row(const pc_call *call)
{
    const pc_convolution *p = (const pc_convolution *)call->parameters;
    const results made = results_of(p);
    const int32_t channels = p->input_channels;
    int8_t *output = call->output;
    int32_t x;

    for (x = 0; x < (int32_t)p->output_width; x++) {
        const int32_t from = (x * p->stride) - p->pad_left;
        int32_t c;
        for (c = 0; (c + 4) <= channels; c += 4) {
            depthwise(call, p, &made, from, c, 4, output);
        }
        for (; c < channels; c++) {
            depthwise(call, p, &made, from, c, 1, output);
        }
        output += channels;
    }
}
