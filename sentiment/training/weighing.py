"""How much each class counts while a model learns, and what that makes of its probabilities."""

from __future__ import annotations

import inspect
import logging
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sentiment.data.division import hash_places
from sentiment.data.loading import Data
from sentiment.errors import UsageError, nearest
from sentiment.evaluation.decisions import as_label
from sentiment.groups import CHOICES
from sentiment.training.teaching import learn

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sentiment.data.split import Split
    from sentiment.data.splits import Splits

log = logging.getLogger(__name__)

BALANCED, NONE = "balanced", "none"
KEY, BALANCE = "model.class_weight", "data.balance"
_PURPOSE = "balance"  # of the hash that says which rows of a class are left out or doubled


@dataclass(frozen=True)
class Weighing:
    """What the training rows count; nothing else is weighed: validation and test rows are as they are.

    Attributes
    ----------
    factors : mapping of str to float
        How much more a row of each class counts than a row of the others.
    rows : mapping of str to int
        Training rows of each class.
    own : str or None
        The classifier's parameter that takes the factors; without one they go by `row_weights`.
    limits : mapping of str to (int, float)
        Of ``data.balance``: how often each row of a class counts, and the place (of its text's hash)
        below which it counts once more.
    seed : int
    """

    factors: Mapping[str, float] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)
    own: str | None = None
    limits: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    seed: int = 0

    def __bool__(self) -> bool:
        """Whether a class counts more than another."""
        return len(set(self.factors.values())) > 1

    def told(self) -> str:
        """Return how many rows of each class ``data.balance`` makes of how many."""
        return "training rows count as " + ", ".join(
            f"{label} {self.factors[label] * number:,.0f} (of {number:,})"
            for label, number in sorted(self.rows.items())
        )

    def row_weights(
        self, texts: Sequence[str], labels: Sequence[str]
    ) -> NDArray[np.float64] | None:
        """Return what each training row counts; None where all count alike, or the classifier knows.

        Parameters
        ----------
        texts, labels : sequence of str, length n

        Returns
        -------
        float64[n] or None
        """
        if not self or self.own is not None:
            return None
        if not self.limits:
            return np.array([self.factors[label] for label in labels], dtype=np.float64)
        places = hash_places(texts, self.seed, _PURPOSE)
        return np.array(
            [
                (often := self.limits[label])[0] + (place < often[1])
                for label, place in zip(labels, places.tolist(), strict=True)
            ],
            dtype=np.float64,
        )

    def steps(self, texts: Sequence[str], labels: Sequence[str]) -> NDArray[np.float64] | None:
        """Return `row_weights` of at most about 1: a stream's steps along the gradient stay small."""
        weights = self.row_weights(texts, labels)
        return None if weights is None else weights / max(1.0, *self.factors.values())

    def weights_of(self, data: Data) -> NDArray[np.float64] | None:
        """Return what each training row counts, in order, of rows in memory or in blocks."""
        if not self or self.own is not None:
            return None
        parts = [self.row_weights(texts, labels) for texts, labels in _parts(data)]
        return np.concatenate([part for part in parts if part is not None])

    def fit(
        self,
        classifier: Any,
        X: Any,
        rows: Split,
        classes: Sequence[str],
        weights: NDArray[np.float64] | None = None,
    ) -> Any:
        """Fit a classifier whose probabilities are those of the rows as they are.

        Parameters
        ----------
        classifier : estimator
        X : csr_matrix of float, shape (n, features)
        rows : Split
            Of n rows; weights of their own are kept.
        classes : sequence of str
            All of them, sorted.
        weights : float64[n], optional
            From `row_weights`.
        """
        return self.restore(self.learn(classifier, X, rows, classes, weights))

    def learn(
        self,
        classifier: Any,
        X: Any,
        rows: Split,
        classes: Sequence[str],
        weights: NDArray[np.float64] | None = None,
    ) -> Any:
        """Fit a classifier whose labels follow the weights, and so do its probabilities: see `fit`."""
        if weights is not None and takes_weights(classifier.fit):
            own = 1.0 if rows.weights is None else rows.weights
            rows = replace(rows, weights=weights * own)
        elif weights is not None:  # rows that count twice are there twice
            often = np.repeat(np.arange(len(weights)), weights.astype(np.int64))
            X, rows = X[often], rows.take(often.tolist())
        return learn(classifier, X, rows, classes)

    def restore(self, classifier: Any) -> Any:
        """Let a fitted classifier's probabilities be those of the classes' true shares.

        What is learned from weighed classes has odds that are too large by the factors' ratio, and
        by nothing else: the logarithm is taken off the intercept, which turns no ranking.

        References
        ----------
        Elkan, "The Foundations of Cost-Sensitive Learning", IJCAI 2001, theorem 2; Saerens, Latinne
        and Decaestecker, Neural Computation 14, 2002.
        """
        if self and not self._restored(classifier):
            log.warning(
                "the probabilities of %s are those of the weighed classes, not of their true shares",
                type(classifier).__name__,
            )
        return classifier

    def _restored(self, classifier: Any) -> bool:
        factor = np.array([self.factors[str(label)] for label in classifier.classes_])
        if calibrated := getattr(classifier, "calibrated_classifiers_", None):
            if any(part.method != "sigmoid" for part in calibrated):
                return False
            for part in calibrated:
                for calibrator, shift in zip(
                    part.calibrators, self._shifts(classifier, factor, one_by_one=True), strict=True
                ):
                    calibrator.b_ += shift
            return True
        if hasattr(classifier, "class_log_prior_"):
            _restore_prior(classifier, factor)
            return True
        link = _link(classifier)
        if link is None:
            return False
        shifts = self._shifts(classifier, factor, one_by_one=link == "ovr_sigmoid_normalized")
        classifier.intercept_ = classifier.intercept_ - shifts
        return True

    def _shifts(
        self, classifier: Any, factor: NDArray[np.float64], *, one_by_one: bool
    ) -> NDArray[np.float64]:
        """Return by how much each score is too large: of two classes, of several, or of each against all."""
        if len(factor) == 2:
            shift: NDArray[np.float64] = np.log(factor[1:] / factor[:-1])
            return shift
        shifts: NDArray[np.float64] = np.log(factor)
        if one_by_one and self.own is None:
            # Of a class against all others, as they are mixed.
            rows = np.array([self.rows[str(label)] for label in classifier.classes_], np.float64)
            shifts -= np.log(((factor * rows).sum() - factor * rows) / (rows.sum() - rows))
        return shifts


