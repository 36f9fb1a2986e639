/* Kernels that are the same for all processors. */
#include "pc_kernels.h"

void pc_copy(int8_t *to, const int8_t *from, uint32_t bytes)
{
    uint32_t i = 0u;
#if defined(__ARM_FEATURE_DSP)
    for (; (i + 4u) <= bytes; i += 4u) {
        pc_store_word(to + i, pc_load_word(from + i));
    }
#endif
    for (; i < bytes; i++) {
        to[i] = from[i];
    }
}

void pc_fill(int8_t *to, int32_t value, uint32_t bytes)
{
    uint32_t i;
    for (i = 0u; i < bytes; i++) {
        to[i] = (int8_t)value;
    }
}

void pc_limit_row(int8_t *row, uint32_t bytes, int32_t low, int32_t high)
{
    uint32_t i;
    if ((low > -128) || (high < 127)) {
        for (i = 0u; i < bytes; i++) {
            row[i] = (int8_t)pc_limited(row[i], low, high);
        }
    }
}

void pc_columns(int32_t from, int32_t kernel, int32_t width, int32_t *first, int32_t *end)
{
    *first = (from < 0) ? -from : 0;
    *end = ((from + kernel) > width) ? (width - from) : kernel;
}

const int8_t *pc_window(const pc_call *call, const pc_convolution *p, int32_t x, int8_t *room)
{
    const int32_t channels = p->input_channels;
    const int32_t from = (x * p->stride) - p->pad_left;
    const int32_t bytes = (int32_t)p->kernel_width * channels;
    int8_t *to = room;
    int32_t first;
    int32_t end;
    int32_t ky;

    pc_columns(from, p->kernel_width, p->input_width, &first, &end);
    for (ky = 0; ky < (int32_t)p->kernel_height; ky++) {
        const int8_t *row = call->rows[ky];
        if ((row == NULL) || (first >= end)) {
            pc_fill(to, p->input_zero_point, (uint32_t)bytes);
        } else {
            if ((end - first) < (int32_t)p->kernel_width) {
                pc_fill(to, p->input_zero_point, (uint32_t)(first * channels));
                pc_fill(to + (end * channels), p->input_zero_point, (uint32_t)(bytes - (end * channels)));
            }
            pc_copy(to + (first * channels), row + ((from + first) * channels), (uint32_t)((end - first) * channels));
        }
        to += bytes;
    }
    return room;
}

void pc_image_row(const pc_call *call)
{
    pc_source *source = *(pc_source *const *)call->parameters;
    const void *row = (source->failed != 0) ? NULL : source->next_row(source->user, (int)call->step);
    if (row == NULL) {
        source->failed = 1;
    } else {
        pc_copy(call->output, (const int8_t *)row, source->row_bytes);
    }
}

void pc_average_pool_row(const pc_call *call)
{
    const pc_pool *p = (const pc_pool *)call->parameters;
    int8_t *output = call->output;
    int32_t x;
    int32_t c;

    for (x = 0; x < (int32_t)p->output_width; x++) {
        int32_t from = (x * p->stride) - p->pad_left;
        int32_t first;
        int32_t end;
        pc_columns(from, p->kernel_width, p->input_width, &first, &end);
        for (c = 0; c < (int32_t)p->channels; c++) {
            int32_t sum = 0;
            int32_t count = 0;
            int32_t ky;
            int32_t kx;
            for (ky = 0; ky < (int32_t)p->kernel_height; ky++) {
                const int8_t *row = call->rows[ky];
                for (kx = first; (row != NULL) && (kx < end); kx++) {
                    sum += row[((from + kx) * (int32_t)p->channels) + c];
                    count++;
                }
            }
            if (count > 0) {
                sum = (sum > 0) ? ((sum + (count / 2)) / count) : ((sum - (count / 2)) / count);
            }
            *output = (int8_t)pc_limited(sum, p->low, p->high);
            output++;
        }
    }
}

