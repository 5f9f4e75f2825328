"""The model in MLflow's "models from code" form: this file is the logged ``python_model``.

MLflow runs it when it loads the model, with the scorer directory as the artifact ``scorer`` and
the modules that score on the path. Nothing is unpickled.

Input: a ``text`` column. Output: ``label``, ``confidence`` and ``probability_<label>`` each; a null
text has an empty label and no numbers.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import pandas as pd

from sentiment.scorer import Scorer

if TYPE_CHECKING:
    from mlflow.pyfunc.model import PythonModelContext


class ScorerModel(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]
    """A scorer behind MLflow's interface."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load and verify the scorer directory."""
        self.scorer = Scorer.load(Path(context.artifacts["scorer"]))

    def predict(
        self,
        context: PythonModelContext,
        model_input: Any,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Score the ``text`` column of a table (or a list of texts)."""
        if isinstance(model_input, pd.DataFrame):
            if "text" not in model_input.columns:
                raise ValueError(f"no column 'text' (there are: {', '.join(model_input.columns)})")
            texts = model_input["text"]
        else:
            texts = pd.Series([_text_of(item) for item in model_input], dtype=object)
        null = texts.isna().to_numpy()
        given = [str(text) for text in texts[~null]]
        found = self.scorer.predict(given)
        answers: dict[str, Any] = {"label": found.labels, "confidence": found.confidence}
        for number, label in enumerate(self.scorer.labels):
            answers[f"probability_{label}"] = found.probabilities[:, number]
        table = pd.DataFrame(answers, index=texts.index[~null])
        if null.any():
            table = table.reindex(texts.index)
            table["label"] = table["label"].fillna("")
        return table


def _text_of(item: Any) -> Any:
    return item.get("text") if isinstance(item, dict) else item


mlflow.models.set_model(ScorerModel())
