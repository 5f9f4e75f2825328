"""Solvers over a matrix whose rows lie in blocks: the products, and what is fitted with them."""

from __future__ import annotations

from typing import Any, Protocol, Self

import numpy as np
import scipy.optimize
import scipy.special
from numpy.typing import NDArray
from sklearn.utils import compute_class_weight

from sentiment.models.solver import Float, Float32
from sentiment.text.engine import Engine

_TASKS = 16  # of a product: each returns its part of the result


class Blocks(Protocol):
    """A matrix in blocks: `sentiment.vectorizers.block_matrix.BlockMatrix`."""

    shape: tuple[int, int]
    starts: list[int]
    engine: Engine

    @property
    def n_blocks(self) -> int:
        """Number of blocks of rows."""
        ...

    @property
    def n_column_blocks(self) -> int:
        """Number of blocks of columns."""
        ...

    def block(self, number: int) -> Any:
        """Return some rows as a sparse array."""
        ...

    def column_block(self, number: int) -> Any:
        """Return some rows of the transpose as a sparse array."""
        ...


def in_blocks(X: Any) -> bool:
    """Tell whether a matrix lies in blocks."""
    return hasattr(X, "column_block")


class BlockKernel:
    """What `sentiment.models.solver.Kernel` does, for a matrix in blocks, and to the same bit.

    Each row of X and of its transpose is summed whole, by one task in one order, as it is in memory.
    """

    def __init__(self, X: Blocks, *, fit_intercept: bool) -> None:
        self.X = X
        self.shape = X.shape
        self.constant = 1.0 if fit_intercept else 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def _gather(self, rows: NDArray[Any], *, presence: bool = False) -> Float32:
        """Return ``X.T @ rows``, or that of the ones where X is not zero."""
        parts = self.X.engine.map(
            _gather_run, runs(self.X.n_column_blocks), X=self.X, rows=rows.astype(np.float32),
            presence=presence,
        )  # fmt: skip
        found: Float32 = np.concatenate(list(parts))
        return found

    def _scatter(self, columns: NDArray[Any], power: int = 1) -> Float:
        """Return ``X @ columns``, or that of the powers of X's values."""
        parts = self.X.engine.map(
            _scatter_run, runs(self.X.n_blocks), X=self.X, columns=columns, power=power
        )
        found: Float = np.concatenate(list(parts)).astype(np.float64)
        return found

    def counts(self, weight: Float) -> Float:
        """Weight of the texts that hold each feature: (n_samples, k) -> (n_features, k)."""
        return self._gather(weight, presence=True).astype(np.float64)

    def apply(self, dual: Float, scale: Float32) -> Float:
        """Return ``X @ (scale * (X.T @ dual))`` plus the constant feature's part."""
        weights = self._gather(dual)
        weights *= scale
        product = self._scatter(weights)
        product += self.constant * dual.sum(axis=0)
        return product

    def weights(self, dual: Float, scale: Float32) -> tuple[Float, Float]:
        """Return the weights of the features, (k, n_features), and the intercepts that they mean."""
        weights = self._gather(dual).astype(np.float64)
        weights *= scale
        return weights.T, self.constant * dual.sum(axis=0)

    def squares(self, columns: Float) -> Float:
        """Return the squares of X's values times a vector of the features."""
        found: Float = self._scatter(columns[:, None], power=2)[:, 0]
        return found


def runs(n: int) -> list[tuple[int, int]]:
    """Deal blocks into a few runs."""
    parts = np.array_split(np.arange(n), min(_TASKS, n))
    return [(int(part[0]), int(part[-1]) + 1) for part in parts]


def _gather_run(run: tuple[int, int], *, X: Blocks, rows: Float32, presence: bool) -> Float32:
    parts = []
    for number in range(*run):
        block = X.column_block(number)
        if presence:
            block.data = np.ones(block.nnz, np.float32)
        parts.append(block @ rows)
    return np.concatenate(parts)


def _scatter_run(
    run: tuple[int, int], *, X: Blocks, columns: NDArray[Any], power: int
) -> NDArray[Any]:
    parts = []
    for number in range(*run):
        block = X.block(number)
        if power == 2:
            block.data = block.data.astype(np.float64) ** 2
        parts.append(block @ columns)
    return np.concatenate(parts)


