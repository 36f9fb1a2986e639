"""Starter configurations: complete YAML files, registered in the entry point group ``reidfw.starters``."""

from pathlib import Path

SYNTHETIC = Path(__file__).with_name("synthetic.yaml")
"""Trains, quantizes and evaluates on drawn people: needs no data and no network connection."""
