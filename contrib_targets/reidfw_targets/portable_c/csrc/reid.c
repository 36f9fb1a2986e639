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

void reid_normalise(const model_output_t *embedding, reid_vector *vector)
{
    uint64_t squares = 0u;
    int64_t length;
    uint32_t i;

    for (i = 0u; i < (uint32_t)MODEL_EMBEDDING_SIZE; i++) {
        int32_t value = (int32_t)embedding[i] - MODEL_OUTPUT_ZERO_POINT;
        squares += (uint64_t)((int64_t)value * value);
    }
    length = (int64_t)square_root(squares << 16);  /* with 8 fraction bits */
    for (i = 0u; i < (uint32_t)MODEL_EMBEDDING_SIZE; i++) {
        int64_t value = (int64_t)embedding[i] - MODEL_OUTPUT_ZERO_POINT;
        int64_t scaled = value * REID_ONE * 512;  /* twice as much, to round */
        int64_t unit = (length == 0) ? 0 : ((scaled + ((scaled < 0) ? -length : length)) / (2 * length));
        unit = (unit > REID_ONE) ? REID_ONE : unit;
        vector->values[i] = (int16_t)((unit < -REID_ONE) ? -REID_ONE : unit);
    }
}

int32_t reid_cosine(const reid_vector *a, const reid_vector *b)
{
    int64_t sum = 0;
    uint32_t i;

    for (i = 0u; i < (uint32_t)MODEL_EMBEDDING_SIZE; i++) {
        sum += (int32_t)a->values[i] * b->values[i];
    }
    sum = sum / REID_ONE;
    sum = (sum > REID_ONE) ? REID_ONE : sum;
    return (int32_t)((sum < -REID_ONE) ? -REID_ONE : sum);
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
    if (gallery->count >= gallery->capacity) {
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
    int32_t best = -REID_ONE - 1;
    uint16_t i;

    for (i = 0u; i < gallery->count; i++) {
        int32_t one = reid_cosine(&gallery->vectors[i], vector);
        if (one > best) {
            best = one;
            found = gallery->identities[i];
        }
    }
    if (similarity != NULL) {
        *similarity = best;
    }
    return (best >= threshold) ? found : (uint16_t)REID_UNKNOWN;
}
