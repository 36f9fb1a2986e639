/* Fully connected layers. Their sums are rounded once, unlike those of convolutions. */
#include "pc_kernels.h"

/* value * multiplier / 2^31 * 2^shift, rounded once; ties go up. */
static int32_t scaled_once(int32_t value, int32_t multiplier, int32_t shift)
{
    int32_t right = 31 - shift;  /* 1 to 62 */
    return (int32_t)((((int64_t)value * multiplier) + ((int64_t)1 << (right - 1))) >> right);
}

void pc_dense_row(const pc_call *call)
{
    const pc_dense *p = (const pc_dense *)call->parameters;
    const int8_t *input = call->rows[0];
    const int8_t *weight = p->weights;
    const int32_t zero_point = p->input_zero_point;
    uint32_t o;
    uint32_t i;

    for (o = 0u; o < p->outputs; o++) {
        int32_t sum = p->bias[o];
        for (i = 0u; i < p->inputs; i++) {
            sum += weight[i] * (input[i] - zero_point);
        }
        sum = scaled_once(sum, p->multipliers[o], p->shifts[o]) + p->output_zero_point;
        call->output[o] = (int8_t)pc_limited(sum, p->low, p->high);
        weight += p->inputs;
    }
}
