"""Classifiers that scikit-learn lacks: NB-SVM, and a one-line calibrated linear SVM.

NB-SVM (Wang & Manning 2012) multiplies each n-gram feature by the log-ratio of its smoothed
frequencies in the two classes, then fits a linear classifier: n-grams that say nothing about the
class are shrunk away before the classifier sees them, which is what a million features need.

How it is fitted. With far fewer texts than n-grams, the weights are a sum over the texts,
``w = s * (X.T @ a)``, so Newton's method (`sentiment.models.solver`) can keep every vector in the space of
the texts: one iteration is ``X @ (s**2 * (X.T @ p))`` and nothing else of size, in float32 and on
all cores. Classes are columns of the same product. A calibration fold is the same problem with
weight zero for its held-out texts: it starts from the solution on all texts, which is nearly its
own, and the scores of the held-out texts fall out of the same product.
"""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
import scipy.optimize
import scipy.sparse
import scipy.special
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context
from sklearn.calibration import CalibratedClassifierCV
from sklearn.svm import LinearSVC
from sklearn.utils import check_random_state, compute_class_weight
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.extmath import safe_sparse_dot
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from sentiment.models.blocks import BlockKernel, in_blocks
from sentiment.models.calibration import affine, folds_for_scores, lengths_as_if_new
from sentiment.models.solver import Float, Float32, Kernel, Loss, solve

# Classes solved side by side: more share the reading of the matrix, but each needs two
# float32 vectors as long as the vocabulary.
_COLUMNS_AT_ONCE = 8
_PRODUCTS_OF_A_MODEL = 47
_RAREST = 0.1  # single precision tells a closer optimum from none


