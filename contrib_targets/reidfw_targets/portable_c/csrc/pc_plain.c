/* Convolutions in plain C, for any processor.
 *
 * Weights: filter, row, column, channel; depthwise: row, column, channel. The share of the input's zero point is in the
 * bias, so padding counts as zero points. Four results are made at a time: 5 loads for 4 products.
 */
#include "pc_kernels.h"

static inline int8_t result_of(const pc_convolution *p, int32_t sum, int32_t channel)
{
    int32_t value = pc_scaled(sum, p->multipliers[channel], p->shifts[channel]) + p->output_zero_point;
    return (int8_t)pc_limited(value, p->low, p->high);
}

void pc_convolution_row(const pc_call *call)
{
    const pc_convolution *p = (const pc_convolution *)call->parameters;
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
            const int8_t *second = filter + depth;
            const int8_t *third = second + depth;
            const int8_t *fourth = third + depth;
            int32_t s0 = p->bias[o];
            int32_t s1 = p->bias[o + 1];
            int32_t s2 = p->bias[o + 2];
            int32_t s3 = p->bias[o + 3];
            for (i = 0; i < depth; i++) {
                int32_t value = inputs[i];
                s0 += filter[i] * value;
                s1 += second[i] * value;
                s2 += third[i] * value;
                s3 += fourth[i] * value;
            }
            output[o] = result_of(p, s0, o);
            output[o + 1] = result_of(p, s1, o + 1);
            output[o + 2] = result_of(p, s2, o + 2);
            output[o + 3] = result_of(p, s3, o + 3);
            filter = fourth + depth;
        }
        for (; o < channels; o++) {
            int32_t sum = p->bias[o];
            for (i = 0; i < depth; i++) {
                sum += filter[i] * inputs[i];
            }
            output[o] = result_of(p, sum, o);
            filter += depth;
        }
        output += channels;
    }
}

void pc_depthwise_row(const pc_call *call)
{
    const pc_convolution *p = (const pc_convolution *)call->parameters;
    const int32_t channels = p->input_channels;
    const int32_t width = p->input_width;
    const int32_t kernel_width = p->kernel_width;
    const int32_t kernel_height = p->kernel_height;
    const int8_t value = (int8_t)p->input_zero_point;
    const int8_t padding[4] = {value, value, value, value};
    int8_t *output = call->output;
    int32_t x;

    for (x = 0; x < (int32_t)p->output_width; x++) {
        const int32_t from = (x * p->stride) - p->pad_left;
        int32_t c = 0;
        while (c < channels) {
            const int whole = (c + 4) <= channels;
            const int8_t *weight = (const int8_t *)p->weights + c;
            int32_t s0 = p->bias[c];
            int32_t s1 = whole ? p->bias[c + 1] : 0;
            int32_t s2 = whole ? p->bias[c + 2] : 0;
            int32_t s3 = whole ? p->bias[c + 3] : 0;
            int32_t ky;
            int32_t kx;
            for (ky = 0; ky < kernel_height; ky++) {
                const int8_t *row = call->rows[ky];
                for (kx = from; kx < (from + kernel_width); kx++) {
                    const int8_t *pixel = ((row == NULL) || (kx < 0) || (kx >= width)) ? padding
                                                                                      : (row + (kx * channels) + c);
                    s0 += weight[0] * pixel[0];
                    if (whole) {
                        s1 += weight[1] * pixel[1];
                        s2 += weight[2] * pixel[2];
                        s3 += weight[3] * pixel[3];
                    }
                    weight += channels;
                }
            }
            output[c] = result_of(p, s0, c);
            if (whole) {
                output[c + 1] = result_of(p, s1, c + 1);
                output[c + 2] = result_of(p, s2, c + 2);
                output[c + 3] = result_of(p, s3, c + 3);
            }
            c += whole ? 4 : 1;
        }
        output += channels;
    }
}
