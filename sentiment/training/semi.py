"""Learning from texts without label: the model labels the surest of them itself, and learns from those.

Whether that helps, and after how many rounds, labelled rows say that the model has not seen.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sentiment.errors import DataError, UsageError
from sentiment.models.calibration import ENOUGH_SCORES, affine
from sentiment.training.fitting import Fitted
from sentiment.training.self_trainer import SelfTrainer, columns

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

    from sentiment.data.split import Split
    from sentiment.data.splits import Splits
    from sentiment.training.recipe import Recipe
    from sentiment.training.weighing import Weighing

log = logging.getLogger(__name__)

# Platt's whole text of each class makes 100 labels too modest. Tried on training rows alone (five samples),
# a quarter of it takes the calibration error from 0.038 to 0.030, and the log loss from 0.399 to 0.396.
_CAUTION = 0.25

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Verdict:
    """What the labelled rows said, out of fold.

    Attributes
    ----------
    kept : bool
        Whether the model learned from the texts without label.
    rounds : int
        How often it was taught; 0 where they gave vocabulary, document frequencies and directions alone.
    n_unlabelled, n_judged : int
        Texts without label, and labelled rows that judged.
    accuracy, log_loss : float or None
        Of the model that learned from them.
    accuracy_alone, log_loss_alone : float or None
        Of the labels alone; None where that was not tried.
    p_value : float or None
        Of the paired difference in log loss (two-sided t-test).
    """

    kept: bool
    rounds: int
    n_unlabelled: int
    n_judged: int = 0
    accuracy: float | None = None
    log_loss: float | None = None
    accuracy_alone: float | None = None
    log_loss_alone: float | None = None
    p_value: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)

    def __str__(self) -> str:
        """Return the verdict in one line."""
        what = f"{self.n_unlabelled:,} texts without label"
        if self.accuracy_alone is None:
            said = f" (accuracy {self.accuracy:.4f} out of fold)" if self.accuracy else ""
            return f"{what}: learned from in {self.rounds} rounds{said}"
        figures = (
            f"accuracy {self.accuracy:.4f}, log loss {self.log_loss:.4f}, against "
            f"{self.accuracy_alone:.4f}, {self.log_loss_alone:.4f} with the labels alone "
            f"(out of fold, {self.n_judged:,} rows, p={self.p_value:.2g})"
        )
        if self.kept:
            return f"{what}: learned from in {self.rounds} rounds: {figures}"
        return f"{what}: left out, the labels alone are better: {figures}"


def self_train(
    pipeline: Pipeline,
    features: dict[str, Any],
    splits: Splits,
    recipe: Recipe,
    weighing: Weighing,
    *,
    seed: int,
) -> tuple[Fitted, Verdict]:
    """Fit the classifier on the labelled rows and on the surest texts without label.

    It is calibrated on out-of-fold scores of labelled rows alone, whose log loss also says how many
    rounds help, and whether any does.

    Parameters
    ----------
    pipeline : Pipeline
        Its vectorizer is fitted on all texts.
    features : mapping of str to csr_matrix
        ``train``, ``unlabelled`` and what is held out; the first two are let go.
    splits : Splits
    recipe : Recipe
    weighing : Weighing
        By the classifier's own parameter. What is calibrated on out-of-fold scores of labelled rows
        has their true shares; the labels alone are restored to them.
    seed : int
        Of the folds.

    Raises
    ------
    UsageError
        If the classifier is none that can be taught so.
    """
    from sklearn.base import clone
    from sklearn.pipeline import Pipeline as Steps

    rows = splits.train
    n_unlabelled = features["unlabelled"].shape[0]
    X = features["train"]
    trainer = SelfTrainer(_bare(pipeline[-1]), recipe, features["unlabelled"], seed, X)
    alone: Steps | None = None
    X_alone = None
    if recipe.keep == "better":
        alone = Steps([("vectorizer", clone(pipeline[0])), ("classifier", clone(pipeline[-1]))])
        X_alone = alone[0].fit_transform(rows.texts)
    labels = np.asarray(rows.labels, dtype=object)
    codes = np.unique(labels, return_inverse=True)[1]
    judged, scores, scores_alone = _out_of_fold(trainer, X, X_alone, rows, codes, recipe, seed)
    if not len(judged):
        log.warning(
            "a class has a single labelled row, so nothing can judge what texts without label add"
        )
        if alone is not None:
            return _labels_alone(alone, X_alone, features, splits, weighing), Verdict(
                False, 0, n_unlabelled
            )
        found = trainer.fit(X, labels, recipe.rounds)[-1]
        return _fitted(pipeline, found, features), Verdict(True, recipe.rounds, n_unlabelled)
    truth = codes[judged]
    maps = [_calibration(each, truth) for each in scores]
    losses = [_losses(each, truth, found) for each, found in zip(scores, maps, strict=True)]
    first = 2 if recipe.keep == "always" else 0
    best = min(range(first, len(losses)), key=lambda number: float(losses[number].mean()))
    verdict = Verdict(
        True, max(best - 1, 0), n_unlabelled, len(judged),
        _accuracy(scores[best], truth, maps[best]), float(losses[best].mean()),
    )  # fmt: skip
    if alone is not None:
        own = _calibration(scores_alone, truth)
        loss_alone = _losses(scores_alone, truth, own)
        verdict = Verdict(
            bool(losses[best].mean() <= loss_alone.mean()), verdict.rounds, n_unlabelled, len(judged),
            verdict.accuracy, verdict.log_loss,
            _accuracy(scores_alone, truth, own), float(loss_alone.mean()),
            _p_value(losses[best] - loss_alone),
        )  # fmt: skip
        if not verdict.kept:
            return _labels_alone(alone, X_alone, features, splits, weighing), verdict
    classifier = trainer.fit(X, labels, max(best - 1, 0))[best]
    slope, offsets = maps[best]
    classifier.coef_ = classifier.coef_ * slope
    classifier.intercept_ = classifier.intercept_ * slope + offsets
    if len(classifier.classes_) > 2 and hasattr(classifier, "link_"):
        classifier.link_ = "softmax"
    return _fitted(pipeline, classifier, features), verdict


def _bare(classifier: Any) -> Any:
    """Return the classifier without a calibration of its own."""
    from sklearn.base import clone
    from sklearn.linear_model import LogisticRegression

    from sentiment.models import NBSVM

    if not isinstance(classifier, NBSVM | LogisticRegression):
        raise UsageError(
            "data.unlabelled is learned from with model=nbsvm or model=logreg, not "
            f"{type(classifier).__name__}"
        )
    bare = clone(classifier)
    return bare.set_params(calibration=None) if isinstance(bare, NBSVM) else bare


def _out_of_fold(
    trainer: SelfTrainer, X: Any, X_alone: Any, rows: Split, codes: Ints, recipe: Recipe, seed: int
) -> tuple[Ints, list[Floats], Floats]:
    """Return which rows were judged, their scores after each round, and those of the labels alone."""
    from sklearn.base import clone

    from sentiment.training.folds import deal

    labels = np.asarray(rows.labels, dtype=object)
    n_folds = min(recipe.folds, int(np.bincount(codes).min()))
    nothing = np.zeros(0, dtype=np.int64), [np.zeros((0, 1))], np.zeros((0, 1))
    if n_folds < 2:
        return nothing
    # As many folds as give about scores enough: a large corpus needs no more, and each is three models.
    used = min(n_folds, max(1, round(ENOUGH_SCORES * n_folds / len(rows))))
    judged, by_round, alone = [], [], []
    try:
        for number, (learned, held) in enumerate(deal(rows.labels, rows.groups, n_folds, seed)):
            if number == used:
                break
            judged.append(held)
            fitted = trainer.fit(X[learned], labels[learned], recipe.rounds)
            by_round.append([columns(each.decision_function(X[held])) for each in fitted])
            if X_alone is not None:
                own = clone(trainer.classifier).fit(X_alone[learned], labels[learned])
                alone.append(columns(own.decision_function(X_alone[held])))
    except DataError as error:
        raise DataError(str(error).replace(f"cv={n_folds}: ", f"semi.folds={n_folds}: ")) from error
    scores = [np.concatenate(list(each)) for each in zip(*by_round, strict=True)]
    return np.concatenate(judged), scores, np.concatenate(alone) if alone else nothing[2]


def _calibration(scores: Floats, truth: Ints) -> tuple[float, Any]:
    """Return slope and offsets of the affine map that makes scores log odds."""
    if scores.shape[1] == 2:
        scores = scores[:, 1:] - scores[:, :1]
    return affine(scores, truth, np.ones(len(truth)), _CAUTION)


def _logits(scores: Floats, found: tuple[float, Any]) -> Floats:
    slope, offsets = found
    if scores.shape[1] == 2:
        return columns(slope * (scores[:, 1] - scores[:, 0]) + offsets)
    moved: Floats = slope * scores + offsets
    return moved


def _losses(scores: Floats, truth: Ints, found: tuple[float, Any]) -> Floats:
    """Return the log loss of each row, in nats."""
    from scipy.special import log_softmax

    losses: Floats = -log_softmax(_logits(scores, found), axis=1)[np.arange(len(truth)), truth]
    return losses


def _accuracy(scores: Floats, truth: Ints, found: tuple[float, Any]) -> float:
    return float((_logits(scores, found).argmax(axis=1) == truth).mean())


def _p_value(differences: Floats) -> float:
    from scipy.stats import ttest_1samp

    if len(differences) < 2 or not differences.std():
        return 1.0
    return float(ttest_1samp(differences, 0.0).pvalue)


def _fitted(pipeline: Pipeline, classifier: Any, features: dict[str, Any]) -> Fitted:
    from sklearn.pipeline import Pipeline as Steps

    held_out = {name: X for name, X in features.items() if name not in ("train", "unlabelled")}
    return Fitted(Steps([("vectorizer", pipeline[0]), ("classifier", classifier)]), held_out)


def _labels_alone(
    alone: Pipeline, X: Any, features: dict[str, Any], splits: Splits, weighing: Weighing
) -> Fitted:
    """Fit what never saw the texts without label."""
    weighing.fit(alone[-1], X, splits.train, splits.classes)
    parts = {"val": splits.val, "test": splits.test}
    held_out = {name: alone[0].transform(parts[name].texts) for name in parts if name in features}
    return Fitted(alone, held_out)
