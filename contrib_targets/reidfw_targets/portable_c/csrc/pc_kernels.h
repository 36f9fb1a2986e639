/* Kernels: each makes one row of a tensor from rows of its inputs. All numbers are those of the model file. */
#ifndef PC_KERNELS_H
#define PC_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "pc_runtime.h"

/* Which kernels compute convolutions. The weights are packed for one of them; model.h says for which. */
#define PC_KERNELS_PLAIN 1
#define PC_KERNELS_DSP 2
#define PC_KERNELS_MVE 3

/* Results for which a depthwise DSP kernel widens columns at a time; DspPacking plans the memory for them. */
#define PC_DSP_BAND 12

/* Right shifts of negative numbers must keep the sign; all compilers for Cortex-M do so. */
typedef char pc_shifts_keep_the_sign[((-2) >> 1) == -1 ? 1 : -1];

/* A convolution over all channels, or of each channel with itself (then output_channels == input_channels). */
typedef struct {
    const void *weights;         /* packed for the chosen kernels */
    const int32_t *bias;         /* NULL where the packing holds it */
    const int32_t *multipliers;  /* NULL where the packing holds them */
    const int8_t *shifts;        /* to the left where positive; NULL where the packing holds them */
    uint16_t input_width;
    uint16_t input_channels;
    uint16_t output_width;
    uint16_t output_channels;
    uint8_t kernel_height;
    uint8_t kernel_width;
    uint8_t stride;   /* along the width */
    uint8_t pad_left;
    int16_t input_zero_point;
    int16_t output_zero_point;
    int16_t low;   /* limits of the result */
    int16_t high;
} pc_convolution;

typedef struct {
    const int8_t *weights;  /* output, input */
    const int32_t *bias;
    const int32_t *multipliers;
    const int8_t *shifts;  /* to the left where positive */
    uint32_t inputs;
    uint16_t outputs;
    int16_t input_zero_point;
    int16_t output_zero_point;
    int16_t low;
    int16_t high;
} pc_dense;

typedef struct {
    uint16_t input_width;
    uint16_t channels;
    uint16_t output_width;
    uint8_t kernel_height;
    uint8_t kernel_width;
    uint8_t stride;
    uint8_t pad_left;
    int16_t low;
    int16_t high;
} pc_pool;

typedef struct {
    int32_t multiplier;  /* the division by the number of pixels is in it */
    int32_t shift;
    uint16_t width;
    uint16_t channels;
    uint16_t height;
    int16_t input_zero_point;
    int16_t output_zero_point;
} pc_mean;

/* One side of a sum, difference or product. */
typedef struct {
    const int8_t *constant;  /* NULL for a computed tensor */
    int32_t multiplier;
    int32_t shift;
    uint32_t row_bytes;      /* step from one constant row to the next, 0 for one that repeats */
    uint16_t pixel_step;     /* bytes to the next pixel, 0 for one that repeats */
    uint8_t channel_step;    /* 1, or 0 for a channel that repeats */
    uint8_t row;             /* which of the call's rows it is */
    int16_t zero_point;
} pc_operand;

typedef struct {
    pc_operand operands[2];
    int32_t multiplier;
    int32_t shift;
    uint16_t width;
    uint16_t channels;
    int16_t zero_point;
    int16_t low;
    int16_t high;
    int16_t sign;  /* 1 for a sum, -1 for a difference */
} pc_elementwise;

typedef struct {
    const int8_t *values;  /* 256 results, by the element's byte read as unsigned */
    uint32_t row_bytes;
} pc_table;

typedef struct {
    uint32_t input_bytes;  /* of one row */
    uint32_t left_bytes;
    uint32_t row_bytes;
    int16_t value;
} pc_pad;

/* Joins pixel by pixel; or row by row, taking the one input that has a row for this step. */
typedef struct {
    const uint16_t *bytes;  /* of one pixel, or one row, of each input */
    uint16_t inputs;
    uint16_t chunks;
} pc_join;

typedef struct {
    uint32_t first;       /* byte of the input's row */
    uint16_t pixel_step;  /* bytes to the next pixel */
    uint16_t channels;
    uint16_t width;
} pc_slice;

typedef struct {
    uint32_t bytes;
    uint32_t input_step;  /* bytes of the input, and of the output, to the next step's part */
    uint32_t output_step;
} pc_reshape;

typedef struct {
    uint16_t width;
    uint16_t channels;
    int16_t zero_point;
} pc_l2_normalization;

typedef struct {
    uint16_t width;
    uint16_t channels;
} pc_image_maximum;

typedef struct {
    const int32_t *exponentials;  /* 256, in units of 2^-31, by how far an element lies below the largest one */
    uint16_t width;
    uint16_t channels;
} pc_softmax;

/* Where the rows of the image come from. */
typedef struct {
    const void *(*next_row)(void *user, int row);
    void *user;
    uint32_t row_bytes;
    int failed;
} pc_source;

