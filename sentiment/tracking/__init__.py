"""Runs, models and artifacts in MLflow: the only package that imports it."""
