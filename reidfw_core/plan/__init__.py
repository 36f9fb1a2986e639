"""From an operation mode to a checked list of steps, before any framework is imported."""
