"""Carrying out a plan: the run folder, seeds and devices, the steps, and what is left when something fails."""
