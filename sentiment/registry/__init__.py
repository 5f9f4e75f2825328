"""Models under names in MLflow: a gate, a history, a way back."""
