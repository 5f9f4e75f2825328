"""Regularised linear problems with many features, solved in the space of the texts.

Newton's method with conjugate gradients (Keerthi and DeCoste 2005), a line search that costs no
product with the matrix, and several problems at once that share reading it.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, Protocol, Self

import numpy as np
import scipy.sparse
import scipy.special
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from sentiment.text.corpus import thread_count

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]
Loss = Literal["squared_hinge", "log_loss"]

_SQUARED_AT_ONCE = 1 << 20  # values


class Products(Protocol):
    """What the solver asks of a matrix."""

    def apply(self, dual: Float, scale: Float32) -> Float:
        """Return ``X @ (scale * (X.T @ dual))`` plus the constant feature's part."""
        ...


class Kernel:
    """The products with X that the solver needs, on all cores, for many columns at once.

    Rows of ``X`` and of its transpose are split between threads (scipy's products release the
    interpreter's lock); every row is summed by one thread in one order, so results do not depend
    on the number of threads.
    """

    def __init__(self, X: Any, n_jobs: int | None, *, fit_intercept: bool) -> None:
        rows = scipy.sparse.csr_array(X, dtype=np.float32)
        self.shape: tuple[int, int] = rows.shape
        self.constant = 1.0 if fit_intercept else 0.0
        threads = n_jobs if n_jobs is not None and n_jobs > 0 else thread_count()
        self.pool = ThreadPoolExecutor(threads)
        self.rows = list(_split(rows, threads))
        self.columns = list(_split(rows.T.tocsr(), threads))
        self.starts = np.cumsum([0] + [part.shape[0] for part in self.columns[:-1]])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.shutdown()

    def _product(self, parts: list[Any], dense: NDArray[Any]) -> NDArray[Any]:
        products: NDArray[Any] = np.concatenate(
            list(self.pool.map(lambda part: part @ dense, parts))
        )
        return products

    def counts(self, weight: Float) -> Float:
        """Weight of the texts that hold each feature: (n_samples, k) -> (n_features, k)."""
        presence = [
            scipy.sparse.csr_array(
                (np.ones(part.nnz, dtype=np.float32), part.indices, part.indptr), shape=part.shape
            )
            for part in self.columns
        ]
        counts: Float = self._product(presence, weight.astype(np.float32)).astype(np.float64)
        return counts

    def apply(self, dual: Float, scale: Float32) -> Float:
        """Return ``X @ (scale * (X.T @ dual))`` plus the constant feature's part.

        `scale` is the square of the factors, shape (n_features, k).
        """
        dual32 = dual.astype(np.float32)
        weights = np.empty(scale.shape, dtype=np.float32)

        def gather(part: Any, first: int) -> None:
            here = slice(first, first + part.shape[0])
            np.multiply(part @ dual32, scale[here], out=weights[here])

        list(self.pool.map(gather, self.columns, self.starts))
        product: Float = self._product(self.rows, weights).astype(np.float64)
        product += self.constant * dual.sum(axis=0)
        return product

    def squares(self, columns: Float) -> Float:
        """Return the squares of X's values times a vector of the features."""

        def product(part: Any) -> Float:
            # Some at a time: in double precision all of them would take as much as the matrix.
            squared = (
                scipy.sparse.csr_array(
                    (piece.data.astype(np.float64) ** 2, piece.indices, piece.indptr), piece.shape
                )
                for piece in _split(part, 1 + part.nnz // _SQUARED_AT_ONCE)
            )
            return np.concatenate([piece @ columns for piece in squared])

        return np.concatenate(list(self.pool.map(product, self.rows)))

    def weights(self, dual: Float, scale: Float32) -> tuple[Float, Float]:
        """Return the weights of the features, (k, n_features), and the intercepts that they mean."""
        weights = self._product(self.columns, dual.astype(np.float32)).astype(np.float64)
        return (weights * scale).T, self.constant * dual.sum(axis=0)


def _split(matrix: Any, parts: int) -> Iterator[Any]:
    """Cut a CSR matrix into runs of rows that hold about equally many entries, without a copy."""
    goals = np.linspace(0, matrix.nnz, parts + 1)[1:-1]
    cuts = [0, *np.searchsorted(matrix.indptr, goals).tolist(), matrix.shape[0]]
    for first, last in itertools.pairwise(cuts):
        begin, end = matrix.indptr[first], matrix.indptr[last]
        yield scipy.sparse.csr_array(
            (
                matrix.data[begin:end],
                matrix.indices[begin:end],
                matrix.indptr[first : last + 1] - begin,
            ),
            shape=(last - first, matrix.shape[1]),
        )


def solve(
    kernel: Products,
    scale: Float32,
    share: Float,
    cost: Float,
    loss: Loss,
    tol: float | Float,
    max_iter: int,
    start: Float | None = None,
) -> tuple[Float, Float, int]:
    """Minimise ``|w|^2 / 2 + sum(cost * expected loss)`` for every column at once.

    The loss of a text is ``share * loss(margin) + (1 - share) * loss(-margin)``: `share` is 1 where it
    belongs to the class, 0 where it does not, and a probability where that is what is known.
    Everything lives in the space of the texts: the weights are ``scale * X.T @ dual`` but for one
    factor (`scale` is its square), and a vector ``v`` of that space has the squared length
    ``v @ K @ v`` of the weights it stands for, with K the kernel. `start` is a guess of the dual;
    "converged" means as much with it as without.

    Returns
    -------
    dual, margin : ndarray of shape (n_samples, n_problems)
        Coefficients of the texts, and scores of all texts (those of cost zero as well).
    n_iter : int
        Newton steps.
    """
    dual = np.zeros_like(cost)
    margin = np.zeros_like(cost)
    first_norm: Float | None = None
    if start is not None:
        slope, _ = _derivatives(loss, share, cost, margin)
        first_norm = np.sqrt(np.maximum(_dot(slope, kernel.apply(slope, scale)), 0.0))
        first_norm[first_norm == 0] = 1.0
        dual, margin = start, kernel.apply(start, scale)
    for iteration in range(max_iter):
        slope, curvature = _derivatives(loss, share, cost, margin)
        residual = -(dual + slope)
        k_residual = kernel.apply(residual, scale)
        norm = np.sqrt(np.maximum(_dot(residual, k_residual), 0.0))
        if first_norm is None:
            first_norm = np.where(norm > 0, norm, 1.0)
        if np.all(norm <= tol * first_norm):
            return dual, margin, iteration
        # Solved only as exactly as the distance to the optimum deserves (Eisenstat and Walker).
        goal = np.minimum(0.3, np.sqrt(norm / first_norm)) * norm
        step, k_step = _conjugate_gradients(kernel, scale, curvature, residual, k_residual, goal)
        length = _line_search(loss, share, cost, dual, margin, step, k_step)
        dual += length * step
        margin += length * k_step
    warnings.warn(
        f"NBSVM stopped after max_iter={max_iter} steps; raise it or tol",
        ConvergenceWarning,
        stacklevel=3,
    )
    return dual, margin, max_iter


def _conjugate_gradients(
    kernel: Products,
    scale: Float32,
    curvature: Float,
    residual: Float,
    k_residual: Float,
    goal: Float,
    max_steps: int = 30,
) -> tuple[Float, Float]:
    """Solve ``(I + X.T D X) d = r`` for every column; return d's coefficients and ``X d``."""
    step, k_step = np.zeros_like(residual), np.zeros_like(residual)
    direction, k_direction = residual.copy(), k_residual.copy()
    residual = residual.copy()
    squared = _dot(residual, k_residual)
    for _ in range(max_steps):
        damped = curvature * k_direction
        energy = _dot(direction, k_direction) + _dot(damped, k_direction)
        # A column that has arrived stands still while the others go on.
        moving = (np.sqrt(np.maximum(squared, 0.0)) > goal) & (energy > 0)
        if not moving.any():
            break
        length = np.where(moving, squared / np.where(energy > 0, energy, 1.0), 0.0)
        step += length * direction
        k_step += length * k_direction
        residual -= length * (direction + damped)
        k_residual = kernel.apply(residual, scale)
        previous, squared = squared, _dot(residual, k_residual)
        ratio = np.where(moving, squared / np.where(previous > 0, previous, 1.0), 0.0)
        direction = residual + ratio * direction
        k_direction = k_residual + ratio * k_direction
    return step, k_step


def _dot(a: Float, b: Float) -> Float:
    """Column-wise inner products."""
    products: Float = np.einsum("ij,ij->j", a, b)
    return products


def _derivatives(loss: Loss, share: Float, cost: Float, margin: Float) -> tuple[Float, Float]:
    """First and second derivative of the summed loss by each text's score."""
    if loss == "squared_hinge":
        within, outside = np.maximum(0.0, 1.0 - margin), np.maximum(0.0, 1.0 + margin)
        slope = 2.0 * cost * ((1.0 - share) * outside - share * within)
        return slope, 2.0 * cost * (share * (within > 0) + (1.0 - share) * (outside > 0))
    chance = scipy.special.expit(margin)
    return cost * (chance - share), cost * chance * (1.0 - chance)


def _line_search(
    loss: Loss, share: Float, cost: Float, dual: Float, margin: Float, step: Float, k_step: Float
) -> Float:
    """Length of the Newton step that minimises each column's objective, by Newton's method.

    The objective along the step is convex and needs no product with X.
    """
    length = np.ones(step.shape[1])
    slope_now, step_squared = _dot(step, margin), _dot(step, k_step)
    for _ in range(6):
        slope, curvature = _derivatives(loss, share, cost, margin + length * k_step)
        first = slope_now + length * step_squared + _dot(slope, k_step)
        second = step_squared + _dot(curvature * k_step, k_step)
        length = length - np.where(second > 0, first / np.where(second > 0, second, 1.0), 0.0)
        length = np.clip(length, 0.0, 4.0)
    return length
