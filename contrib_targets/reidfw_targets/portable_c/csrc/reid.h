/* Re-identification with embeddings: comparing two, and a small gallery of known identities. Integer arithmetic. */
#ifndef REID_H
#define REID_H

#include <stdint.h>

#include "model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* 1.0 of a similarity, which has 30 fraction bits and lies in [-REID_ONE, REID_ONE]. */
#define REID_ONE ((int32_t)1 << 30)

/* No similarity reaches it. */
#define REID_NOBODY INT32_MAX

#ifdef REID_DISTANCE_EUCLIDEAN
#error "A euclidean threshold; reid.h compares cosines: set evaluation.reid_distance_metric to cosine"
#endif

/* 0; does not compile where ..._reid_threshold.h of a euclidean evaluation was included behind this file. */
#define REID_COSINE_ONLY(tag) REID_COSINE_ONLY_(tag)
#define REID_COSINE_ONLY_(tag) reid_needs_a_cosine_threshold_##tag
enum { reid_needs_a_cosine_threshold_REID_DISTANCE_EUCLIDEAN = 0 };

/* A cosine distance d of reidfw's evaluation (..._reid_threshold.h) as the similarity 1 - d: 0.35 ->
 * REID_THRESHOLD(0.35). The threshold is the distance of a pair that counts as the same; the millionth keeps it so,
 * as the evaluation computes with floats of 32 bits. What is no cosine distance, 0 to 2, recognises nobody.
 * A constant costs nothing at run time. */
#define REID_THRESHOLD(distance) \
    ((((double)(distance) >= -1e-6) && ((double)(distance) <= (2.0 + 1e-6))) \
         ? (REID_COSINE_ONLY(REID_DISTANCE_EUCLIDEAN) \
            + (int32_t)((1.0 - (double)(distance) - 1e-6) * (double)REID_ONE)) \
         : REID_NOBODY)

/* An embedding with its squared length, so that it need not be divided by its length to be compared. */
typedef struct {
    model_output_t values[MODEL_EMBEDDING_SIZE];  /* as the model made them */
    uint64_t squares;  /* sum of the squares of (value - MODEL_OUTPUT_ZERO_POINT) */
} reid_vector;

/* Takes over what the model made. */
void reid_prepare(const model_output_t *embedding, reid_vector *vector);

/* L2-normalises: numbers of length 1 with 15 fraction bits, for programs that compute on. Zeros stay zero. */
void reid_normalise(const reid_vector *vector, int16_t *unit);

/* Cosine similarity, exact to the 30th fraction bit; an embedding of zeros is like nothing: 0. */
int32_t reid_cosine(const reid_vector *a, const reid_vector *b);

/* 1 where the similarity of both reaches the threshold, else 0. */
int reid_same(const reid_vector *a, const reid_vector *b, int32_t threshold);

/* Known identities, in memory that the application gives. Several vectors may have one identity. */
typedef struct {
    reid_vector *vectors;  /* capacity elements */
    uint16_t *identities;  /* capacity elements */
    uint16_t capacity;
    uint16_t count;
} reid_gallery;

#define REID_UNKNOWN 0xFFFFu

void reid_gallery_init(reid_gallery *gallery, reid_vector *vectors, uint16_t *identities, uint16_t capacity);

/* Adds a vector. Returns 0, or -1 where the gallery is full or the identity is REID_UNKNOWN. */
int reid_enrol(reid_gallery *gallery, const reid_vector *vector, uint16_t identity);

/* Removes all vectors of an identity; returns how many. */
uint16_t reid_remove(reid_gallery *gallery, uint16_t identity);

/* The identity of the most similar vector, REID_UNKNOWN where none reaches the threshold or the gallery is empty.
 * similarity, which may be NULL, gets that of the most similar vector, -REID_ONE where the gallery is empty. */
uint16_t reid_match(const reid_gallery *gallery, const reid_vector *vector, int32_t threshold, int32_t *similarity);

#ifdef __cplusplus
}
#endif

#endif
