"""Which images are used when: the PK sampler, splits, calibration subsets. NumPy only."""