def _restore_prior(classifier: Any, factor: NDArray[np.float64]) -> None:
    """Let a naive Bayes classifier's prior be that of the rows as they are."""
    from sklearn.naive_bayes import ComplementNB

    if isinstance(classifier, ComplementNB):  # looks at no prior
        return
    if classifier.fit_prior and classifier.class_prior is None:
        prior = classifier.class_log_prior_ - np.log(factor)
        classifier.class_log_prior_ = prior - np.logaddexp.reduce(prior)


def _link(classifier: Any) -> str | None:
    """Return how a linear classifier's scores become probabilities; None: by no link that is known."""
    from sklearn.linear_model import LogisticRegression, SGDClassifier

    from sentiment.models import NBSVM

    if isinstance(classifier, NBSVM):
        return classifier.link_ if classifier.calibration is not None else None
    if isinstance(classifier, LogisticRegression):
        return "softmax"
    if isinstance(classifier, SGDClassifier) and classifier.loss == "log_loss":
        return "ovr_sigmoid_normalized"
    return None


def check(model: Mapping[str, Any], balance: str) -> None:
    """Refuse what no data could make right, before any work.

    Parameters
    ----------
    model : mapping
        The node ``model``.
    balance : str
        ``data.balance``.

    Raises
    ------
    UsageError
        Names the key and what it takes.
    """
    words = CHOICES[BALANCE]
    if balance not in words:
        raise UsageError(f"{BALANCE}={balance}: one of {', '.join(words)}{nearest(balance, words)}")
    given = model.get("class_weight")
    if given is not None and balance != NONE:
        raise UsageError(f"{KEY} and {BALANCE}={balance} both weigh the classes: give one of them")
    if isinstance(given, str) and given != BALANCED and not given.startswith(BALANCED):
        raise UsageError(
            f"{KEY}={given}: {BALANCED}, null or {{LABEL: weight}}{nearest(given, (BALANCED,))}"
        )
    if isinstance(given, Mapping):
        for label, weight in given.items():
            number = isinstance(weight, int | float) and not isinstance(weight, bool)
            if not number or not 0.0 < weight < math.inf:
                raise UsageError(f"{KEY}.{label}={weight}: a number above 0")
    elif given is not None and not isinstance(given, str):
        raise UsageError(f"{KEY}={given}: {BALANCED}, null or {{LABEL: weight}}")


Weigh = Callable[[Any, "Splits", "Split"], Weighing]


def none(_classifier: Any, _splits: Splits, _rows: Split) -> Weighing:
    """Weigh no row: all count alike."""
    return Weighing()


