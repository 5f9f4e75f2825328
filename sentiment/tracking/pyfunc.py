"""The model in MLflow's "models from code" form: this file is the logged ``python_model``.

MLflow runs it when it loads the model, with the scorer directory as the artifact ``scorer`` and
the modules that score on the path. Nothing is unpickled.

Input: a ``text`` column. Output: the columns of the service's ``/invocations``, always: ``label``,
``confidence``, ``probabilities`` (label to number), ``probability_<label>`` each, ``note`` and
``would_be``. A null text has an empty label, no numbers and the note ``no text``. Where the model or the
parameter ``min_confidence`` withholds an answer, its label is None and stands in ``would_be``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import numpy as np
import pandas as pd

from sentiment.records.answers import Note, note_of
from sentiment.scorer import Scorer

if TYPE_CHECKING:
    from mlflow.pyfunc.model import PythonModelContext

_SAID = ("label", "probabilities", "note", "would_be")


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
        least = self.scorer.decision.least((params or {}).get("min_confidence"))
        if not 0 <= least <= 1:
            raise ValueError(f"min_confidence is {least!r}: a number from 0 to 1")
        # A null text keeps its row: an empty label and no numbers.
        given = np.flatnonzero(texts.notna().to_numpy())
        found = self.scorer.predict([str(text) for text in texts.iloc[given]])
        numbers = np.full((len(texts), 1 + len(self.scorer.labels)), np.nan)
        numbers[given, 0] = found.confidence
        numbers[given, 1:] = found.probabilities
        said = {name: np.full(len(texts), None, dtype=object) for name in _SAID}
        said["label"][:] = ""
        said["note"][:] = Note.NO_TEXT.value
        for place, label, confidence, row, n_tokens, n_unknown in zip(
            given.tolist(), found.labels, found.confidence.tolist(), found.probabilities.tolist(),
            found.n_tokens.tolist(), found.n_unknown.tolist(), strict=True,
        ):  # fmt: skip
            note = note_of(confidence, least, n_tokens, n_unknown)
            withheld = note is Note.ABSTAINED
            said["label"][place] = None if withheld else label
            said["would_be"][place] = label if withheld else None
            said["probabilities"][place] = dict(zip(self.scorer.labels, row, strict=True))
            said["note"][place] = None if note is None else note.value
        names = [f"probability_{label}" for label in self.scorer.labels]
        columns = {
            "label": said["label"],
            "confidence": numbers[:, 0],
            "probabilities": said["probabilities"],
            **{name: numbers[:, 1 + place] for place, name in enumerate(names)},
            "note": said["note"],
            "would_be": said["would_be"],
        }
        # As they are: newer pandas would make NaN of None in columns of text.
        return pd.DataFrame(
            {name: pd.Series(values, texts.index, values.dtype) for name, values in columns.items()}
        )


def _text_of(item: Any) -> Any:
    return item.get("text") if isinstance(item, dict) else item


mlflow.models.set_model(ScorerModel())
