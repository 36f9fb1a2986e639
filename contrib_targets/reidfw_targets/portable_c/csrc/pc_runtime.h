/* Runs a network row by row: each row is made when another one needs it, and forgotten when no other one does. */
#ifndef PC_RUNTIME_H
#define PC_RUNTIME_H

#include <stdint.h>

#define PC_NONE 0xFFFFu

/* What a kernel gets for one step. */
typedef struct {
    const void *parameters;     /* the operator's own structure, see pc_kernels.h */
    const int8_t *const *rows;  /* rows of all inputs, one input after another; NULL stands for padding */
    int8_t *output;             /* the row to be made */
    void *scratch;              /* working memory, word-aligned */
    int32_t step;               /* number of the step, from 0 */
} pc_call;

typedef void (*pc_kernel)(const pc_call *call);

/* Row r of a tensor lies at offset + (r modulo ring) * row_bytes of the arena. */
typedef struct {
    uint32_t offset;
    uint32_t row_bytes;
    uint16_t height;
    uint16_t ring;
    uint16_t maker;       /* the operator that makes it, PC_NONE for an image that is there from the start */
    uint16_t file_index;  /* the tensor's number in the model file, PC_NONE where the file has no such tensor */
    uint16_t file_row;    /* the row of the file's tensor that is its row 0 */
} pc_tensor;

/* Step s reads the rows s * stride - pad ... s * stride - pad + kernel - 1. */
typedef struct {
    uint16_t tensor;
    int16_t pad;
    uint8_t stride;
    uint8_t kernel;
} pc_read;

typedef struct {
    pc_kernel kernel;
    const void *parameters;
    uint32_t scratch;  /* offset in the arena */
    uint16_t first_read;
    uint16_t reads;
    uint16_t output;
    uint16_t steps;
} pc_operator;

typedef struct {
    const pc_tensor *tensors;
    const pc_read *reads;
    const pc_operator *operators;
    const uint16_t *goals;  /* operators to be completed, one after another; all others run when they are needed */
    uint16_t goal_count;
    uint16_t operator_count;
} pc_network;

/* Memory that changes. */
typedef struct {
    int8_t *arena;        /* word-aligned */
    uint16_t *done;       /* steps done, one for each operator */
    uint16_t *path;       /* the operators that wait for the current one */
    const int8_t **rows;  /* row pointers of one step */
} pc_memory;

void pc_run(const pc_network *network, const pc_memory *memory);

#ifdef MODEL_TRACE
/* Supplied by whoever defines MODEL_TRACE: called with each row when it is complete, */
void model_trace(int tensor, int row, const void *data, int bytes);
/* and with the number of the operator after each of its steps. */
void model_trace_step(int operator_number);
#endif

#endif