def fit_logistic(
    model: Any, X: Blocks, y: NDArray[Any], sample_weight: NDArray[np.float64] | None = None
) -> Any:
    """Fit scikit-learn's logistic regression on blocks, by its own objective and its own method.

    Parameters
    ----------
    model : LogisticRegression
        With ``solver="lbfgs"`` and an L2 penalty; fitted in place.
    X : Blocks
    y : ndarray of shape (n_samples,)
    sample_weight : ndarray of shape (n_samples,), optional

    Raises
    ------
    ValueError
        Parameters that need the whole matrix.
    """
    l1_ratio = getattr(model, "l1_ratio", None)
    if model.solver != "lbfgs" or l1_ratio not in (None, 0, 0.0):
        raise ValueError(f"solver={model.solver!r} needs all features in memory: solver=lbfgs")
    classes, codes = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"the labels hold one class only: {classes[0]!r}")
    weight = compute_class_weight(model.class_weight, classes=classes, y=y)[codes]
    if sample_weight is not None:
        weight = weight * sample_weight
    total = weight.sum()
    n_targets = 1 if len(classes) == 2 else len(classes)
    n_features, strength = X.shape[1], 1.0 / (model.C * total)
    intercept = int(model.fit_intercept)

    def objective(flat: Float) -> tuple[float, Float]:
        w = flat.reshape(n_targets, n_features + intercept, order="F")
        value, gradient = 0.0, np.zeros_like(w)
        parts = X.engine.map(
            _logistic_run,
            runs(X.n_blocks),
            X=X,
            w=w,
            codes=codes,
            weight=weight / total,
            intercept=intercept,
        )
        for part_value, part_gradient in parts:
            value += part_value
            gradient += part_gradient
        penalised = w[:, :n_features]
        value += 0.5 * strength * float((penalised**2).sum())
        gradient[:, :n_features] += strength * penalised
        return value, gradient.ravel(order="F")

    found = scipy.optimize.minimize(
        objective,
        np.zeros(n_targets * (n_features + intercept)),
        method="L-BFGS-B",
        jac=True,
        options={
            "maxiter": model.max_iter, "maxls": 50, "gtol": model.tol, "ftol": 64 * np.finfo(float).eps,
        },
    )  # fmt: skip
    w = found.x.reshape(n_targets, n_features + intercept, order="F")
    model.classes_ = classes
    model.coef_ = np.ascontiguousarray(w[:, :n_features])
    model.intercept_ = w[:, n_features] if intercept else np.zeros(n_targets)
    model.n_iter_ = np.array([found.nit], dtype=np.int32)
    model.n_features_in_ = n_features
    return model


def _logistic_run(
    run: tuple[int, int],
    *,
    X: Blocks,
    w: Float,
    codes: NDArray[np.intp],
    weight: Float,
    intercept: int,
) -> tuple[float, Float]:
    """Return the part of the loss, and of its gradient, of a run of blocks."""
    n_targets, n_features = w.shape[0], X.shape[1]
    value, gradient = 0.0, np.zeros_like(w)
    for number in range(*run):
        rows = slice(X.starts[number], X.starts[number + 1])
        block, code, cost = (
            X.block(number).astype(np.float64, copy=False),
            codes[rows],
            weight[rows],
        )
        score = block @ w[:, :n_features].T
        if intercept:
            score = score + w[:, n_features]
        if n_targets == 1:
            z = score[:, 0]
            value += float(cost @ (np.logaddexp(0.0, z) - code * z))
            error = (cost * (scipy.special.expit(z) - code))[:, None]
        else:
            norm = scipy.special.logsumexp(score, axis=1)
            value += float(cost @ (norm - score[np.arange(len(code)), code]))
            error = np.exp(score - norm[:, None])
            error[np.arange(len(code)), code] -= 1.0
            error *= cost[:, None]
        gradient[:, :n_features] += (block.T @ error).T
        if intercept:
            gradient[:, n_features] += error.sum(axis=0)
    return value, gradient
