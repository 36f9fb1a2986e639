/* Convolutions in plain C, for any processor. Weights: filter, row, column, channel; depthwise: row, column, channel. */
#include "pc_kernels.h"
#include "model.h"

#if MODEL_KERNELS == PC_KERNELS_PLAIN

void pc_convolution_row(const pc_call *call)
{
    const pc_convolution *p = (const pc_convolution *)call->parameters;
    const int32_t channels = p->input_channels;
    const int32_t zero_point = p->input_zero_point;
    int8_t *output = call->output;
    int32_t x;
    int32_t o;

    for (x = 0; x < (int32_t)p->output_width; x++) {
        int32_t from = (x * p->stride) - p->pad_left;
        int32_t first = (from < 0) ? -from : 0;
        int32_t end = ((from + p->kernel_width) > p->input_width) ? (p->input_width - from) : p->kernel_width;
        const int8_t *filter = (const int8_t *)p->weights;
        for (o = 0; o < (int32_t)p->output_channels; o++) {
            int32_t sum = p->bias[o];
            int32_t ky;
            for (ky = 0; ky < (int32_t)p->kernel_height; ky++) {
                if ((call->rows[ky] != NULL) && (first < end)) {
                    const int8_t *pixel = call->rows[ky] + ((from + first) * channels);
                    const int8_t *weight = filter + (first * channels);
                    int32_t count = (end - first) * channels;
                    int32_t i;
                    for (i = 0; i < count; i++) {
                        sum += weight[i] * (pixel[i] - zero_point);
                    }
                }
                filter += (int32_t)p->kernel_width * channels;
            }
            sum = pc_scaled(sum, p->multipliers[o], p->shifts[o]) + p->output_zero_point;
            *output = (int8_t)pc_limited(sum, p->low, p->high);
            output++;
        }
    }
}

void pc_depthwise_row(const pc_call *call)
{
    const pc_convolution *p = (const pc_convolution *)call->parameters;
    const int32_t channels = p->input_channels;
    const int8_t *weights = (const int8_t *)p->weights;
    int8_t *output = call->output;
    int32_t x;
    int32_t c;

    for (x = 0; x < (int32_t)p->output_width; x++) {
        int32_t from = (x * p->stride) - p->pad_left;
        int32_t first = (from < 0) ? -from : 0;
        int32_t end = ((from + p->kernel_width) > p->input_width) ? (p->input_width - from) : p->kernel_width;
        for (c = 0; c < channels; c++) {
            int32_t sum = p->bias[c];
            int32_t ky;
            int32_t kx;
            for (ky = 0; ky < (int32_t)p->kernel_height; ky++) {
                for (kx = first; (call->rows[ky] != NULL) && (kx < end); kx++) {
                    int32_t weight = weights[(((ky * (int32_t)p->kernel_width) + kx) * channels) + c];
                    sum += weight * (call->rows[ky][((from + kx) * channels) + c] - p->input_zero_point);
                }
            }
            sum = pc_scaled(sum, p->multipliers[c], p->shifts[c]) + p->output_zero_point;
            *output = (int8_t)pc_limited(sum, p->low, p->high);
            output++;
        }
    }
}

#endif
