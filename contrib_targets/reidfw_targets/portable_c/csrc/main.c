/* Example: is the person in front of the camera a known one? Replace take_row by your camera or resized crop. */
#include "reid.h"

#define PEOPLE 4u

static model_input_t line[MODEL_INPUT_WIDTH * MODEL_INPUT_CHANNELS];

/* A row of the image; here a pattern, so that the example runs anywhere. user: number of the picture. */
static const model_input_t *take_row(void *user, int row)
{
    const uint32_t *picture = (const uint32_t *)user;
    uint32_t i;

    for (i = 0u; i < (uint32_t)(MODEL_INPUT_WIDTH * MODEL_INPUT_CHANNELS); i++) {
        line[i] = (model_input_t)((i * (*picture + 1u)) + ((uint32_t)row * 7u));
    }
    return line;
}

static int look(uint32_t picture, reid_vector *vector)
{
    static model_output_t embedding[MODEL_EMBEDDING_SIZE];
    uint32_t number = picture;
    int result = model_run_rows(take_row, &number, embedding);

    if (result == MODEL_OK) {
        reid_prepare(embedding, vector);
    }
    return result;
}

/* Returns 0 where the second look at person 0 is recognised. */
int main(void)
{
    static reid_vector vectors[PEOPLE];
    static uint16_t identities[PEOPLE];
    static reid_vector seen;
    reid_gallery gallery;
    int32_t similarity;

    reid_gallery_init(&gallery, vectors, identities, PEOPLE);
    if ((look(0u, &seen) != MODEL_OK) || (reid_enrol(&gallery, &seen, 0u) != 0)) {
        return 1;
    }
    if ((look(1u, &seen) != MODEL_OK) || (reid_enrol(&gallery, &seen, 1u) != 0)) {
        return 1;
    }
    if (look(0u, &seen) != MODEL_OK) {
        return 1;
    }
    return (reid_match(&gallery, &seen, REID_THRESHOLD(0.35), &similarity) == 0u) ? 0 : 2;
}
