"""An explanation as coloured text, for notebooks."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sentiment.scorer.explain import Explanation

# Told apart by the colour-blind, on light and on dark ground.
_FOR, _AGAINST = "37, 99, 235", "217, 119, 6"


def explanation_html(found: Explanation) -> str:
    """Return a text with each character shaded by what the n-grams that cover it add.

    Parameters
    ----------
    found : Explanation
    """
    number = found.score_labels.index(found.label) if found.label in found.score_labels else 0
    sign = 1.0 if found.label in found.score_labels else -1.0
    added = [0.0] * len(found.text)
    for part in found.contributions:
        covered = sum(end - start for start, end in part.spans)
        for start, end in part.spans:
            for place in range(start, end):
                added[place] += sign * part.scores[number] / covered
    strongest = max(map(abs, added), default=0.0) or 1.0
    pieces = []
    start = 0
    for place in range(1, len(found.text) + 1):
        if place < len(found.text) and added[place] == added[start]:
            continue
        piece, weight = escape(found.text[start:place]), added[start] / strongest
        if weight:
            colour = _FOR if weight > 0 else _AGAINST
            piece = (
                f'<span style="background:rgba({colour}, {abs(weight) * 0.6:.2f})" '
                f'title="{added[start]:+.4f} a character">{piece}</span>'
            )
        pieces.append(piece)
        start = place
    verdict = f"{escape(found.label)} {found.probabilities[found.label]:.3f}"
    return (
        f'<div style="font-family:system-ui,sans-serif;max-width:46em"><p><b>{verdict}</b> '
        f'<span style="background:rgba({_FOR}, .4)">&nbsp;for&nbsp;</span> '
        f'<span style="background:rgba({_AGAINST}, .4)">&nbsp;against&nbsp;</span></p>'
        f'<p style="line-height:1.7;white-space:pre-wrap">{"".join(pieces)}</p></div>'
    )
