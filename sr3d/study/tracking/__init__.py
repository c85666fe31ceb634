"""Run records in an MLflow store."""
