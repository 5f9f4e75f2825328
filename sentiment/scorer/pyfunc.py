"""The model as MLflow runs it: a script around the scorer directory ("models from code").

MLflow copies this file into the logged model and runs it at load; nothing is unpickled.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel

from sentiment.scorer import Scorer


class SentimentModel(PythonModel):
    """Text in; label, confidence and one probability per label out."""

    def load_context(self, context: Any) -> None:
        """Load and verify the scorer that was logged with the model."""
        self.scorer = Scorer.load(context.artifacts["scorer"])

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Score the column ``text``.

        Parameters
        ----------
        model_input : DataFrame, n rows
            With a column ``text``.

        Returns
        -------
        DataFrame, n rows
            ``label``, ``confidence`` and ``probability_<label>`` for each label.
        """
        answers = self.scorer.predict(model_input["text"].tolist())
        columns = {"label": answers.labels, "confidence": answers.confidence}
        for position, label in enumerate(self.scorer.labels):
            columns[f"probability_{label}"] = answers.probabilities[:, position]
        return pd.DataFrame(columns)


set_model(SentimentModel())
