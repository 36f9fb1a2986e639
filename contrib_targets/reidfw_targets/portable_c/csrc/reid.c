#include "reid.h"

#include <stddef.h>

/* The largest integer whose square is not above the number. */
static uint32_t square_root(uint64_t number)
{
    uint64_t rest = number;
    uint64_t root = 0u;
    uint64_t bit = (uint64_t)1u << 62;

    while (bit > rest) {
        bit >>= 2;
    }
    while (bit != 0u) {
        if (rest >= (root + bit)) {
            rest -= root + bit;
            root = (root >> 1) + bit;
        } else {
            root >>= 1;
        }
        bit >>= 2;
    }
    return (uint32_t)root;
}

static int32_t centred(model_output_t value)
{
    return (int32_t)value - MODEL_OUTPUT_ZERO_POINT;
}

static int64_t divided_rounded(int64_t number, int64_t divisor)
{
    int64_t half = divisor / 2;
    return (number + ((number < 0) ? -half : half)) / divisor;
}

static int64_t limited(int64_t number, int64_t limit)
{
    int64_t raised = (number < -limit) ? -limit : number;
    return (raised > limit) ? limit : raised;
}

void reid_prepare(const model_output_t *embedding, reid_vector *vector)
{
    uint32_t i;

    vector->squares = 0u;
    for (i = 0u; i < (uint32_t)MODEL_EMBEDDING_SIZE; i++) {
        int32_t value = centred(embedding[i]);
        vector->values[i] = embedding[i];
        vector->squares += (uint64_t)((int64_t)value * value);
    }
}

void reid_normalise(const reid_vector *vector, int16_t *unit)
{
    int64_t length = (int64_t)square_root(vector->squares << 16);  /* with 8 fraction bits */
    uint32_t i;

    for (i = 0u; i < (uint32_t)MODEL_EMBEDDING_SIZE; i++) {
        int64_t scaled = (int64_t)centred(vector->values[i]) * INT16_MAX * 256;
        unit[i] = (int16_t)((length == 0) ? 0 : limited(divided_rounded(scaled, length), INT16_MAX));
    }
}

int32_t reid_cosine(const reid_vector *a, const reid_vector *b)
{
    uint64_t product = a->squares * b->squares;  /* of MODEL_EMBEDDING_SIZE < 65536 numbers of 9 bits: no overflow */
    int64_t dot = 0;
    int64_t length;
    uint32_t i;

    if (product == 0u) {
        return 0;
    }
    for (i = 0u; i < (uint32_t)MODEL_EMBEDDING_SIZE; i++) {
        dot += (int64_t)centred(a->values[i]) * centred(b->values[i]);
    }
    while (product < ((uint64_t)1u << 60)) {  /* as many bits of the root as there are: |dot| <= length < 2^32 */
        product <<= 2;
        dot *= 2;
    }
    length = (int64_t)square_root(product);
    return (int32_t)limited(divided_rounded(dot * REID_ONE, length), REID_ONE);
}

int reid_same(const reid_vector *a, const reid_vector *b, int32_t threshold)
{
    return (reid_cosine(a, b) >= threshold) ? 1 : 0;
}

void reid_gallery_init(reid_gallery *gallery, reid_vector *vectors, uint16_t *identities, uint16_t capacity)
{
    gallery->vectors = vectors;
    gallery->identities = identities;
    gallery->capacity = capacity;
    gallery->count = 0u;
}

int reid_enrol(reid_gallery *gallery, const reid_vector *vector, uint16_t identity)
{
    if ((gallery->count >= gallery->capacity) || (identity == REID_UNKNOWN)) {
        return -1;
    }
    gallery->vectors[gallery->count] = *vector;
    gallery->identities[gallery->count] = identity;
    gallery->count++;
    return 0;
}

uint16_t reid_remove(reid_gallery *gallery, uint16_t identity)
{
    uint16_t kept = 0u;
    uint16_t removed;
    uint16_t i;

    for (i = 0u; i < gallery->count; i++) {
        if (gallery->identities[i] != identity) {
            if (kept != i) {
                gallery->vectors[kept] = gallery->vectors[i];
                gallery->identities[kept] = gallery->identities[i];
            }
            kept++;
        }
    }
    removed = (uint16_t)(gallery->count - kept);
    gallery->count = kept;
    return removed;
}

uint16_t reid_match(const reid_gallery *gallery, const reid_vector *vector, int32_t threshold, int32_t *similarity)
{
    uint16_t found = REID_UNKNOWN;
    int32_t best = -REID_ONE;
    uint16_t i;

    for (i = 0u; i < gallery->count; i++) {
        int32_t one = reid_cosine(&gallery->vectors[i], vector);
        if ((i == 0u) || (one > best)) {
            best = one;
            found = gallery->identities[i];
        }
    }
    if (similarity != NULL) {
        *similarity = best;
    }
    return (best >= threshold) ? found : (uint16_t)REID_UNKNOWN;
}