void pc_max_pool_row(const pc_call *call)
{
    const pc_pool *p = (const pc_pool *)call->parameters;
    int8_t *output = call->output;
    int32_t x;
    int32_t c;

    for (x = 0; x < (int32_t)p->output_width; x++) {
        int32_t from = (x * p->stride) - p->pad_left;
        int32_t first;
        int32_t end;
        int32_t ky;
        int32_t kx;
        pc_columns(from, p->kernel_width, p->input_width, &first, &end);
        for (c = 0; c < (int32_t)p->channels; c++) {
            output[c] = -128;
        }
        for (ky = 0; ky < (int32_t)p->kernel_height; ky++) {
            for (kx = first; (call->rows[ky] != NULL) && (kx < end); kx++) {
                const int8_t *pixel = call->rows[ky] + ((from + kx) * (int32_t)p->channels);
                for (c = 0; c < (int32_t)p->channels; c++) {
                    output[c] = (pixel[c] > output[c]) ? pixel[c] : output[c];
                }
            }
        }
        if ((p->low > -128) || (p->high < 127)) {
            for (c = 0; c < (int32_t)p->channels; c++) {
                output[c] = (int8_t)pc_limited(output[c], p->low, p->high);
            }
        }
        output += p->channels;
    }
}

void pc_mean_step(const pc_call *call)
{
    const pc_mean *p = (const pc_mean *)call->parameters;
    const int8_t *pixel = call->rows[0];
    int32_t *sums = (int32_t *)call->scratch;
    int32_t x;
    int32_t c;

    if (call->step == 0) {
        for (c = 0; c < (int32_t)p->channels; c++) {
            sums[c] = -(int32_t)p->input_zero_point * (int32_t)p->width * (int32_t)p->height;
        }
    }
    for (x = 0; x < (int32_t)p->width; x++) {
        for (c = 0; c < (int32_t)p->channels; c++) {
            sums[c] += pixel[c];
        }
        pixel += p->channels;
    }
    if (call->step == ((int32_t)p->height - 1)) {
        for (c = 0; c < (int32_t)p->channels; c++) {
            int32_t mean = pc_scaled(sums[c], p->multiplier, p->shift) + p->output_zero_point;
            call->output[c] = (int8_t)pc_limited(mean, -128, 127);
        }
    }
}

static const int8_t *operand_row(const pc_call *call, const pc_operand *operand)
{
    return (operand->constant != NULL) ? (operand->constant + ((uint32_t)call->step * operand->row_bytes))
                                       : call->rows[operand->row];
}

/* One side of a sum in the common scale. */
static inline int32_t summand(const pc_operand *operand, int32_t value)
{
    int32_t high = pc_upper_half((value - operand->zero_point) * (1 << 21), operand->multiplier);
    return pc_shift_rounded(high, -operand->shift);  /* the larger scale has the factor 1/2: never to the left */
}

/* A factor whose shift goes to the right, with the zero point that is added behind it. */
typedef struct {
    int32_t multiplier;
    int32_t right;
    int32_t rest; /* half of what is shifted out, and the zero point */
} right_factor;

/* Whether a result's factor is such a one; -21 keeps all numbers within 32 bits. */
static int is_rightward(const pc_elementwise *p)
{
    return (p->shift < 0) && (p->shift >= -21);
}

static right_factor factor_of(const pc_elementwise *p)
{
    right_factor factor;
    factor.multiplier = p->multiplier;
    factor.right = -p->shift;
    factor.rest = ((2 * p->zero_point) + 1) * ((int32_t)1 << (factor.right - 1));
    return factor;
}

static inline int8_t rightward(int32_t value, right_factor factor)
{
    int32_t high = pc_upper_half(value * 2, factor.multiplier);
    return pc_saturated((high + (high >> 31) + factor.rest) >> factor.right);
}

