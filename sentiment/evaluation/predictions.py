"""``test_predictions.parquet``: every test prediction of a run, written once and read once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sentiment.data.split import Split
    from sentiment.scorer.decision import Decision


FILE_NAME = "test_predictions.parquet"
N_SAMPLES = 100  # rows of sample_predictions.csv and of the most confident errors
_PROBABILITY = "probability_"


@dataclass(frozen=True)
class LoggedPredictions:
    """What a run answered to its test rows.

    Attributes
    ----------
    text_sha256, labels, predicted : list of str
        One per row, in the order of the test split.
    classes : list of str
    probabilities : float64[rows, classes]
    """

    text_sha256: list[str]
    labels: list[str]
    predicted: list[str]
    classes: list[str]
    probabilities: NDArray[np.float64]

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each answer was right."""
        same = [label == answer for label, answer in zip(self.labels, self.predicted, strict=True)]
        return np.array(same, dtype=np.bool_)


def read_predictions(file: Path) -> LoggedPredictions | None:
    """Read what `write_predictions` wrote; None when it is cut off or of another program.

    Parameters
    ----------
    file : Path
        `FILE_NAME` of a run.
    """
    import polars as pl

    try:
        frame = pl.read_parquet(file).sort("row")
        columns = [column for column in frame.columns if column.startswith(_PROBABILITY)]
        return LoggedPredictions(
            frame["text_sha256"].to_list(),
            frame["label"].to_list(),
            frame["predicted"].to_list(),
            [column.removeprefix(_PROBABILITY) for column in columns],
            frame.select(columns).to_numpy(),
        )
    except (pl.exceptions.PolarsError, OSError):
        return None


def write_predictions(
    folder: Path,
    test: Split,
    labels: Sequence[str],
    probabilities: NDArray[np.float64],
    decision: Decision,
) -> None:
    """Write every test prediction for paired tests, and two small tables for people."""
    import hashlib

    import polars as pl

    names = np.asarray(labels, dtype=object)
    best = decision.best(probabilities)
    frame = pl.DataFrame(
        {
            "row": np.arange(len(test)),
            "text_sha256": [
                hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
                for text in test.texts
            ],
            "label": test.labels,
            "predicted": names[best].tolist(),
            **{f"{_PROBABILITY}{label}": probabilities[:, i] for i, label in enumerate(labels)},
        }
    )
    frame.write_parquet(folder / FILE_NAME)
    shown = frame.select(
        "row",
        pl.Series("text", test.texts).str.slice(0, 500),
        "label",
        "predicted",
        pl.Series("confidence", probabilities[np.arange(len(best)), best]),
    )
    shown.head(N_SAMPLES).write_csv(folder / "sample_predictions.csv")
    errors = shown.filter(pl.col("label") != pl.col("predicted"))
    errors.sort("confidence", "row", descending=[True, False]).head(N_SAMPLES).write_csv(
        folder / "confident_errors.csv"
    )
