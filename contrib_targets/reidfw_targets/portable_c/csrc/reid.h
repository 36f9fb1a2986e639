/* Re-identification with embeddings: comparing two, and a small gallery of known identities. Integer arithmetic. */
#ifndef REID_H
#define REID_H

#include <stdint.h>

#include "model.h"

/* 1.0 as a number with 15 fraction bits; similarities lie in [-REID_ONE, REID_ONE]. */
#define REID_ONE 32767

/* A cosine distance d of reidfw's evaluation (..._reid_threshold.json) as the similarity 1 - d: 0.35 -> REID_THRESHOLD(0.35). */
#define REID_THRESHOLD(distance) ((int32_t)((1.0 - (distance)) * REID_ONE))

/* An embedding of length 1. */
typedef struct {
    int16_t values[MODEL_EMBEDDING_SIZE];
} reid_vector;

/* De-quantizes and L2-normalises; an embedding of zeros stays zero, and is like nothing. */
void reid_normalise(const model_output_t *embedding, reid_vector *vector);

/* Cosine similarity with 15 fraction bits. */
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

/* Adds a vector. Returns 0, or -1 where the gallery is full. */
int reid_enrol(reid_gallery *gallery, const reid_vector *vector, uint16_t identity);

/* Removes all vectors of an identity; returns how many. */
uint16_t reid_remove(reid_gallery *gallery, uint16_t identity);

/* The identity of the most similar vector, REID_UNKNOWN where none reaches the threshold. similarity may be NULL. */
uint16_t reid_match(const reid_gallery *gallery, const reid_vector *vector, int32_t threshold, int32_t *similarity);

#endif
