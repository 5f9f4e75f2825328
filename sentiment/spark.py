"""Spark: a model over a column of a data frame, and the session that `predict` uses."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiment import store
from sentiment.errors import Parameter, UsageError

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

_PACKAGE = Path(__file__).resolve().parent


def score(
    frame: DataFrame,
    column: str = "text",
    model: str | None = None,
    *,
    name: str = "sentiment",
    output_dir: str | Path = "outputs",
    min_confidence: float = 0.0,
) -> DataFrame:
    """Add what a model says of a text column.

    The scorer's files and the code that reads them go to each executor once; its Python workers map
    the same files. Executors need numpy and pyarrow, not this package.

    Parameters
    ----------
    frame : DataFrame
    column : str
        Of texts; null and blank ones are answered with an empty label and nulls.
    model : str, optional
        As for ``sentiment predict --model``; by default the latest.
    name : str
        Of the new column: a struct of ``label``, ``confidence``, ``probabilities`` (a map from label
        to number) and ``note``.
    output_dir : str or Path
        Where models of this machine lie.
    min_confidence : float
        Below it the label is ``abstain``.

    Returns
    -------
    DataFrame

    Raises
    ------
    ModelNotFoundError
        No model answers to the reference.
    UsageError
        There is no such column.
    """
    if column not in frame.columns:
        raise UsageError(
            Parameter("column", column), f": no such column (there are: {', '.join(frame.columns)})"
        )
    udf = scoring(frame.sparkSession, model, output_dir=output_dir, min_confidence=min_confidence)
    return frame.withColumn(name, udf(frame[column]))


def scoring(
    spark: SparkSession,
    model: str | None = None,
    *,
    output_dir: str | Path = "outputs",
    min_confidence: float = 0.0,
) -> Callable[[Column], Column]:
    """Return `score` as a function of columns, for `DataFrame.select` and SQL.

    Parameters
    ----------
    spark : SparkSession
    model, output_dir, min_confidence
        As for `score`.
    """
    from pyspark.sql.functions import pandas_udf

    stored = store.resolve(model, Path(output_dir))
    folder = f"scorer-{stored.digest[:16]}"
    with tempfile.TemporaryDirectory(prefix="sentiment-") as scratch:
        place = Path(scratch) / folder
        shutil.copytree(stored.path, place)
        spark.sparkContext.addFile(str(place), recursive=True)
    ship_code(spark.sparkContext)
    digest = stored.digest

    def batches(columns: Iterator[Any]) -> Iterator[Any]:
        import pandas as pd
        from pyspark import SparkFiles

        from sentiment.answering import score_texts
        from sentiment.scorer import Scorer

        scorer = Scorer.load(Path(SparkFiles.get(folder)), digest=digest)
        for texts in columns:
            known = [text if isinstance(text, str) else None for text in texts]
            answers = score_texts(scorer, known, min_confidence)
            yield pd.DataFrame(
                {
                    "label": answers.labels,
                    "confidence": answers.confidence,
                    "probabilities": [
                        None if row is None else dict(zip(scorer.labels, row, strict=True))
                        for row in answers.probabilities
                    ],
                    "note": [None if note is None else str(note) for note in answers.notes],
                }
            )

    batches.__annotations__ = {"columns": "Iterator[pd.Series]", "return": "Iterator[pd.DataFrame]"}
    kind = "label string, confidence double, probabilities map<string,double>, note string"
    return pandas_udf(batches, kind, 204)  # type: ignore[no-any-return]


def ship_code(context: Any) -> None:
    """Send this package to the executors, as it is here."""
    folder = tempfile.mkdtemp(prefix="sentiment-")
    archive = shutil.make_archive(
        str(Path(folder) / "sentiment_code"), "zip", _PACKAGE.parent, _PACKAGE.name
    )
    context.addPyFile(archive)


@contextmanager
def session(address: str | None = None) -> Iterator[SparkSession]:
    """Give the session that is there, or one that ends with the block.

    Parameters
    ----------
    address : str, optional
        Of a master, such as ``spark://head:7077``; by default the threads of this machine.
    """
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if shutil.which("java") is None and not os.environ.get("JAVA_HOME"):
        raise UsageError("Spark needs Java 17 or newer: install it, or set JAVA_HOME")
    from pyspark.sql import SparkSession

    ours = SparkSession.getActiveSession() is None
    spark = (
        SparkSession.builder.master(address or "local[*]")
        .appName("sentiment")
        .config("spark.ui.enabled", "false")
        .config("spark.log.level", "ERROR")
        .getOrCreate()
    )
    ship_code(spark.sparkContext)
    try:
        yield spark
    finally:
        if ours:
            spark.stop()
