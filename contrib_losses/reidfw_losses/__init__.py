"""Losses of reidfw: three triplet losses on embeddings, and cross-entropy over the training identities."""
