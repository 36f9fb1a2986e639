#include "pc_runtime.h"

#include <stddef.h>

static int32_t clamped(int32_t value, int32_t high)
{
    int32_t low_done = (value < 0) ? 0 : value;
    return (low_done > high) ? high : low_done;
}

static int8_t *row_of(const pc_memory *memory, const pc_tensor *tensor, uint32_t row)
{
    uint32_t slot = (tensor->ring == tensor->height) ? row : (row % tensor->ring);
    return memory->arena + tensor->offset + (slot * tensor->row_bytes);
}

/* The operator that must run before the next step of this one can; PC_NONE where nothing is missing. */
static uint32_t missing(const pc_network *network, const pc_memory *memory, uint32_t number)
{
    const pc_operator *self = &network->operators[number];
    const pc_read *read = &network->reads[self->first_read];
    int32_t step = (int32_t)memory->done[number];
    uint32_t i;

    for (i = 0u; i < self->reads; i++, read++) {
        const pc_tensor *tensor = &network->tensors[read->tensor];
        if (tensor->maker != PC_NONE) {
            int32_t needed = clamped((step * read->stride) - read->pad + read->kernel, tensor->height);
            if (network->operators[tensor->maker].steps != tensor->height) {
                needed = network->operators[tensor->maker].steps;  /* its only row comes with its last step */
            }
            if ((int32_t)memory->done[tensor->maker] < needed) {
                return tensor->maker;
            }
        }
    }
    return PC_NONE;
}

static void run_step(const pc_network *network, const pc_memory *memory, uint32_t number)
{
    const pc_operator *self = &network->operators[number];
    const pc_read *read = &network->reads[self->first_read];
    const pc_tensor *output = &network->tensors[self->output];
    int32_t step = (int32_t)memory->done[number];
    uint32_t row = (self->steps == output->height) ? (uint32_t)step : 0u;
    uint32_t count = 0u;
    uint32_t i;
    pc_call call;

    for (i = 0u; i < self->reads; i++, read++) {
        const pc_tensor *tensor = &network->tensors[read->tensor];
        int32_t from = (step * read->stride) - read->pad;
        int32_t k;
        for (k = from; k < (from + read->kernel); k++) {
            int inside = (k >= 0) && (k < (int32_t)tensor->height);
            memory->rows[count] = inside ? row_of(memory, tensor, (uint32_t)k) : NULL;
            count++;
        }
    }
    call.parameters = self->parameters;
    call.rows = memory->rows;
    call.output = row_of(memory, output, row);
    call.scratch = memory->arena + self->scratch;
    call.step = step;
    self->kernel(&call);
    memory->done[number]++;
#ifdef MODEL_TRACE
    if ((output->file_index != PC_NONE) && ((self->steps == output->height) || (memory->done[number] == self->steps))) {
        model_trace((int)output->file_index, (int)(output->file_row + row), call.output, (int)output->row_bytes);
    }
    model_trace_step((int)number);
#endif
}

void pc_run(const pc_network *network, const pc_memory *memory)
{
    uint32_t i;

    for (i = 0u; i < network->operator_count; i++) {
        memory->done[i] = 0u;
    }
    for (i = 0u; i < network->goal_count; i++) {
        uint32_t goal = network->goals[i];
        uint32_t current = goal;
        uint32_t depth = 0u;
        while (memory->done[goal] < network->operators[goal].steps) {
            uint32_t maker = missing(network, memory, current);
            if (maker != PC_NONE) {
                memory->path[depth] = (uint16_t)current;
                depth++;
                current = maker;
            } else {
                run_step(network, memory, current);
                if (depth > 0u) {
                    depth--;
                    current = memory->path[depth];
                }
            }
        }
    }
}