/* The sum of two tensors of one shape. A larger scale has the factor 1/2, which needs no multiplication. */
static void add_alike(const pc_elementwise *p, const int8_t *scaled, const pc_operand *scale, const int8_t *halved,
                      int32_t zero_point, int8_t *output)
{
    const right_factor factor = factor_of(p);
    const int same = (scale->shift == 0);  /* also 1/2, which this multiplier and a shift to the right make as well */
    const int32_t multiplier = same ? INT32_MAX : scale->multiplier;
    const int32_t right = same ? 1 : -scale->shift;
    const int32_t half = (int32_t)1 << (right - 1);
    const int32_t scaled_zero = scale->zero_point * (1 << 21);
    const int32_t halved_zero = zero_point * (1 << 19);
    const int8_t *const end = output + ((uint32_t)p->width * p->channels);

    while (output != end) {
        int32_t high = pc_upper_half((*scaled * (1 << 21)) - scaled_zero, multiplier);
        int32_t sum = ((high + (high >> 31) + half) >> right) + (*halved * (1 << 19)) - halved_zero;
        *output = rightward(sum, factor);
        output++;
        scaled++;
        halved++;
    }
}

void pc_add_row(const pc_call *call)
{
    const pc_elementwise *p = (const pc_elementwise *)call->parameters;
    const pc_operand *a = &p->operands[0];
    const pc_operand *b = &p->operands[1];
    const int8_t *row_a = operand_row(call, a);
    const int8_t *row_b = operand_row(call, b);
    const int alike = (a->channel_step == 1u) && (b->channel_step == 1u) && (a->pixel_step == b->pixel_step)
                      && (a->pixel_step == p->channels);
    int8_t *output = call->output;
    int32_t x;
    int32_t c;

    if (alike && (p->sign == 1) && is_rightward(p) && (a->shift >= -21) && (b->shift >= -21)) {
        if (a->shift == 0) {
            add_alike(p, row_b, b, row_a, a->zero_point, output);
        } else {
            add_alike(p, row_a, a, row_b, b->zero_point, output);
        }
    } else {
        for (x = 0; x < (int32_t)p->width; x++) {
            for (c = 0; c < (int32_t)p->channels; c++) {
                int32_t sum = summand(a, row_a[c * a->channel_step]) + (summand(b, row_b[c * b->channel_step]) * p->sign);
                *output = pc_saturated(pc_scaled(sum, p->multiplier, p->shift) + p->zero_point);
                output++;
            }
            row_a += a->pixel_step;
            row_b += b->pixel_step;
        }
    }
    pc_limit_row(call->output, (uint32_t)p->width * p->channels, p->low, p->high);
}

void pc_multiply_row(const pc_call *call)
{
    const pc_elementwise *p = (const pc_elementwise *)call->parameters;
    const pc_operand *a = &p->operands[0];
    const pc_operand *b = &p->operands[1];
    const int8_t *row_a = operand_row(call, a);
    const int8_t *row_b = operand_row(call, b);
    const int32_t zero_a = a->zero_point;
    const int32_t zero_b = b->zero_point;
    const int32_t step_a = a->channel_step;
    const int32_t step_b = b->channel_step;
    const int simple = is_rightward(p);
    int8_t *output = call->output;
    int32_t x;

    for (x = 0; x < (int32_t)p->width; x++) {
        const int8_t *pixel_a = row_a;
        const int8_t *pixel_b = row_b;
        const int8_t *const end = output + p->channels;
        if (simple) {
            const right_factor factor = factor_of(p);
            while (output != end) {
                *output = rightward((*pixel_a - zero_a) * (*pixel_b - zero_b), factor);
                output++;
                pixel_a += step_a;
                pixel_b += step_b;
            }
        } else {
            while (output != end) {
                int32_t product = (*pixel_a - zero_a) * (*pixel_b - zero_b);
                *output = pc_saturated(pc_scaled(product, p->multiplier, p->shift) + p->zero_point);
                output++;
                pixel_a += step_a;
                pixel_b += step_b;
            }
        }
        row_a += a->pixel_step;
        row_b += b->pixel_step;
    }
    pc_limit_row(call->output, (uint32_t)p->width * p->channels, p->low, p->high);
}

void pc_table_row(const pc_call *call)
{
    const pc_table *p = (const pc_table *)call->parameters;
    const int8_t *const values = p->values;
    const int8_t *input = call->rows[0];
    int8_t *output = call->output;
    const int8_t *const end = output + p->row_bytes;

    while (output != end) {
        *output = values[(uint8_t)*input];
        output++;
        input++;
    }
}

