"""What withholding unsure answers costs and gains on labelled rows, for pages and cards."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from sentiment.drift.signals import wilson
from sentiment.evaluation.answers import Answers, Floats
from sentiment.page.html import table


@dataclass(frozen=True)
class Part:
    """Rows of which a share is so, and the share's 95 % interval.

    Attributes
    ----------
    right, rows : int
    low, high : float
    """

    right: int
    rows: int
    low: float
    high: float

    @classmethod
    def of(cls, right: int, rows: int) -> Part:
        """Make one; of no rows the interval is everything."""
        return cls(right, rows, *(wilson(right, rows) if rows else (0.0, 1.0)))

    @property
    def told(self) -> str:
        """The share with its interval."""
        if not self.rows:
            return "–"
        return f"{self.right / self.rows:.1%} ({self.low:.1%} to {self.high:.1%})"


def abstaining(answers: Answers) -> dict[str, Part]:
    """Return how many rows are answered, and how many of the answered and the withheld are right.

    Empty for a model that answers always.
    """
    if not answers.decision.withholds:
        return {}
    sure, correct = ~answers.withheld, answers.correct
    n = int(sure.sum())
    return {
        "answered": Part.of(n, len(answers)),
        "right when answered": Part.of(int((correct & sure).sum()), n),
        "withheld": Part.of(int((correct & ~sure).sum()), len(answers) - n),
    }


def abstaining_told(answers: Answers) -> str:
    """Say when nothing is answered, and what the other figures are of."""
    return (
        f"No label is given below a confidence of {answers.decision.min_confidence:.3g}. All other "
        "figures are of the labels that every row would get, given or withheld."
    )


def abstaining_rows(answers: Answers) -> list[list[str]]:
    """Return what, rows, and share with its interval, for a table."""
    found = abstaining(answers)
    if not found:
        return []
    answered, right, withheld = found.values()
    return [
        ["answered", f"{answered.right:,} of {answered.rows:,}", answered.told],
        ["right, of those", f"{right.right:,} of {right.rows:,}", right.told],
        [
            "would be right, of the withheld",
            f"{withheld.right:,} of {withheld.rows:,}",
            withheld.told,
        ],
    ]


def abstaining_section(answers: Answers) -> list[str]:
    """Return the page's section about it, as HTML."""
    if not (rows := abstaining_rows(answers)):
        return []
    return [
        "<h2>Abstaining</h2>",
        table(["", "rows", "share, 95 % interval"], rows, (1, 2)),
        f'<p class="soft">{escape(abstaining_told(answers))}</p>',
    ]


def stop_line(answers: Answers, heights: Floats) -> tuple[tuple[tuple[float, float], ...], str]:
    """Return where the model stops to answer, as a line up a curve, and what its axis is called.

    Parameters
    ----------
    answers : Answers
    heights : float64[m]
        Of the curve, by share of the rows answered.
    """
    name = "share of texts that are answered"
    if not answers.decision.withholds:
        return (), name
    share = float((~answers.withheld).mean())
    ends = ((share, float(heights.min())), (share, float(heights.max())))
    return ends, f"{name}; dashed: by this model"
