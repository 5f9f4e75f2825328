"""An explanation: what each n-gram adds, and that as coloured text for notebooks and reports."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from sentiment.scorer.origins import Span

# Told apart by the colour-blind, on light and on dark ground.
_FOR, _AGAINST = "37, 99, 235", "217, 119, 6"


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one n-gram adds to each score.

    Attributes
    ----------
    ngram : str
    count : int
        How often the text holds it.
    scores : tuple of float
        One per score: one for two classes (towards the second label), else one per label.
    spans : tuple of (int, int)
        Start and end of each occurrence, in characters of the text as given.
    """

    ngram: str
    count: int
    scores: tuple[float, ...]
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """An exact account of one prediction: ``intercept + sum of contributions = scores``.

    Attributes
    ----------
    label : str
    probabilities : dict of str to float
    contributions : list of Contribution
        The strongest first.
    rest : tuple of float
        Sum of the contributions that `top` left out.
    intercept, scores : tuple of float
        One per score.
    score_labels : tuple of str
        The label that each score speaks for.
    text : str
        What was explained.
    """

    label: str
    probabilities: dict[str, float]
    contributions: list[Contribution]
    rest: tuple[float, ...]
    intercept: tuple[float, ...]
    scores: tuple[float, ...]
    score_labels: tuple[str, ...]
    text: str = ""

    def _repr_html_(self) -> str:
        """Show the text in a notebook, its words coloured by what they add to the verdict."""
        return explanation_html(self)


def explanation_html(found: Explanation, most: int | None = None) -> str:
    """Return a text with each character shaded by what the n-grams that cover it add.

    Parameters
    ----------
    found : Explanation
    most : int, optional
        Show only so many characters.
    """
    verdict = f"{escape(found.label)} {found.probabilities[found.label]:.3f}"
    return (
        f'<div style="font-family:system-ui,sans-serif;max-width:46em"><p><b>{verdict}</b> '
        f'<span style="background:rgba({_FOR}, .4)">&nbsp;for&nbsp;</span> '
        f'<span style="background:rgba({_AGAINST}, .4)">&nbsp;against&nbsp;</span></p>'
        f'<p style="line-height:1.7;white-space:pre-wrap">{shaded(found, most)}</p></div>'
    )


def shaded(found: Explanation, most: int | None = None) -> str:
    """Return the text alone, shaded; see `explanation_html`."""
    number = found.score_labels.index(found.label) if found.label in found.score_labels else 0
    sign = 1.0 if found.label in found.score_labels else -1.0
    added = [0.0] * len(found.text)
    for part in found.contributions:
        covered = sum(end - start for start, end in part.spans)
        for start, end in part.spans:
            for place in range(start, end):
                added[place] += sign * part.scores[number] / covered
    strongest = max(map(abs, added), default=0.0) or 1.0
    # Shades that no eye tells apart are one: a page stays small.
    shades = [round(weight / strongest, 1) for weight in added]
    end_of_text = len(shades) if most is None else min(most, len(shades))
    pieces = []
    start = 0
    for place in range(1, end_of_text + 1):
        if place < end_of_text and shades[place] == shades[start]:
            continue
        piece = escape(found.text[start:place])
        if shades[start]:
            colour = _FOR if shades[start] > 0 else _AGAINST
            piece = (
                f'<span style="background:rgba({colour}, {abs(shades[start]) * 0.6:.2f})">'
                f"{piece}</span>"
            )
        pieces.append(piece)
        start = place
    return "".join(pieces) + ("…" if end_of_text < len(shades) else "")
