"""ClearML tracking for reidfw."""
