"""reidfw: train, quantize, evaluate and deploy re-identification models for STM32 boards.

The core defines the contracts (:mod:`reidfw_core.hookspecs`), finds the installed components
(:mod:`reidfw_core.catalog`), checks a configuration, plans a run and executes it. It knows no
backbone, loss, quantizer or board by name: those are plugins, see :mod:`reidfw_core.api`.
"""

__version__ = "1.3.0"
