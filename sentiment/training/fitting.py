"""From data to a fitted pipeline: features made or read, then the classifier."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sentiment.errors import SentimentError, UsageError
from sentiment.text.engine import Watched

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sklearn.pipeline import Pipeline

    from sentiment.data.loading import Data
    from sentiment.text.engine import Engine
    from sentiment.training.cache import FeatureCache
    from sentiment.training.weighing import Weighing
    from sentiment.vectorizers.block_matrix import BlockMatrix
    from sentiment.vectorizers.blocks import Progress


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


def vectorize(
    pipeline: Pipeline,
    data: Data,
    cache: FeatureCache,
    engine: Engine,
    progress: Progress,
    *,
    memory: int,
    resume: bool = False,
) -> dict[str, Any]:
    """Fit the vectorizer and return every split's features.

    Parameters
    ----------
    pipeline : Pipeline
        Its first step is fitted in place.
    data : Data
    cache : FeatureCache
        Features of earlier runs, and the place of those that memory does not hold.
    engine : Engine
        Makes the latter.
    progress : callable
    memory : int
        Bytes that tasks on blocks may take together.
    resume : bool
        Take what an interrupted run has left of them.

    Raises
    ------
    UsageError
        The vectorizer refuses the texts or its parameters, or cannot stream.
    """
    vectorizer = pipeline[0]
    try:
        if data.stream is None:
            return cache.fit(vectorizer, data.splits)
        if data.stream.labels is None:
            return _held_out(vectorizer, data)
        from sentiment.vectorizers.blocks import Sizes

        chunks = data.stream.chunks
        # The kernel's products want single precision and the columns too.
        kernel = hasattr(pipeline[-1], "calibration_folds")
        return cache.fit_blocks(
            vectorizer,
            data.splits,
            lambda: (chunk.texts for chunk in chunks()),
            engine,
            progress,
            dtype="float32" if kernel else vectorizer.dtype,
            by_columns=kernel,
            sizes=Sizes.within(memory),
            resume=resume,
        )
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
    pipeline: Pipeline,
    features: dict[str, Any],
    data: Data,
    cache: FeatureCache,
    progress: Progress,
    *,
    weighing: Weighing,
    passes: int,
    seed: int,
) -> Fitted:
    """Fit the classifier.

    Parameters
    ----------
    pipeline : Pipeline
        With a fitted vectorizer; its last step is fitted in place.
    features : mapping
        Returned by `vectorize`; those of ``train`` are let go.
    data : Data
    cache : FeatureCache
        Lets go what it does not keep.
    progress : callable
        Told of the products with blocks.
    weighing : Weighing
        What the rows of each class count.
    passes, seed : int
        Of a stream.

    Raises
    ------
    UsageError
        The classifier refuses its parameters or the data.
    """
    try:
        if data.stream is not None and data.stream.labels is not None:
            X = features["train"]
            total = _expected(pipeline[-1], X, data.stream.labels)
            X.engine = Watched(
                X.engine, lambda done: progress("products", done, max(done, total) if total else 0)
            )
            _fit_in_blocks(pipeline[-1], X, data.stream.labels, weighing.weights_of(data))
            weighing.restore(pipeline[-1])
            cache.release(features.pop("train"))  # many gigabytes, and not needed any more
        elif data.stream is not None:
            data.stream.fit(
                pipeline[0], pipeline[-1], passes=passes, seed=seed, weigh=weighing.steps
            )
            weighing.restore(pipeline[-1])
        else:
            rows, weights = data.splits.train, weighing.weights_of(data)
            weighing.fit(pipeline[-1], features.pop("train"), rows, data.splits.classes, weights)
    except ValueError as error:
        raise UsageError(f"model: {' '.join(str(error).split())}") from error
    return Fitted(pipeline, features)


def _expected(classifier: Any, X: BlockMatrix, labels: NDArray[np.object_]) -> int:
    """Return about how many tasks the solver's products will be; 0 is not known."""
    from sentiment.models.blocks import runs

    if not hasattr(classifier, "expected_products"):
        return 0
    tasks = len(runs(X.n_blocks)) + len(runs(X.n_column_blocks))  # products take turns
    return int(classifier.expected_products(len(labels), len(set(labels))) * tasks / 2)


def _fit_in_blocks(
    classifier: Any,
    X: BlockMatrix,
    labels: NDArray[np.object_],
    weights: NDArray[np.float64] | None,
) -> None:
    """Fit a classifier that can learn from blocks as it would from the whole matrix."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import MultinomialNB

    from sentiment.models import NBSVM
    from sentiment.models.blocks import fit_logistic

    if isinstance(classifier, NBSVM):
        classifier.fit(X, labels, weights)
    elif isinstance(classifier, LogisticRegression):
        fit_logistic(classifier, X, labels, weights)
    elif isinstance(classifier, MultinomialNB):  # a sum over the texts
        classes = np.unique(labels)
        for number, (first, last) in enumerate(itertools.pairwise(X.starts)):
            some = None if weights is None else weights[first:last]
            classifier.partial_fit(X.block(number), labels[first:last], classes, some)
    else:
        raise UsageError(f"model: {type(classifier).__name__} cannot learn from blocks")
