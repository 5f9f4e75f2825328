"""The model in MLflow's "models from code" form: this file is the logged ``python_model``.

MLflow runs it when it loads the model, with the scorer directory as the artifact ``scorer`` and
the modules that score on the path. Nothing is unpickled.

Input: a ``text`` column. Output: ``label``, ``confidence`` and ``probability_<label>`` each; a null
text has an empty label and no numbers. Where the model or the parameter ``min_confidence`` withholds
answers, an unsure text has no label (None), and the table a column ``would_be``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import numpy as np
import pandas as pd

from sentiment.scorer import Scorer

if TYPE_CHECKING:
    from mlflow.pyfunc.model import PythonModelContext


class ScorerModel(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]
    """A scorer behind MLflow's interface."""

    # The signature says what comes in; MLflow would warn of a class whose hint is not a list.
    _skip_type_hint_validation = True

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
        # A null text keeps its row: an empty label and no numbers.
        given = texts.notna().to_numpy()
        found = self.scorer.predict([str(text) for text in texts[given]])
        labels = np.full(len(texts), "", dtype=object)
        labels[given] = found.labels
        numbers = np.full((len(texts), 1 + len(self.scorer.labels)), np.nan)
        numbers[given, 0] = found.confidence
        numbers[given, 1:] = found.probabilities
        names = ["confidence", *(f"probability_{label}" for label in self.scorer.labels)]
        table = pd.DataFrame(numbers, index=texts.index, columns=names)
        least = self.scorer.decision.least((params or {}).get("min_confidence"))
        if not 0 <= least <= 1:
            raise ValueError(f"min_confidence is {least!r}: a number from 0 to 1")
        if least > 0:
            unsure = table["confidence"].to_numpy() < least
            would_be = np.full(len(texts), None, dtype=object)
            would_be[unsure] = labels[unsure]
            table["would_be"] = would_be
            labels[unsure] = None
        table.insert(0, "label", labels)
        return table


def _text_of(item: Any) -> Any:
    return item.get("text") if isinstance(item, dict) else item


mlflow.models.set_model(ScorerModel())
