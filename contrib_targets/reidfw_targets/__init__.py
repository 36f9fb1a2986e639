"""Targets of reidfw: ``host`` (this computer) and the STM32 boards."""
