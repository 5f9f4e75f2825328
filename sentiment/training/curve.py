"""A learning curve: how good a config is with fewer labels, and what more of them are likely to give."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from html import escape
from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from sentiment.errors import DataError, UsageError
from sentiment.page import charts
from sentiment.page.html import cards, document, table
from sentiment.training.weighing import Weigh, none

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sklearn.pipeline import Pipeline

    from sentiment.data.split import Split
    from sentiment.data.splits import Splits

_FEWEST = 50  # labels of the first point
_POINTS = 8
_REFITS = 200
_SURE = 1.96


@dataclass(frozen=True)
class Point:
    """A number of labels, and how good models of that many are.

    Attributes
    ----------
    labels : int
    models : int
        Each of other rows.
    accuracy, low, high : float
        Mean over the models on the validation rows, with a 95 % interval for both draws: of the
        training rows and of the validation rows.
    """

    labels: int
    models: int
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True)
class Curve:
    """A learning curve.

    Attributes
    ----------
    points : list of Point
        Ascending.
    more : int
        Labels more than there are, for which the next figures are.
    expected, low, high : float or None
        What that many more labels are likely to add to the accuracy, with a 95 % interval; None
        where the points tell nothing of it.
    rows : int
        Validation rows.
    """

    points: list[Point]
    more: int
    expected: float | None
    low: float | None
    high: float | None
    rows: int

    def to_dict(self) -> dict[str, Any]:
        """Return the curve as plain containers."""
        return asdict(self)


def sizes(rows: int) -> list[int]:
    """Return numbers of labels to learn from, each twice the one before, up to all rows."""
    found = [rows]
    while len(found) < _POINTS and found[-1] // 2 >= _FEWEST:
        found.append(found[-1] // 2)
    return found[::-1]


def learning_curve(
    make: Callable[[], Pipeline],
    splits: Splits,
    *,
    more: int = 1000,
    seed: int,
    weigh: Weigh = none,
    watch: Callable[[int, float], None] = lambda _labels, _accuracy: None,
) -> Curve:
    """Train on parts of the training rows and judge on the validation rows.

    Vocabulary and weights are made of each part alone, as a training on so many labels would; the
    test rows are not looked at.

    Parameters
    ----------
    make : callable
        Returns the unfitted pipeline.
    splits : Splits
    more : int
        For how many more labels to say what they are likely to give.
    seed : int
        Of the parts.
    weigh : callable
        How the rows of each part are weighed: `sentiment.training.weighing.asked`.
    watch : callable
        Told each model's number of labels and accuracy.

    Raises
    ------
    DataError
        There are too few training or validation rows.
    UsageError
        The pipeline refuses rows.

    References
    ----------
    Error falls as a power of the number of labels towards a floor: Figueroa et al., BMC Medical
    Informatics and Decision Making 12, 2012; Hestness et al., arXiv 1712.00409, 2017.
    """
    check_rows(splits)
    train, val = splits.train, splits.val
    points = []
    for number in sizes(len(train)):
        # Small parts differ most from one another, and cost least.
        models = 1 if number == len(train) else 5 if number <= 2000 else 3
        found = []
        for draw in range(models):
            part = train if number == len(train) else _part(train, number, seed + draw)
            found.append(_accuracy(make(), part, splits, weigh))
            watch(number, found[-1])
        points.append(_point(number, found, len(val)))
    expected, low, high = _gain(points, more, seed)
    return Curve(points, more, expected, low, high, len(val))


def check_rows(splits: Splits) -> None:
    """Refuse rows of which no learning curve can be made.

    Raises
    ------
    UsageError
        They are a stream.
    DataError
        There are too few training or validation rows.
    """
    train, val = splits.train, splits.val
    if splits.train_fingerprint is not None and not len(train):
        raise UsageError(
            "a learning curve needs the rows in memory: data.streaming=false, or more data.memory"
        )
    if len(train) < 2 * _FEWEST:
        raise DataError(
            f"a learning curve needs {2 * _FEWEST} training rows or more, there are {len(train)}"
        )
    if not len(val):
        raise DataError(
            "a learning curve is judged on validation rows: data.val_size=0.1, or data.val"
        )


def _part(train: Split, number: int, seed: int) -> Split:
    """Draw rows, at least one of each class."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(train))
    labels = np.array(train.labels, dtype=object)[order]
    _, first = np.unique(labels.astype(str), return_index=True)
    rest = np.setdiff1d(np.arange(len(order)), first)
    chosen = np.concatenate([first, rest[: max(number - len(first), 0)]])
    return train.take(sorted(order[chosen].tolist()))


def _accuracy(pipeline: Pipeline, part: Split, splits: Splits, weigh: Weigh) -> float:
    val = splits.val
    try:
        with warnings.catch_warnings():
            # Few texts tell little: what a training warns of is what a curve shows.
            warnings.simplefilter("ignore")
            weighed = weigh(pipeline[-1], splits, part)
            weights = weighed.row_weights(part.texts, part.labels)
            X = pipeline[0].fit_transform(part.texts)
            weighed.learn(pipeline[-1], X, part, splits.classes, weights)
            answers = pipeline.predict(val.texts)
    except ValueError as error:
        raise UsageError(f"with {len(part):,} labels: {' '.join(str(error).split())}") from error
    return float(np.mean([a == b for a, b in zip(answers, val.labels, strict=True)]))