/* Convolutions. Those of plain C are there for all processors; the others for MODEL_KERNELS. */
void pc_convolution_row(const pc_call *call);
void pc_depthwise_row(const pc_call *call);
void pc_dsp_convolution_row(const pc_call *call);
void pc_dsp_convolution_relu_row(const pc_call *call);
void pc_dsp_convolution_wide_row(const pc_call *call);
void pc_dsp_depthwise_row(const pc_call *call);
void pc_mve_convolution_row(const pc_call *call);
void pc_mve_depthwise_row(const pc_call *call);
void pc_average_pool_row(const pc_call *call);
void pc_max_pool_row(const pc_call *call);
void pc_mean_step(const pc_call *call);
void pc_add_row(const pc_call *call);
void pc_multiply_row(const pc_call *call);
void pc_minimum_row(const pc_call *call);
void pc_maximum_row(const pc_call *call);
void pc_image_maximum_step(const pc_call *call);
void pc_softmax_row(const pc_call *call);
void pc_dense_row(const pc_call *call);
void pc_table_row(const pc_call *call);
void pc_pad_row(const pc_call *call);
void pc_join_row(const pc_call *call);
void pc_slice_row(const pc_call *call);
void pc_reshape_step(const pc_call *call);
void pc_l2_normalization_row(const pc_call *call);
void pc_image_row(const pc_call *call);

void pc_copy(int8_t *to, const int8_t *from, uint32_t bytes);
void pc_fill(int8_t *to, int32_t value, uint32_t bytes);

/* Clamps a row, where the limits are narrower than the type. */
void pc_limit_row(int8_t *row, uint32_t bytes, int32_t low, int32_t high);

/* First and last column of a window at `from` that lie inside of the image; the last one is excluded. */
void pc_columns(int32_t from, int32_t kernel, int32_t width, int32_t *first, int32_t *end);

/* The inputs under the window of output pixel x, one behind another, padding as zero points; `room` for all of them. */
const int8_t *pc_window(const pc_call *call, const pc_convolution *p, int32_t x, int8_t *room);

/* Whether all windows of a row are single pixels inside of the image, so that none has to be gathered. */
static inline int pc_is_direct(const pc_convolution *p, const pc_call *call)
{
    return (p->kernel_height == 1u) && (p->kernel_width == 1u) && (p->pad_left == 0u) && (call->rows[0] != NULL)
           && (((p->output_width - 1u) * p->stride) < p->input_width);
}

#if defined(__ARM_FEATURE_DSP)

/* Words at any address. */
static inline uint32_t pc_load_word(const int8_t *bytes)
{
    uint32_t word;
    __asm__("ldr %0, %1" : "=r"(word) : "m"(*(const int8_t (*)[4])bytes));
    return word;
}

static inline void pc_store_word(int8_t *bytes, uint32_t word)
{
    __asm__("str %1, %0" : "=m"(*(int8_t (*)[4])bytes) : "r"(word));
}

/* value * multiplier / 2^32, rounded; ties go up. */
static inline int32_t pc_upper_half(int32_t value, int32_t multiplier)
{
    int32_t result;
    __asm__("smmulr %0, %1, %2" : "=r"(result) : "r"(value), "r"(multiplier));
    return result;
}

/* Moved into [-128, 127]. */
static inline int8_t pc_saturated(int32_t value)
{
    int32_t result;
    __asm__("ssat %0, #8, %1" : "=r"(result) : "r"(value));
    return (int8_t)result;
}

#else

static inline int32_t pc_upper_half(int32_t value, int32_t multiplier)
{
    return (int32_t)((((int64_t)value * multiplier) + ((int64_t)1 << 31)) >> 32);
}

static inline int8_t pc_saturated(int32_t value)
{
    return (int8_t)((value < -128) ? -128 : ((value > 127) ? 127 : value));
}

#endif

/* value * multiplier / 2^31, rounded; ties go up. */
static inline int32_t pc_multiply_high(int32_t value, int32_t multiplier)
{
    return (int32_t)((((int64_t)value * multiplier) + (1 << 30)) >> 31);
}

/* value / 2^bits, rounded; ties go away from zero. */
static inline int32_t pc_shift_rounded(int32_t value, int32_t bits)
{
    return (bits == 0) ? value : ((value + (value >> 31) + ((int32_t)1 << (bits - 1))) >> bits);
}

/* value * multiplier / 2^31 * 2^shift with the roundings of both steps. */
static inline int32_t pc_scaled(int32_t value, int32_t multiplier, int32_t shift)
{
    int32_t moved = (shift > 0) ? (int32_t)((uint32_t)value << (uint32_t)shift) : value;
    return pc_shift_rounded(pc_multiply_high(moved, multiplier), (shift > 0) ? 0 : -shift);
}

static inline int32_t pc_limited(int32_t value, int32_t low, int32_t high)
{
    int32_t raised = (value < low) ? low : value;
    return (raised > high) ? high : raised;
}

#endif
