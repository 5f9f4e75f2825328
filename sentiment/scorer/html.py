"""An explanation as coloured text, for notebooks and reports."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sentiment.scorer.explain import Explanation

# Told apart by the colour-blind, on light and on dark ground.
_FOR, _AGAINST = "37, 99, 235", "217, 119, 6"


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
