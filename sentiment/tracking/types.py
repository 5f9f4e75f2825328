"""MLflow's types, for annotations of who is handed its objects; nobody imports this at run time."""

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion, RegisteredModel

__all__ = ["MlflowClient", "ModelVersion", "RegisteredModel", "Run"]
