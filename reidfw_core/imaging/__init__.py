"""From image files to the numbers that a network gets: the same code for training, calibration and evaluation."""
