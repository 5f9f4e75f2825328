"""Spark: the session that an engine uses, and the code that it sends there."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiment.errors import UsageError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_PACKAGE = Path(__file__).resolve().parent


def ship_code(context: Any) -> None:
    """Send this package to the executors, as it is here."""
    context.addPyFile(_archived_code())


@cache
def _archived_code() -> str:
    """Return an archive of this package: one for a process, as Spark knows files by their names."""
    target = Path(tempfile.mkdtemp(prefix="sentiment-")) / "sentiment_code"
    return shutil.make_archive(str(target), "zip", _PACKAGE.parent, _PACKAGE.name)


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
