"""From data to a fitted pipeline: features made or read, then the classifier."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sentiment.errors import SentimentError, UsageError
from sentiment.text.engine import Watched
from sentiment.training import descent
from sentiment.training.memory import layout

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sklearn.pipeline import Pipeline

    from sentiment.data.loading import Data
    from sentiment.text.engine import Engine
    from sentiment.training.cache import FeatureCache
    from sentiment.training.weighing import Weighing
    from sentiment.vectorizers.block_matrix import BlockMatrix
    from sentiment.vectorizers.making import Progress

_PIECE = 5000  # rows whose features are in memory, where those of all need not be


@dataclass(frozen=True)
class Fitted:
    """What was learned.

    Attributes
    ----------
    pipeline : Pipeline
        Vectorizer and classifier.
    features : mapping of str to csr_matrix
        Of ``val`` and ``test`` where they hold rows and all rows are in memory.
    """

    pipeline: Pipeline
    features: Mapping[str, Any]

    def probabilities(self, name: str, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return the probabilities of a split's rows, shape (rows, classes).

        Parameters
        ----------
        name : str
            Of the split.
        texts : sequence of str
            Its texts, which are made into features some at a time where those are not kept.
        """
        kept, found = self.features.get(name), []
        for first in range(0, len(texts), _PIECE):
            here = slice(first, first + _PIECE)
            X = self.vectorizer.transform(texts[here]) if kept is None else kept[here]
            # What was learned in single precision is compiled to be exact; so is what it is held against.
            found.append(self.classifier.predict_proba(X.astype(np.float64, copy=False)))
        return np.concatenate(found).astype(np.float64, copy=False)

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
    """Fit the vectorizer and return the features: of every split where all rows are in memory.

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
    from sentiment.models import NBSVM
    from sentiment.vectorizers import HashingVectorizer
    from sentiment.vectorizers.making import Sizes

    vectorizer = pipeline[0]
    try:
        if data.stream is None:
            return cache.fit(vectorizer, data.splits)
        if not data.in_blocks:
            if not isinstance(vectorizer, HashingVectorizer):
                raise UsageError(
                    "data.streaming=true needs a vectorizer that learns nothing, not "
                    f"{type(vectorizer).__name__}: vectorizer=hashing"
                )
            return {}
        classifier = pipeline[-1]
        found = layout(type(classifier).__name__, getattr(classifier, "solver", None))
        if found is None:
            raise UsageError(f"model: {type(classifier).__name__} cannot learn from blocks")
        chunks = data.stream.chunks
        return cache.fit_blocks(
            vectorizer,
            data.splits,
            lambda: (chunk.texts for chunk in chunks()),
            engine,
            progress,
            # The kernel's products are in single precision.
            dtype="float32" if isinstance(classifier, NBSVM) else None,
            layout=found,
            sizes=Sizes.within(memory, vectorizer),
            resume=resume,
        )
    except SentimentError:
        raise
    except ValueError as error:
        raise UsageError(f"vectorizer: {' '.join(str(error).split())}") from error


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
    resume: bool = False,
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
    resume : bool
        Leave the blocks there until the run is whole.

    Raises
    ------
    UsageError
        The classifier refuses its parameters or the data.
    """
    try:
        if data.in_blocks:
            X, labels = features["train"], np.array(data.train_labels, dtype=object)
            learn_in_blocks(pipeline[-1], X, labels, weighing.weights_of(data), progress)
            weighing.restore(pipeline[-1])
            blocks = features.pop("train")
            if not resume:
                cache.release(blocks)  # many gigabytes, and not needed any more
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


def learn_in_blocks(
    classifier: Any,
    X: BlockMatrix,
    labels: NDArray[np.object_],
    weights: NDArray[np.float64] | None,
    progress: Progress,
) -> None:
    """Fit a classifier from blocks as it would be from the matrix in memory.

    Parameters
    ----------
    classifier : estimator
    X : BlockMatrix
        Laid out as `sentiment.training.memory.layout` says.
    labels : object[rows]
    weights : float64[rows], optional
        Of the rows.
    progress : callable
        Told of the products with blocks, of passes over the rows or of blocks.
    """
    from sklearn.linear_model import LogisticRegression

    from sentiment.models import NBSVM
    from sentiment.models.blocks import fit_logistic

    engine, products = X.engine, _Products(_expected(classifier, X, labels), progress)
    X.engine = Watched(engine, products.told)
    try:
        if X.joined:
            more = {} if weights is None else {"sample_weight": weights}
            with _watched(classifier, labels, progress):
                classifier.fit(X.whole(), labels.tolist(), **more)
        elif isinstance(classifier, NBSVM):
            classifier.fit(X, labels, weights)
        elif isinstance(classifier, LogisticRegression):
            fall = descent.Fall(float(classifier.tol))
            fit_logistic(
                classifier, X, labels, weights,
                watch=lambda gradient: products.expect(fall(gradient)),
            )  # fmt: skip
        else:  # naive Bayes: a sum over the texts
            classes = np.unique(labels)
            for number, (first, last) in enumerate(itertools.pairwise(X.starts)):
                if last > first:
                    some = None if weights is None else weights[first:last]
                    classifier.partial_fit(X.block(number), labels[first:last], classes, some)
                progress("sums", number + 1, X.n_blocks)
    finally:
        X.engine = engine


class _Products:
    """Tells of products with blocks, and of about how many there will be (0: not known)."""

    def __init__(self, expected: int, progress: Progress) -> None:
        self._expected = expected
        self._progress = progress
        self._done = 0

    def told(self, done: int) -> None:
        self._done = done
        self._progress("products", done, max(done, self._expected) if self._expected else 0)

    def expect(self, share: float) -> None:
        """Take note of the share of the way that is done; 0 is not known."""
        self._expected = round(self._done / share) if share else 0


def _watched(
    classifier: Any, labels: NDArray[np.object_], progress: Progress
) -> AbstractContextManager[None]:
    """Tell how far scikit-learn's loops over one file are, where they tell it themselves."""
    from sklearn.linear_model import SGDClassifier

    if isinstance(classifier, SGDClassifier):
        n_classes = len(set(labels))
        return descent.passes(classifier, n_classes, lambda done, of: progress("passes", done, of))
    if getattr(classifier, "solver", None) == "newton-cg":
        return descent.newton_steps(classifier, lambda done, of: progress("steps", done, of))
    return nullcontext()


def _expected(classifier: Any, X: BlockMatrix, labels: NDArray[np.object_]) -> int:
    """Return about how many tasks the solver's products will be; 0 is not known."""
    from sentiment.models.blocks import runs

    if not hasattr(classifier, "expected_products"):
        return 0
    # Products take turns.
    tasks = sum(len(runs(n, X.engine)) for n in (X.n_blocks, X.n_column_blocks))
    return int(classifier.expected_products(len(labels), len(set(labels))) * tasks / 2)
