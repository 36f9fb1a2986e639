"""Backbones of reidfw: networks from an image to a feature map."""
