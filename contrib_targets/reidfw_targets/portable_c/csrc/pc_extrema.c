/* The smaller or larger one of two numbers, and the largest one of an image. */
#include "pc_kernels.h"

static const int8_t *operand_row(const pc_call *call, const pc_operand *operand)
{
    return (operand->constant != NULL) ? (operand->constant + ((uint32_t)call->step * operand->row_bytes))
                                       : call->rows[operand->row];
}

/* sign: 1 for the smaller, -1 for the larger one. */
static void extremum_row(const pc_call *call, int32_t sign)
{
    const pc_elementwise *p = (const pc_elementwise *)call->parameters;
    const pc_operand *a = &p->operands[0];
    const pc_operand *b = &p->operands[1];
    const int8_t *row_a = operand_row(call, a);
    const int8_t *row_b = operand_row(call, b);
    int8_t *output = call->output;
    uint32_t x;
    uint32_t c;

    for (x = 0u; x < p->width; x++) {
        const int8_t *pixel_a = row_a;
        const int8_t *pixel_b = row_b;
        for (c = 0u; c < p->channels; c++) {
            *output = (((*pixel_a - *pixel_b) * sign) < 0) ? *pixel_a : *pixel_b;
            output++;
            pixel_a += a->channel_step;
            pixel_b += b->channel_step;
        }
        row_a += a->pixel_step;
        row_b += b->pixel_step;
    }
}

void pc_minimum_row(const pc_call *call)
{
    extremum_row(call, 1);
}

void pc_maximum_row(const pc_call *call)
{
    extremum_row(call, -1);
}

void pc_image_maximum_step(const pc_call *call)
{
    const pc_image_maximum *p = (const pc_image_maximum *)call->parameters;
    const int8_t *pixel = call->rows[0];
    int8_t *output = call->output;
    uint32_t x;
    uint32_t c;

    if (call->step == 0) {
        pc_fill(output, -128, p->channels);
    }
    for (x = 0u; x < p->width; x++) {
        for (c = 0u; c < p->channels; c++) {
            output[c] = (pixel[c] > output[c]) ? pixel[c] : output[c];
        }
        pixel += p->channels;
    }
}
