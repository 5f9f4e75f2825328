"""Spark: a model over a column of a data frame, and the session that an engine uses."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiment.errors import Parameter, UsageError
from sentiment.registry.lookup import find_model

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

    from sentiment.scorer import Scorer

_PACKAGE = Path(__file__).resolve().parent
_ROWS = 1024  # scored at a time: what is made of them fits the processor's cache
_ANSWER = "label string, confidence double, probabilities map<string,double>, would_be string, note string"


def score(
    dataframe: DataFrame,
    column: str = "text",
    model: str | None = None,
    *,
    name: str = "sentiment",
    output_dir: str | Path = "outputs",
    min_confidence: float | None = None,
) -> DataFrame:
    """Add what a model says of a text column.

    The scorer's files and the code that reads them go to each executor once; its Python workers map
    the same files. Executors need numpy and pyarrow, not this package.

    Parameters
    ----------
    dataframe : DataFrame
    column : str
        Of texts; null and blank ones are answered with an empty label, nulls and a note.
    model : str, optional
        As for ``sentiment predict --model``; by default the latest.
    name : str
        Of the new column: a struct of ``label``, ``confidence``, ``probabilities`` (a map from label
        to number), ``would_be`` (a label that is withheld) and ``note``.
    output_dir : str or Path
        Where models of this machine lie.
    min_confidence : float, optional
        Below it the label is withheld; by default as the model's decision says.

    Returns
    -------
    DataFrame

    Raises
    ------
    ModelNotFoundError
        No model answers to the reference.
    UsageError
        There is no such column, or it holds no text.
    """
    types = {field.name: field.dataType.simpleString() for field in dataframe.schema}
    if column not in types:
        names = ", ".join(types)
        raise UsageError(Parameter("column", column), f": no such column (there are: {names})")
    if not types[column].startswith(("string", "varchar", "char")):
        raise UsageError(
            Parameter("column", column), f": holds {types[column]}, not text: cast it to string"
        )
    scored = scoring(
        dataframe.sparkSession, model, output_dir=output_dir, min_confidence=min_confidence
    )
    # A dot within a name would mean a field of a struct.
    quoted = column.replace("`", "``")
    return dataframe.withColumn(name, scored(dataframe[f"`{quoted}`"]))


def scoring(
    spark: SparkSession,
    model: str | None = None,
    *,
    output_dir: str | Path = "outputs",
    min_confidence: float | None = None,
) -> Callable[[Column], Column]:
    """Return `score` as a function of columns, for ``select`` and, registered, for SQL.

    Parameters
    ----------
    spark : SparkSession
    model, output_dir, min_confidence
        As for `score`.
    """
    from pyspark.sql.functions import arrow_udf

    stored = find_model(model, Path(output_dir))
    folder, digest = f"scorer-{stored.digest[:16]}", stored.digest
    spark.sparkContext.addArchive(f"{_archived_model(stored.path, folder)}#{folder}")
    ship_code(spark.sparkContext)

    def answer(batches: Iterator[Any]) -> Iterator[Any]:
        import pyarrow as pa
        from pyspark import SparkFiles

        from sentiment.answering import score_texts
        from sentiment.spark import loaded

        scorer = loaded(SparkFiles.get(folder), digest)
        probabilities = pa.map_(pa.string(), pa.float64())
        for texts in (
            batch[first : first + _ROWS]
            for batch in batches
            for first in range(0, len(batch), _ROWS)
        ):
            found = score_texts(scorer, texts.to_pylist(), min_confidence)
            rows = [
                None if row is None else list(zip(scorer.labels, row, strict=True))
                for row in found.probabilities
            ]
            columns = {
                "label": pa.array(found.labels, pa.string()),
                "confidence": pa.array(found.confidence, pa.float64()),
                "probabilities": pa.array(rows, probabilities),
                "would_be": pa.array(found.would_be, pa.string()),
                "note": pa.array(found.notes, pa.string()),
            }
            yield pa.StructArray.from_arrays(list(columns.values()), names=list(columns))

    # Spark reads the kind of a function from its annotations, and these are no strings.
    import pyarrow

    answer.__annotations__ = {
        "batches": Iterator[pyarrow.Array],
        "return": Iterator[pyarrow.Array],
    }
    return arrow_udf(answer, _ANSWER)  # type: ignore[no-any-return]


@cache
def loaded(folder: str, digest: str) -> Scorer:
    """Return a model, checked and mapped once in a worker, which computes one partition after the other.

    Parameters
    ----------
    folder : str
        Its directory, where Spark has put it.
    digest : str
    """
    from sentiment.scorer import Scorer

    return Scorer.load(Path(folder), digest=digest)


@cache
def _scratch() -> tempfile.TemporaryDirectory[str]:
    """Return a folder that stays as long as this process: executors fetch files late."""
    return tempfile.TemporaryDirectory(prefix="sentiment-")


@cache
def _archived_model(scorer: Path, name: str) -> str:
    return shutil.make_archive(str(Path(_scratch().name) / name), "zip", scorer)


def ship_code(context: Any) -> None:
    """Send this package to the executors, as it is here."""
    context.addPyFile(_archived_code())


@cache
def _archived_code() -> str:
    """Return an archive of this package: one for a process, as Spark knows files by their names."""
    target = str(Path(_scratch().name) / "sentiment_code")
    return shutil.make_archive(target, "zip", _PACKAGE.parent, _PACKAGE.name)


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
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.log.level", "ERROR")
        .getOrCreate()
    )
    ship_code(spark.sparkContext)
    try:
        yield spark
    finally:
        if ours:
            spark.stop()