def asked(model: Mapping[str, Any], balance: str, seed: int) -> Weigh:
    """Return how a config weighs whatever rows a classifier learns from.

    Parameters
    ----------
    model : mapping
        The node ``model``.
    balance : str
        ``data.balance``.
    seed : int

    Returns
    -------
    callable
        Given a classifier, the splits and the rows it will learn from, returns what `weigh` does.

    Raises
    ------
    UsageError
        See `check`.
    """
    check(model, balance)

    def of_rows(classifier: Any, splits: Splits, rows: Split) -> Weighing:
        known = Data(replace(splits, train=rows))
        return weigh(classifier, model.get("class_weight"), balance, known, seed)

    return of_rows


def weigh(classifier: Any, given: Any, balance: str, data: Data, seed: int) -> Weighing:
    """Return how training rows are weighed; the classifier's own parameter is set where it has one.

    Parameters
    ----------
    classifier : estimator
        Not fitted.
    given : str, mapping or None
        ``model.class_weight``.
    balance : {'none', 'under', 'over'}
        ``data.balance``: rows of the larger classes are left out, or those of the smaller count
        more often, until all are equal. Which rows these are is said by their texts' hashes and the
        seed alone, so that they are the same in memory, in blocks and in a stream.
    data : Data
    seed : int

    Raises
    ------
    UsageError
        A class is not one of the data's, or the classifier can weigh none.
    """
    if balance == NONE and (given is None or (isinstance(given, str) and given != BALANCED)):
        return Weighing()
    if data.splits.unlabelled and balance != NONE:
        raise UsageError(
            f"{BALANCE}={balance} is of labelled rows alone: data.unlabelled=null, or "
            f"{KEY}={BALANCED}"
        )
    rows = Counter(label for _, labels in _parts(data) for label in labels)
    if balance != NONE:
        return _balanced(balance, rows, data, seed, classifier)
    if given == BALANCED:
        mean = sum(rows.values()) / len(rows)
        factors = {label: mean / number for label, number in rows.items()}
    else:
        named = {as_label(key, rows): float(weight) for key, weight in given.items()}
        for label in named:
            if label not in rows:
                raise UsageError(
                    f"{KEY}: no label {label!r}; there are {', '.join(sorted(rows))}"
                    f"{nearest(label, rows)}"
                )
        factors = {label: named.get(label, 1.0) for label in rows}
    if data.stream is not None and not data.in_blocks:  # as of `Weighing.steps`
        most = max(factors.values())
        factors = {label: factor / most for label, factor in factors.items()}
    parameters = classifier.get_params()
    own = "class_weight" if "class_weight" in parameters else None
    if own is not None:
        classifier.set_params(class_weight=factors)
        return Weighing(factors, rows, own, seed=seed)
    # A classifier inside another sees numbers for labels; both see the weights of rows.
    inner = [key for key in parameters if key.endswith("__class_weight")]
    classifier.set_params(**dict.fromkeys(inner))
    if not takes_weights(getattr(classifier, "partial_fit", classifier.fit)):
        raise UsageError(
            f"{KEY}: {type(classifier).__name__} weighs no rows; {BALANCE}=under or over does without"
        )
    return Weighing(factors, rows, seed=seed)


def _balanced(
    balance: str, rows: Mapping[str, int], data: Data, seed: int, classifier: Any
) -> Weighing:
    """Return how often the rows of each class count, so that all classes have as many."""
    goal = min(rows.values()) if balance == "under" else max(rows.values())
    places: dict[str, list[NDArray[np.float64]]] = {label: [] for label in rows}
    for texts, labels in _parts(data):
        found, names = hash_places(texts, seed, _PURPOSE), np.asarray(labels, dtype=object)
        for label in set(labels):
            places[label].append(found[names == label])
    limits, counts = {}, {}
    for label, number in rows.items():
        often, more = divmod(goal, number)
        ordered = np.sort(np.concatenate(places[label]))
        limits[label] = (often, float(ordered[more]))
        counts[label] = often * number + int(np.searchsorted(ordered, ordered[more]))
    factors = {label: counts[label] / number for label, number in rows.items()}
    streamed = data.stream is not None and not data.in_blocks
    if streamed and not takes_weights(getattr(classifier, "partial_fit", None)):
        raise UsageError(
            f"{BALANCE}={balance}: {type(classifier).__name__} weighs no rows of a stream: model=sgd"
        )
    return Weighing(factors, rows, None, limits, seed)


def takes_weights(fit: Any) -> bool:
    """Tell whether a method takes weights of rows."""
    return fit is not None and "sample_weight" in inspect.signature(fit).parameters


def _parts(data: Data) -> Iterator[tuple[Sequence[str], Sequence[str]]]:
    """Yield texts and labels of the training rows, those of a stream chunk by chunk."""
    if data.stream is None:
        yield data.splits.train.texts, data.splits.train.labels
    else:
        for chunk in data.stream.chunks():
            yield chunk.texts, chunk.labels
