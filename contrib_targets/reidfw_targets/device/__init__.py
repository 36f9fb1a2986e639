"""Embeddings computed by a connected board, or by ST's library for this computer, through ST Edge AI Core."""