def _point(number: int, found: Sequence[float], rows: int) -> Point:
    mean = float(np.mean(found))
    between = float(np.var(found, ddof=1)) / len(found) if len(found) > 1 else 0.0
    # Two rows of each kind more (Agresti and Coull, The American Statistician 52, 1998): without an
    # error seen there may be some.
    inside = (mean * rows + 2) / (rows + 4)
    half = _SURE * sqrt(between + inside * (1 - inside) / (rows + 4))
    low, high = max(0.0, min(mean, inside - half)), min(1.0, max(mean, inside + half))
    return Point(number, len(found), mean, low, high)


def _gain(
    points: Sequence[Point], more: int, seed: int
) -> tuple[float | None, float | None, float | None]:
    """Return what more labels are likely to add, by the fitted law, and its interval."""
    if len(points) < 4:
        return None, None, None
    labels = np.array([float(point.labels) for point in points])
    errors = np.array([1 - point.accuracy for point in points])
    spread = np.array([max((point.high - point.low) / 2 / _SURE, 1e-4) for point in points])
    best = _fit(labels, errors, spread)
    if best is None:
        return None, None, None
    rng = np.random.default_rng(seed)
    gains = []
    for _ in range(_REFITS):
        drawn = np.clip(errors + spread * rng.standard_normal(len(errors)), 0.0, 1.0)
        law = _fit(labels, drawn, spread)
        if law is not None:
            gains.append(_between(law, labels[-1], more))
    if len(gains) < _REFITS // 2:
        return None, None, None
    low, high = np.quantile(gains, [0.025, 0.975])
    return _between(best, labels[-1], more), float(low), float(high)


def _fit(
    labels: NDArray[np.float64], errors: NDArray[np.float64], spread: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Fit floor + scale * labels ** -power."""
    from scipy.optimize import least_squares

    def off(law: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray((_law(law, labels) - errors) / spread)

    begin = [errors.min() / 2, max(errors[0], 0.01) * labels[0] ** 0.5, 0.5]
    try:
        found = least_squares(off, begin, bounds=([0, 0, 0.05], [1, np.inf, 2]))
    except ValueError:
        return None
    return np.asarray(found.x) if found.success else None


def _law(law: NDArray[np.float64], labels: Any) -> Any:
    return law[0] + law[1] * np.power(labels, -law[2])


def _between(law: NDArray[np.float64], labels: float, more: int) -> float:
    return float(_law(law, labels) - _law(law, labels + more))


def curve_page(curve: Curve, name: str) -> str:
    """Return the curve as a page.

    Parameters
    ----------
    curve : Curve
    name : str
        Of the data.
    """
    told = {
        "accuracy with all labels": f"{curve.points[-1].accuracy:.4f}", "likely": gain(curve),
    }  # fmt: skip
    body = [f"<h1>Learning curve: {escape(name)}</h1>", cards(told), _drawn(curve)]
    return document(f"Learning curve: {name}", body)


def curve_section(curve: Curve) -> str:
    """Return the curve as a section of another page."""
    return f"<h2>Learning curve</h2><p>{escape(gain(curve))}</p>{_drawn(curve)}"


def _drawn(curve: Curve) -> str:
    points = curve.points
    chart = charts.lines(
        "Accuracy by labels",
        {"accuracy": [(float(p.labels), p.accuracy) for p in points]},
        x_name="labels (logarithmic)", y_name=f"accuracy on {curve.rows:,} validation rows",
        bars={"accuracy": [(float(p.labels), p.low, p.high) for p in points]},
        marks=True, log=True, x_ticks=[float(p.labels) for p in points[:: 1 if len(points) < 7 else 2]],
    )  # fmt: skip
    rows = [
        [f"{p.labels:,}", f"{p.models}", f"{p.accuracy:.4f}", f"{p.low:.4f} to {p.high:.4f}"]
        for p in points
    ]
    told = table(["labels", "models", "accuracy", "95 % interval"], rows, range(4))
    return (
        f'<div class="grid">{chart}<div>{told}</div></div>'
        '<p class="soft">Each model is made of its labels alone. Intervals are for both draws: of '
        "the training rows and of the validation rows. What more labels are likely to give is "
        "read from a power law with a floor, fitted to the points.</p>"
    )


def gain(curve: Curve) -> str:
    """Return what more labels are likely to give, in words."""
    if curve.expected is None or curve.low is None or curve.high is None:
        return f"{curve.more:,} more labels: cannot tell"
    return (
        f"{curve.more:,} more labels: {curve.expected * 100:+.2f} points "
        f"({curve.low * 100:+.2f} to {curve.high * 100:+.2f})"
    )