class NBSVM(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Linear classifier on features weighted by their naive Bayes log-count ratio.

    For class ``k`` against the rest, with ``p`` and ``q`` the number of its texts and of the other
    texts that hold a feature, each plus `alpha` and divided by its sum over the features, the
    feature is multiplied by ``1 - beta + beta * |log(p / q)|``. The linear model is fitted on that,
    one-vs-rest, and the ratio is folded into `coef_`, so that a fitted model is a plain linear one.

    Parameters
    ----------
    C : float, default=1.0
        Inverse strength of the L2 penalty; larger follows the training texts more closely.
    alpha : float, default=1.0
        Texts added to each count before the ratio; larger trusts rare features less.
    beta : float in [0, 1], default=0.75
        How strongly the ratio counts: 1 is nothing but the ratio, 0 leaves a plain linear model.
    loss : {"squared_hinge", "log_loss"}, default="squared_hinge"
        Squared hinge is the SVM's; log loss makes it NB-LR.
    calibration : {"affine"} or None, default="affine"
        Whether the scores are calibrated on out-of-fold scores, by an affine map of the score:
        Platt's sigmoid for two classes; for more, one temperature and one offset per class before
        a softmax.
    calibration_folds : int, default=5
        Folds of the calibration. Of a large corpus only as many are held out as give 4,000 scores:
        two parameters per class need no more, and every fold is one more model.
    class_weight : "balanced", dict or None, default=None
        Weight of each class in the loss.
    fit_intercept : bool, default=True
        Whether a constant feature is added.
    tol : float, default=0.01
        Stop when the gradient has shrunk by this factor; a closer optimum is not more accurate.
    max_iter : int, default=30
        Newton steps at most.
    n_jobs : int or None, default=None
        Threads; None or -1 uses all cores. The result does not depend on it.
    random_state : int, RandomState instance or None, default=None
        Deals the texts into calibration folds.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features), float64
        Weights, ratio and calibration included.
    intercept_ : ndarray of shape (1,) or (n_classes,), float64
        Offsets, calibration included.
    link_ : {"sigmoid", "softmax", "ovr_sigmoid_normalized"}
        How scores become probabilities; the last only for more than two classes and no calibration.
    n_iter_ : int
        Newton steps taken.
    n_features_in_ : int
        Number of features seen in fit.

    References
    ----------
    Wang and Manning, "Baselines and Bigrams: Simple, Good Sentiment and Topic Classification",
    ACL 2012. Platt, "Probabilistic outputs for support vector machines", 1999. The Newton method
    follows Keerthi and DeCoste, JMLR 6, 2005, in the variables of Chapelle, "Training a support
    vector machine in the primal", 2007.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "C": [Interval(Real, 0, None, closed="neither")],
        "alpha": [Interval(Real, 0, None, closed="neither")],
        "beta": [Interval(Real, 0, 1, closed="both")],
        "loss": [StrOptions({"squared_hinge", "log_loss"})],
        "calibration": [StrOptions({"affine"}), None],
        "calibration_folds": [Interval(Integral, 2, None, closed="left")],
        "class_weight": [StrOptions({"balanced"}), dict, None],
        "fit_intercept": ["boolean"],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        *,
        C: float = 1.0,
        alpha: float = 1.0,
        beta: float = 0.75,
        loss: Loss = "squared_hinge",
        calibration: Literal["affine"] | None = "affine",
        calibration_folds: int = 5,
        class_weight: dict[Any, float] | Literal["balanced"] | None = None,
        fit_intercept: bool = True,
        tol: float = 0.01,
        max_iter: int = 30,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.C = C
        self.alpha = alpha
        self.beta = beta
        self.loss = loss
        self.calibration = calibration
        self.calibration_folds = calibration_folds
        self.class_weight = class_weight
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.max_iter = max_iter
        self.n_jobs = n_jobs
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(
        self,
        X: Any,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        classes: ArrayLike | None = None,
    ) -> Self:
        """Fit ratio, weights and calibration.

        A text whose label is known as probabilities counts for each class by that much: in the ratio,
        whose counts are then expected ones, in the loss and in the calibration.

        Parameters
        ----------
        X : array-like, sparse matrix or matrix in blocks, of shape (n_samples, n_features)
            Counts, presence or tf-idf; the ratio looks only at what is not zero.
        y : array-like of shape (n_samples,), or (n_samples, n_classes) where `classes` are given
            Labels: two or more classes; or the probability of each of these.
        sample_weight : array-like of shape (n_samples,), optional
            Weight of each text in the ratio, the loss and the calibration.
        classes : array-like of shape (n_classes,), optional
            Names of the columns of `y`, sorted.

        Raises
        ------
        ValueError
            For one class only, or values that are not finite.
        """
        if in_blocks(X):  # made by a vectorizer that has looked at them
            self.n_features_in_ = X.shape[1]
            y = np.asarray(y)
        else:
            X, y = validate_data(
                self, X, y, accept_sparse="csr", dtype=[np.float32, np.float64],
                multi_output=classes is not None,
            )  # fmt: skip
        if classes is None:
            check_classification_targets(y)
            self.classes_, codes = np.unique(y, return_inverse=True)
            shares = np.zeros((len(codes), len(self.classes_)))
            shares[np.arange(len(codes)), codes] = 1.0
        else:
            self.classes_, shares = np.asarray(classes), np.array(y, dtype=np.float64)
            codes = shares.argmax(axis=1)
        n_classes = len(self.classes_)
        if n_classes < 2:
            raise ValueError(
                f"NBSVM needs two or more classes; the labels hold one class only: "
                f"{self.classes_[0]!r}"
            )
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        shares *= class_weights(self.class_weight, self.classes_, shares)
        total = shares.sum(axis=1)
        weight = weight * total  # not in place: it may be the caller's
        shares /= total[:, None]

        folds, n_folds = self._deal_folds(codes)
        targets = np.arange(1, 2) if n_classes == 2 else np.arange(n_classes)
        with self._kernel(X) as kernel:
            scores = np.zeros((len(codes), len(targets)))
            self.coef_ = np.empty((len(targets), X.shape[1]))
            self.intercept_ = np.zeros(len(targets))
            self.n_iter_ = 0
            for start in range(0, len(targets), _COLUMNS_AT_ONCE):
                columns = slice(start, start + _COLUMNS_AT_ONCE)
                share = shares[:, targets[columns]]
                # A gradient of many texts hides that of few, and a rough optimum of a fold remembers what
                # of a rare class it has left out: a rare class asks for more (as it does of LIBLINEAR).
                inside = weight @ share / weight.sum()
                exact = (
                    self.tol * np.clip(2.0 * np.minimum(inside, 1.0 - inside), _RAREST, 1.0) ** 2
                )
                everything: Float | None = None
                # All texts first; each fold then starts from what was found on all of them.
                for fold in range(-1, n_folds):
                    used = folds != fold
                    cost = np.repeat((weight * used)[:, None], share.shape[1], axis=1)
                    scale = self._scale(kernel, share, cost)
                    scale *= scale
                    # A slope and an offset need no more than the rough scores of a fold.
                    tol = exact if fold < 0 else 3 * exact
                    dual, margin, n_iter = solve(
                        kernel, scale, share, self.C * cost, self.loss, tol, self.max_iter,
                        start=None if everything is None else everything * used[:, None],
                    )  # fmt: skip
                    self.n_iter_ = max(self.n_iter_, n_iter)
                    if everything is None:
                        everything = dual
                        self.coef_[columns], self.intercept_[columns] = kernel.weights(dual, scale)
                    else:
                        intercept = kernel.constant * dual.sum(axis=0)
                        longer = lengths_as_if_new(kernel, used)[:, None]
                        scores[~used, columns] = (margin[~used] - intercept) * longer + intercept
        held_out = folds < n_folds
        self._calibrate(scores[held_out], shares[held_out], weight[held_out])
        return self

    def expected_products(self, n_samples: int, n_classes: int) -> int:
        """Return about how many products with X or its transpose a fit takes.

        Measured 28 to 47 a model, on 1,500 to 42,000 texts of two classes: the upper end is given, as
        more texts take more.
        """
        folds = 0
        if self.calibration is not None:
            folds = folds_for_scores(self.calibration_folds, n_samples)
        groups = 1 if n_classes == 2 else -(-n_classes // _COLUMNS_AT_ONCE)
        return _PRODUCTS_OF_A_MODEL * (1 + folds) * groups

    def _kernel(self, X: Any) -> Kernel | BlockKernel:
        if in_blocks(X):
            return BlockKernel(X, fit_intercept=self.fit_intercept)
        return Kernel(X, self.n_jobs, fit_intercept=self.fit_intercept)

    def _deal_folds(self, codes: NDArray[np.intp]) -> tuple[NDArray[np.intp], int]:
        """Deal the texts of each class evenly into folds; return each text's, and how many to use.

        None is used when nothing is or can be calibrated.
        """
        folds = np.zeros(len(codes), dtype=np.intp)
        if self.calibration is None:
            return folds, 0
        counts = np.bincount(codes)
        n_folds = min(self.calibration_folds, int(counts[counts > 0].min()))
        if n_folds < 2:
            warnings.warn(
                "a class has a single text: probabilities are not calibrated", stacklevel=3
            )
            return folds, 0
        random = check_random_state(self.random_state)
        order = random.permutation(len(codes))
        order = order[np.argsort(codes[order], kind="stable")]
        folds[order] = np.arange(len(codes)) % n_folds
        return folds, folds_for_scores(n_folds, len(codes))

    def _scale(self, kernel: Kernel | BlockKernel, share: Float, cost: Float) -> Float32:
        """Return the factor of every feature, one column per problem."""
        if self.beta == 0:
            return np.ones((kernel.shape[1], share.shape[1]), dtype=np.float32)
        # In place: with tens of millions of features each array is hundreds of megabytes.
        ratio, outside = kernel.counts(cost * share), kernel.counts(cost * (1.0 - share))
        ratio += self.alpha
        outside += self.alpha
        of_sums = np.log(ratio.sum(axis=0) / outside.sum(axis=0))
        ratio /= outside
        del outside
        np.log(ratio, out=ratio)
        ratio -= of_sums
        np.abs(ratio, out=ratio)
        ratio *= self.beta
        ratio += 1 - self.beta
        scale: Float32 = ratio.astype(np.float32)
        return scale

    def _calibrate(self, scores: Float, shares: Float, weight: Float) -> None:
        """Fold the affine map that makes out-of-fold scores honest into the weights."""
        binary = len(self.classes_) == 2
        if not len(scores):
            self.link_ = "sigmoid" if binary else "ovr_sigmoid_normalized"
            return
        self.link_ = "sigmoid" if binary else "softmax"
        rows, codes = np.nonzero(shares)  # a text counts for each class that it may be of
        slope, offsets = affine(scores[rows], codes, weight[rows] * shares[rows, codes])
        self.coef_ *= slope
        self.intercept_ = self.intercept_ * slope + offsets

    def decision_function(self, X: Any) -> Float:
        """Return calibrated scores, the logits of `predict_proba` up to the link.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            For two classes, the score of the second.
        """
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=[np.float64, np.float32], reset=False)
        scores: Float = safe_sparse_dot(X, self.coef_.T, dense_output=True) + self.intercept_
        return scores[:, 0] if scores.shape[1] == 1 else scores

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the label of the highest score for each row of X."""
        scores = self.decision_function(X)
        best = scores > 0 if scores.ndim == 1 else scores.argmax(axis=1)
        labels: NDArray[Any] = self.classes_[np.asarray(best, dtype=np.intp)]
        return labels

    def predict_proba(self, X: Any) -> Float:
        """Return the probability of each class, shape (n_samples, n_classes)."""
        scores = self.decision_function(X)
        probabilities: Float
        if self.link_ == "sigmoid":
            positive = scipy.special.expit(scores)
            probabilities = np.stack([1.0 - positive, positive], axis=1)
        elif self.link_ == "softmax":
            probabilities = scipy.special.softmax(scores, axis=1)
        else:
            probabilities = scipy.special.expit(scores)
            probabilities /= probabilities.sum(axis=1, keepdims=True)
        return probabilities

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def class_weights(
    class_weight: dict[Any, float] | Literal["balanced"] | None,
    classes: NDArray[Any],
    shares: Float,
) -> Float:
    """Return the weight of each class, where texts belong to classes by shares.

    Parameters
    ----------
    class_weight : "balanced", dict or None
        As in scikit-learn: ``balanced`` gives every class the same expected count.
    classes : ndarray of shape (n_classes,)
    shares : float64[n_samples, n_classes]
    """
    if class_weight == "balanced":
        expected = shares.sum(axis=0)
        found: Float = shares.sum() / (len(classes) * np.where(expected > 0, expected, 1.0))
        return found
    return np.asarray(compute_class_weight(class_weight, classes=classes, y=classes), np.float64)


def linear_svc(
    C: float = 1.0,
    loss: Literal["squared_hinge", "hinge"] = "squared_hinge",
    class_weight: dict[Any, float] | Literal["balanced"] | None = None,
    max_iter: int = 1000,
    tol: float = 1e-4,
    cv: int = 3,
    n_jobs: int | None = None,
    random_state: int | None = None,
) -> CalibratedClassifierCV:
    """Return scikit-learn's linear SVM with Platt-calibrated probabilities.

    One model is fitted on all texts and its sigmoid on out-of-fold scores (``ensemble=False``), so
    that the result is one linear score per class. The nested parameters stand side by side here,
    which keeps the override short: ``model.C=0.1``.

    Parameters
    ----------
    C, loss, class_weight, max_iter, tol, random_state
        As in :class:`sklearn.svm.LinearSVC`.
    cv, n_jobs
        As in :class:`sklearn.calibration.CalibratedClassifierCV`.
    """
    svm = LinearSVC(
        C=C,
        loss=loss,
        class_weight=class_weight,
        max_iter=max_iter,
        tol=tol,
        random_state=random_state,
    )
    return CalibratedClassifierCV(svm, method="sigmoid", ensemble=False, cv=cv, n_jobs=n_jobs)
