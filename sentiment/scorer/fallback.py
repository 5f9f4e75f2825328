"""Pipelines that do not compile, in skops format: loaded against our own list of types only.

The types that a file itself names are never trusted; what the list lacks is refused by name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sentiment.errors import ModelError

FILE_NAME = "pipeline.skops"
# Beside what skops itself trusts (numpy and scikit-learn's own estimators).
TRUSTED = (
    "scipy.sparse._csr.csr_array",
    "scipy.sparse._csr.csr_matrix",
    "sentiment.models.NBSVM",
    "sentiment.ngrams.Level",
    "sentiment.ngrams.NgramIndex",
    "sentiment.text.TextSpec",
    "sentiment.vectorizers.CountVectorizer",
    "sentiment.vectorizers.HashingVectorizer",
    "sentiment.vectorizers.TfidfVectorizer",
)


def save_pipeline(pipeline: Any, path: Path) -> None:
    """Write a fitted pipeline in skops format.

    Parameters
    ----------
    pipeline : estimator
    path : Path
        The file; its name usually is `FILE_NAME`.
    """
    import skops.io

    beside = path.with_name(path.name + ".partial")
    skops.io.dump(pipeline, beside)
    beside.replace(path)


def load_pipeline(path: Path) -> Any:
    """Read a pipeline that `save_pipeline` wrote.

    Raises
    ------
    ModelError
        It is damaged, or holds a type that is not on the list.
    """
    import skops.io

    try:
        unknown = set(skops.io.get_untrusted_types(file=path)) - set(TRUSTED)
        pipeline = None if unknown else skops.io.load(path, trusted=list(TRUSTED))
    except Exception as error:  # skops has no error class of its own for damaged files
        text = " ".join(str(error).split())[:200]
        raise ModelError(f"{path}: not a whole skops file ({text})") from None
    if unknown:
        raise ModelError(f"{path}: holds types that are not trusted: {', '.join(sorted(unknown))}")
    return pipeline
