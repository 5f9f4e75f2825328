"""Solvers over a matrix whose rows lie in blocks: the products, and what is fitted with them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Protocol, Self

import numpy as np
import scipy.optimize
from numpy.typing import NDArray
from sklearn._loss import HalfBinomialLoss, HalfMultinomialLoss
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model._linear_loss import LinearModelLoss
from sklearn.utils import compute_class_weight

from sentiment.models.solver import Float, Float32
from sentiment.text.engine import Engine

_TASKS = 2  # of a product, for each core: one is soon done, and what a task costs is paid often


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

    def counts(self, weight: Float) -> Float:
        """Weight of the texts that hold each feature: (n_samples, k) -> (n_features, k)."""
        return _transposed(self.X, weight.astype(np.float32), presence=True).astype(np.float64)

    def apply(self, dual: Float, scale: Float32) -> Float:
        """Return ``X @ (scale * (X.T @ dual))`` plus the constant feature's part."""
        weights = _transposed(self.X, dual.astype(np.float32))
        weights *= scale
        product: Float = _product(self.X, weights).astype(np.float64)
        product += self.constant * dual.sum(axis=0)
        return product

    def weights(self, dual: Float, scale: Float32) -> tuple[Float, Float]:
        """Return the weights of the features, (k, n_features), and the intercepts that they mean."""
        weights = _transposed(self.X, dual.astype(np.float32)).astype(np.float64)
        weights *= scale
        return weights.T, self.constant * dual.sum(axis=0)

    def squares(self, columns: Float) -> Float:
        """Return the squares of X's values times a vector of the features."""
        found: Float = _product(self.X, columns[:, None], power=2)[:, 0]
        return found


def runs(n: int, engine: Engine) -> list[tuple[int, int]]:
    """Deal blocks into a few runs for each core of an engine."""
    parts = np.array_split(np.arange(n), min(_TASKS * engine.cores, n))
    return [(int(part[0]), int(part[-1]) + 1) for part in parts]


def _product(X: Blocks, columns: NDArray[Any], *, power: int = 1) -> NDArray[Any]:
    """Return ``X @ columns``, or that of the powers of X's values."""
    parts = X.engine.map(
        _scatter_run, runs(X.n_blocks, X.engine), X=X, columns=columns, power=power
    )
    return np.concatenate(list(parts))


def _transposed(X: Blocks, rows: NDArray[Any], *, presence: bool = False) -> NDArray[Any]:
    """Return ``X.T @ rows``, or that of the ones where X is not zero."""
    parts = X.engine.map(
        _gather_run, runs(X.n_column_blocks, X.engine), X=X, rows=rows, presence=presence
    )
    return np.concatenate(list(parts))


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


class _Matrix:
    """As much of a matrix as scikit-learn's loss of linear models asks for.

    Rows and columns are summed whole, by one task in one order, so that products have the bits of those
    in memory.
    """

    __array_ufunc__ = None  # numpy's ``@`` asks `__rmatmul__`

    def __init__(self, X: Blocks, dtype: np.dtype[Any]) -> None:
        self.X = X
        self.shape = X.shape
        self.dtype = dtype

    def __matmul__(self, columns: NDArray[Any]) -> NDArray[Any]:
        return _product(self.X, columns)

    def __rmatmul__(self, rows: NDArray[Any]) -> NDArray[Any]:
        found: NDArray[Any] = (self.T @ rows.T).T
        return found

    @property
    def T(self) -> _Transpose:  # noqa: N802 - as numpy names it
        return _Transpose(self.X)


class _Transpose:
    def __init__(self, X: Blocks) -> None:
        self.X = X

    def __matmul__(self, rows: NDArray[Any]) -> NDArray[Any]:
        return _transposed(self.X, rows)


def fit_logistic(
    model: Any,
    X: Blocks,
    y: NDArray[Any],
    sample_weight: NDArray[np.float64] | None = None,
    *,
    watch: Callable[[float], None] = lambda _gradient: None,
) -> Any:
    """Fit scikit-learn's logistic regression on blocks, by its own objective and its own method.

    Parameters
    ----------
    model : LogisticRegression
        With ``solver="lbfgs"`` and an L2 penalty; fitted in place.
    X : Blocks
    y : ndarray of shape (n_samples,)
    sample_weight : ndarray of shape (n_samples,), optional
    watch : callable
        Told the largest part of the gradient each time that one is computed.

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
    dtype = X.block(0).dtype
    weight = None if sample_weight is None else sample_weight.astype(dtype)
    if model.class_weight is not None:
        of_class = compute_class_weight(model.class_weight, classes=classes, y=y)
        weight = (1.0 if weight is None else weight) * of_class[codes].astype(dtype)
    total = len(codes) if weight is None else float(weight.sum())
    # scikit-learn names no penalty by C=inf, or by the parameter that it gives up.
    C = np.inf if getattr(model, "penalty", "l2") is None else model.C
    n_features, intercept = X.shape[1], int(model.fit_intercept)
    two = len(classes) == 2
    loss = LinearModelLoss(
        base_loss=HalfBinomialLoss() if two else HalfMultinomialLoss(n_classes=len(classes)),
        fit_intercept=model.fit_intercept,
    )
    n_targets = 1 if two else len(classes)

    def objective(w: NDArray[Any], *words: Any) -> tuple[float, NDArray[Any]]:
        value, gradient = loss.loss_gradient(w, *words)
        watch(float(max(gradient.max(), -gradient.min())))
        return value, gradient

    found = scipy.optimize.minimize(
        objective,
        np.zeros(n_targets * (n_features + intercept), dtype=dtype),
        args=(_Matrix(X, dtype), codes.astype(dtype), weight, 1.0 / (C * total), 1),
        method="L-BFGS-B",
        jac=True,
        options={
            "maxiter": model.max_iter, "maxls": 50, "gtol": model.tol, "ftol": 64 * np.finfo(float).eps,
        },
    )  # fmt: skip
    if found.nit >= model.max_iter:
        warnings.warn(
            f"LogisticRegression stopped after max_iter={model.max_iter} steps; raise it or tol",
            ConvergenceWarning,
            stacklevel=3,
        )
    w = found.x.astype(dtype).reshape(n_targets, n_features + intercept, order="F")
    model.classes_ = classes
    model.coef_ = np.ascontiguousarray(w[:, :n_features])
    model.intercept_ = w[:, n_features] if intercept else np.zeros(n_targets)
    model.n_iter_ = np.array([found.nit], dtype=np.int32)
    model.n_features_in_ = n_features
    return model
