"""Labels that are probably wrong: every row judged by models that have not seen it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sentiment.data.split import Split
from sentiment.data.splits import Splits
from sentiment.errors import DataError, UsageError
from sentiment.evaluation.suspects import HardPair, find_doubts, hard_pairs
from sentiment.training.folds import deal
from sentiment.training.weighing import Weigh, Weighing, none

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sklearn.pipeline import Pipeline

N_FOLDS = 3  # more folds find no more (5: 0.795 of 1,000, 3: 0.790), and each is a fit
_NGRAMS = 6
COLUMNS = (
    "row", "given", "suggested", "probability_given", "probability_suggested", "ngrams", "split", "text",
)  # fmt: skip
"""Of a file of suspects."""


@dataclass(frozen=True)
class Suspect:
    """A label that is probably wrong.

    Attributes
    ----------
    row : int
        Where it stands in the training data as it was read, counted from 0.
    given, suggested : str
    probability_given, probability_suggested : float
        Of a model that has not seen the row.
    ngrams : list of str
        Those that speak most for the suggested label and against the given one.
    split : str
        In which split the row stands.
    text : str
    """

    row: int
    given: str
    suggested: str
    probability_given: float
    probability_suggested: float
    ngrams: list[str]
    split: str
    text: str


@dataclass(frozen=True)
class Suspects:
    """What out-of-fold probabilities say of the labels.

    Attributes
    ----------
    suspects : list of Suspect
        The most doubtful first.
    rows : int
        Rows that were judged.
    pairs : list of (given, suggested, count)
        Suspects by pair of classes, the most first.
    hard : list of HardPair
        Classes that are hardly told apart.
    accuracy : float
        Of the out-of-fold answers.
    left_out : dict of str to int
        Classes of too few rows to judge, with their rows.
    """

    suspects: list[Suspect]
    rows: int
    pairs: list[tuple[str, str, int]]
    hard: list[HardPair]
    accuracy: float
    left_out: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Return the same as plain containers."""
        return {
            "suspects": [asdict(one) for one in self.suspects],
            "rows": self.rows,
            "pairs": [
                {"given": given, "suggested": suggested, "suspects": count}
                for given, suggested, count in self.pairs
            ],
            "hard_pairs": [asdict(pair) for pair in self.hard],
            "accuracy_out_of_fold": self.accuracy,
            "classes_left_out": self.left_out,
        }

    def table(self) -> list[dict[str, Any]]:
        """Return the suspects as rows of a file."""
        return [asdict(one) | {"ngrams": "; ".join(one.ngrams)} for one in self.suspects]


def find_suspects(
    pipeline: Pipeline, splits: Splits, *, seed: int, weigh: Weigh = none
) -> Suspects:
    """Find labels that are probably wrong, among all rows that training rows were cut from.

    Features are made once, the classifier is fitted once for each of three folds (rows of a group
    in one), and its calibration is fitted once to all out-of-fold scores.

    Parameters
    ----------
    pipeline : Pipeline
        Unfitted.
    splits : Splits
        A validation or test set of its own is not looked at.
    seed : int
        Of the folds.
    weigh : callable
        How the rows of each fold are weighed: `sentiment.training.weighing.asked`.

    Raises
    ------
    DataError
        Fewer than two classes have a row for every fold.
    UsageError
        The pipeline refuses the rows, or gives no probabilities.
    """
    rows, places, parts = _source_rows(splits)
    counts = Counter(rows.labels)
    left_out = {label: count for label, count in sorted(counts.items()) if count < N_FOLDS}
    if len(counts) - len(left_out) < 2:
        raise DataError(
            f"looking for wrong labels needs {N_FOLDS} rows each of two classes or more, found "
            + ", ".join(f"{count} of {label!r}" for label, count in sorted(counts.items())[:10])
        )
    if left_out:
        judged = [i for i, label in enumerate(rows.labels) if label not in left_out]
        rows, places, parts = (
            rows.take(judged),
            [places[i] for i in judged],
            [parts[i] for i in judged],
        )
    classes = sorted(set(rows.labels))
    index = {label: code for code, label in enumerate(classes)}
    codes = np.array([index[label] for label in rows.labels], dtype=np.int64)
    probabilities, weights, fold_of, features = out_of_fold(
        pipeline,
        rows,
        codes,
        classes,
        seed,
        lambda classifier, known: weigh(classifier, splits, known),
    )
    doubts = find_doubts(codes, probabilities)
    ngrams = _names(pipeline[0])
    suspects = []
    for place in doubts.rows.tolist():
        given, suggested = int(codes[place]), int(doubts.suggested[place])
        suspects.append(
            Suspect(
                places[place],
                classes[given],
                classes[suggested],
                float(probabilities[place, given]),
                float(probabilities[place, suggested]),
                _speaking(features[place], weights[fold_of[place]], given, suggested, ngrams),
                parts[place],
                rows.texts[place],
            )
        )
    pairs = Counter((one.given, one.suggested) for one in suspects)
    predicted = probabilities.argmax(axis=1)
    return Suspects(
        suspects,
        len(rows),
        sorted(((*pair, count) for pair, count in pairs.items()), key=lambda p: (-p[2], p[:2])),
        hard_pairs(codes, predicted, classes),
        float((predicted == codes).mean()),
        left_out,
    )


