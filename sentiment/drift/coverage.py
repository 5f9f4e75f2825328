"""How much a model answers that withholds unsure answers, and how much that may be."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from sentiment.drift.reference import Counts, Reference

_Z = 1.959964  # 95 % of a normal distribution


class CoverageState(StrEnum):
    """Where the share answered lies."""

    BELOW = "below"
    INSIDE = "inside"
    ABOVE = "above"


@dataclass(frozen=True, slots=True)
class Coverage:
    """The share of texts that is answered, and its band.

    Attributes
    ----------
    window : float or None
        Share answered of the texts on which the model's own rule decided; None without any.
    reference : float
        The same of the reference texts.
    low, high : float or None
        The band's ends; None without a window.
    state : CoverageState or None
        None with too few texts.
    texts : int
        Texts of the window on which the model's own rule decided.
    overridden : int
        Texts whose request said itself below which confidence nothing is answered: they are not in
        ``window``.
    """

    window: float | None
    reference: float
    low: float | None
    high: float | None
    state: CoverageState | None
    texts: int
    overridden: int

    @property
    def change(self) -> float | None:
        """How far the share answered is from the reference's, up or down."""
        return None if self.window is None else abs(self.window - self.reference)

    def document(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def measure_coverage(
    reference: Reference, counts: Counts, limit: float, minimum: int
) -> Coverage | None:
    """Tell how much is answered.

    Parameters
    ----------
    reference : Reference
    counts : Counts
    limit : float
        The change that is drift when it is beyond chance, too.
    minimum : int
        Texts without which nothing is said.

    Returns
    -------
    Coverage or None
        None for a model that answers always, or that was made before this was counted.
    """
    if reference.answered is None:
        return None
    n = int(counts["own"])
    overridden = int(counts["labels"].sum()) - n
    usual = reference.answered / reference.n
    if not n:
        return Coverage(None, usual, None, None, None, n, overridden)
    seen = int(counts["answered"]) / n
    low, high = by_chance(reference.answered, reference.n, n)
    low, high = max(low - limit, 0.0), min(high + limit, 1.0)
    state = None
    if n >= minimum:
        state = CoverageState.INSIDE
        if not low <= seen <= high:
            state = CoverageState.BELOW if seen < low else CoverageState.ABOVE
    return Coverage(seen, usual, low, high, state, n, overridden)


def by_chance(right: int, n: int, more: int) -> tuple[float, float]:
    """Return between which shares of more draws chance leaves them, 95 times of 100.

    Parameters
    ----------
    right, n : int
        Hits and draws that are known.
    more : int
        Draws to come, of the same share.

    Returns
    -------
    low, high : float
        The shares at which a test of equal proportions, with pooled variance, just says no; they
        allow for chance in what is known, too, and are no point even when all or none were hits.

    References
    ----------
    Krishnamoorthy and Peng, "Improved closed-form prediction intervals for binomial and Poisson
    distributions", Journal of Statistical Planning and Inference 141, 2011.
    """
    # (share - p)^2 = z^2 q (1 - q) (1/n + 1/more), where q is the share of all draws together.
    p = right / n
    variance = _Z * _Z * (1 / n + 1 / more)
    weight = more / (n + more)
    a = 1 + variance * weight * weight
    b = variance * weight * (1 - 2 * p)
    root = (b * b + 4 * a * variance * p * (1 - p)) ** 0.5
    return max(p + (b - root) / (2 * a), 0.0), min(p + (b + root) / (2 * a), 1.0)
