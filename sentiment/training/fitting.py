"""From data to a fitted pipeline: features made or read, then the classifier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiment.errors import SentimentError, UsageError

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

    from sentiment.data.loading import Data


@dataclass(frozen=True)
class Fitted:
    """What was learned.

    Attributes
    ----------
    pipeline : Pipeline
        Vectorizer and classifier.
    features : mapping of str to csr_matrix
        Of ``val`` and ``test`` where they hold rows.
    """

    pipeline: Pipeline
    features: Mapping[str, Any]

    @property
    def vectorizer(self) -> Any:
        """The first step."""
        return self.pipeline[0]

    @property
    def classifier(self) -> Any:
        """The last step."""
        return self.pipeline[-1]

    @property
    def classes(self) -> list[str]:
        """The labels, in the order of probabilities."""
        return [str(label) for label in self.classifier.classes_]


def vectorize(pipeline: Pipeline, data: Data, *, cache: Path, max_bytes: int) -> dict[str, Any]:
    """Fit the vectorizer and return every split's features.

    Parameters
    ----------
    pipeline : Pipeline
        Its first step is fitted in place.
    data : Data
    cache : Path
        Where features of earlier runs lie.
    max_bytes : int
        What they may take.

    Raises
    ------
    UsageError
        The vectorizer refuses the texts or its parameters, or cannot stream.
    """
    vectorizer = pipeline[0]
    try:
        if data.stream is not None:
            return _held_out(vectorizer, data)
        from sentiment.training.cache import FeatureCache

        return FeatureCache(cache, max_bytes).fit(vectorizer, data.splits)
    except SentimentError:
        raise
    except ValueError as error:
        raise UsageError(f"vectorizer: {' '.join(str(error).split())}") from error


def _held_out(vectorizer: Any, data: Data) -> dict[str, Any]:
    """Transform what is held out; a vectorizer that must be fitted cannot stream."""
    from sentiment.vectorizers import HashingVectorizer

    if not isinstance(vectorizer, HashingVectorizer):
        raise UsageError(
            f"data.streaming=true needs a vectorizer that learns nothing, not {type(vectorizer).__name__}: "
            "vectorizer=hashing"
        )
    parts = {"val": data.splits.val, "test": data.splits.test}
    return {name: vectorizer.transform(part.texts) for name, part in parts.items() if len(part)}


def fit(
    pipeline: Pipeline, features: dict[str, Any], data: Data, *, passes: int, seed: int
) -> Fitted:
    """Fit the classifier.

    Parameters
    ----------
    pipeline : Pipeline
        With a fitted vectorizer; its last step is fitted in place.
    features : mapping
        Returned by `vectorize`; those of ``train`` are let go.
    data : Data
    passes, seed : int
        Of a stream.

    Raises
    ------
    UsageError
        The classifier refuses its parameters or the data.
    """
    try:
        if data.stream is not None:
            data.stream.fit(pipeline[0], pipeline[-1], passes=passes, seed=seed)
        else:
            pipeline[-1].fit(features.pop("train"), data.splits.train.labels)
    except ValueError as error:
        raise UsageError(f"model: {' '.join(str(error).split())}") from error
    return Fitted(pipeline, features)