def _source_rows(splits: Splits) -> tuple[Split, list[int], list[str]]:
    """Return the rows that stand in the training data, where they stand, and in which split."""
    if splits.train.rows is None:
        raise UsageError(
            "looking for wrong labels needs the rows in memory and no others among them: "
            "data.streaming=false data.also=null"
        )
    found: list[tuple[int, str, str, str | None, str]] = []
    for name in ("train", "val", "test"):
        split: Split = getattr(splits, name)
        if split.rows is None:
            continue
        groups: Sequence[str | None] = split.groups or [None] * len(split)
        found += zip(
            split.rows, split.texts, split.labels, groups, [name] * len(split), strict=True
        )
    found.sort(key=lambda row: row[0])
    own = [group for _, _, _, group, _ in found if group is not None]
    rows = Split(
        [text for _, text, _, _, _ in found],
        [label for _, _, label, _, _ in found],
        own if len(own) == len(found) else None,
    )
    return rows, [row for row, *_ in found], [name for *_, name in found]


def out_of_fold(
    pipeline: Pipeline,
    rows: Split,
    codes: NDArray[np.int64],
    classes: list[str],
    seed: int,
    weigh: Callable[[Any, Split], Weighing] = lambda _classifier, _rows: Weighing(),
) -> tuple[NDArray[np.float64], list[Any], NDArray[np.int64], Any]:
    """Judge every row by a model that has not seen it.

    Parameters
    ----------
    pipeline : Pipeline
        Unfitted; its vectorizer is fitted in place.
    rows : Split
    codes : int64[rows]
        Place of each label among the classes.
    classes : list of str
    seed : int
        Of the folds.
    weigh : callable
        Given a classifier and the rows it learns from, says how they are weighed.

    Returns
    -------
    probabilities : float64[rows, classes]
    weights : list
        Of each fold's model, None where it has none.
    fold_of : int64[rows]
    features : csr_matrix
    """
    from sklearn.base import clone

    classifier = clone(pipeline[-1])
    # A calibration of its own for every fold would cost several fits: all folds share one below.
    calibrated = getattr(classifier, "calibration", None) is not None
    if calibrated:
        classifier.set_params(calibration=None)
    if not hasattr(classifier, "predict_proba"):
        raise UsageError(f"model: {type(classifier).__name__} gives no probabilities")
    probabilities = np.zeros((len(rows), len(classes)))
    scores = np.zeros((len(rows), len(classes) if len(classes) > 2 else 1))
    fold_of = np.zeros(len(rows), dtype=np.int64)
    weights: list[Any] = []
    try:
        features = pipeline[0].fit_transform(rows.texts)
        for number, (learned, judged) in enumerate(deal(rows.labels, rows.groups, N_FOLDS, seed)):
            fitted, known = clone(classifier), rows.take(learned.tolist())
            weighed = weigh(fitted, known)
            counts = weighed.row_weights(known.texts, known.labels)
            weighed.learn(fitted, features[learned], known, classes, counts)
            if not calibrated:  # the calibration sees the classes' true shares itself
                weighed.restore(fitted)
            fold_of[judged] = number
            weights.append(getattr(fitted, "coef_", None))
            if calibrated:
                scores[judged] = fitted.decision_function(features[judged]).reshape(len(judged), -1)
            else:
                probabilities[judged] = fitted.predict_proba(features[judged])
    except DataError as error:
        raise DataError(
            str(error).replace(f"cv={N_FOLDS}: ", "looking for wrong labels: ")
        ) from error
    except ValueError as error:
        raise UsageError(f"model: {' '.join(str(error).split())}") from error
    if calibrated:
        probabilities = _calibrated(scores, codes)
    return probabilities, weights, fold_of, features


def _calibrated(scores: NDArray[np.float64], codes: NDArray[np.int64]) -> NDArray[np.float64]:
    from scipy.special import expit, softmax

    from sentiment.models.calibration import affine

    slope, offsets = affine(scores, codes, np.ones(len(codes)))
    logits = slope * scores + offsets
    if logits.shape[1] == 1:
        positive = expit(logits[:, 0])
        return np.stack([1 - positive, positive], axis=1)
    found: NDArray[np.float64] = softmax(logits, axis=1)
    return found


def _names(vectorizer: Any) -> Any:
    """Return the n-gram of each column, or None where nobody knows."""
    try:
        return vectorizer.get_feature_names_out()
    except (AttributeError, NotImplementedError):
        return None


def _speaking(row: Any, weights: Any, given: int, suggested: int, names: Any) -> list[str]:
    """Return the n-grams of a row that speak most for one class and against the other."""
    if weights is None or names is None:
        return []
    if len(weights) == 1:
        towards = weights[0, row.indices] * (1 if suggested == 1 else -1)
    else:
        towards = weights[suggested, row.indices] - weights[given, row.indices]
    added = towards * row.data
    order = np.argsort(-added, kind="stable")[:_NGRAMS]
    return [str(names[row.indices[i]]) for i in order if added[i] > 0]
