"""Drawn people: a re-identification data set that needs no download.

:mod:`reader` is the component. The drawing itself uses NumPy only, so that pixels depend on the seed alone:
:mod:`people` decides what an identity looks like, :mod:`skeleton` and :mod:`figure` pose and draw it, :mod:`scene`
adds surroundings and light, :mod:`camera` what a camera makes of it. :mod:`collection` plans the images and writes
them. Pillow is used for the JPEG files alone.
"""
