"""Data augmentation functions of reidfw, each an entry point of the group ``reidfw.augmentations``.

The modules here are light; the Keras layers lie in :mod:`reidfw_augmentations._keras`.
"""
