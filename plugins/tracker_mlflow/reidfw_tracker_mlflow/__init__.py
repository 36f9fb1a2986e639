"""MLflow tracking for reidfw."""