void pc_pad_row(const pc_call *call)
{
    const pc_pad *p = (const pc_pad *)call->parameters;

    pc_fill(call->output, p->value, p->row_bytes);
    if (call->rows[0] != NULL) {
        pc_copy(call->output + p->left_bytes, call->rows[0], p->input_bytes);
    }
}

void pc_join_row(const pc_call *call)
{
    const pc_join *p = (const pc_join *)call->parameters;
    int8_t *output = call->output;
    uint32_t chunk;
    uint32_t i;

    for (chunk = 0u; chunk < p->chunks; chunk++) {
        for (i = 0u; i < p->inputs; i++) {
            if (call->rows[i] != NULL) {
                pc_copy(output, call->rows[i] + (chunk * p->bytes[i]), p->bytes[i]);
                output += p->bytes[i];
            }
        }
    }
}

void pc_slice_row(const pc_call *call)
{
    const pc_slice *p = (const pc_slice *)call->parameters;
    uint32_t x;

    for (x = 0u; x < p->width; x++) {
        pc_copy(call->output + (x * p->channels), call->rows[0] + p->first + (x * p->pixel_step), p->channels);
    }
}

void pc_reshape_step(const pc_call *call)
{
    const pc_reshape *p = (const pc_reshape *)call->parameters;
    const int8_t *from = call->rows[0] + ((uint32_t)call->step * p->input_step);
    int8_t *to = call->output + ((uint32_t)call->step * p->output_step);

    if (from != to) {
        pc_copy(to, from, p->bytes);
    }
}

/* One over the square root of a number, as a multiplier and a shift to the right. */
static int32_t inverse_square_root(int32_t number, int32_t *right)
{
    /* Newton's iteration in fixed point with 3 integer bits: x = x * (3 - number * x * x) / 2. */
    const int32_t three_halves = (1 << 28) + (1 << 27);
    int32_t value = number;
    int32_t half;
    int32_t x = 1 << 28;
    int32_t i;

    *right = 11;
    if (value <= 1) {
        *right = 0;
        return INT32_MAX;
    }
    while (value >= (1 << 29)) {
        value /= 4;
        (*right)++;
    }
    while (value < (1 << 27)) {
        value *= 4;
        (*right)--;
    }
    half = pc_shift_rounded(value >> 1, 1);
    for (i = 0; i < 5; i++) {
        int32_t square = pc_multiply_high(x, x);
        int32_t cube = pc_multiply_high(square, x);  /* 9 integer bits */
        int64_t wide = (int64_t)cube * 64;
        int32_t cube3 = (int32_t)((wide > INT32_MAX) ? INT32_MAX : ((wide < INT32_MIN) ? INT32_MIN : wide));
        int64_t next = ((int64_t)pc_multiply_high(three_halves, x) - pc_multiply_high(half, cube3)) * 8;
        x = (int32_t)((next > INT32_MAX) ? INT32_MAX : ((next < INT32_MIN) ? INT32_MIN : next));
    }
    return pc_multiply_high(x, 1518500250);  /* the square root of 1/2 */
}

void pc_l2_normalization_row(const pc_call *call)
{
    const pc_l2_normalization *p = (const pc_l2_normalization *)call->parameters;
    const int8_t *pixel = call->rows[0];
    int8_t *output = call->output;
    uint32_t x;
    uint32_t c;

    for (x = 0u; x < p->width; x++) {
        int32_t sum = 0;
        int32_t multiplier;
        int32_t right;
        for (c = 0u; c < p->channels; c++) {
            int32_t value = pixel[c] - p->zero_point;
            sum += value * value;
        }
        multiplier = inverse_square_root(sum, &right);
        for (c = 0u; c < p->channels; c++) {
            int32_t value = pixel[c] - p->zero_point;
            *output = (int8_t)pc_limited(pc_scaled(value, multiplier, 7 - right), -128, 127);
            output++;
        }
        pixel += p->channels;
    }
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
