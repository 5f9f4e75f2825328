"""What was seen while a decision was chosen, as a section of a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sentiment.page import charts

if TYPE_CHECKING:
    from sentiment.evaluation.decisions import Chosen

_UNIT = (0.0, 1.0)


def choosing_section(chosen: Chosen) -> list[str]:
    """Return the section as HTML; empty where nothing was tuned.

    Parameters
    ----------
    chosen : Chosen
    """
    from sentiment.evaluation.decisions import WORDS

    if not chosen.decision:
        return []
    on = WORDS[chosen.rows]
    drawn = []
    if chosen.curve:
        (_, places), (metric, values) = chosen.curve.items()
        best = places[int(np.argmax(values))]
        drawn.append(
            _curve(f"Threshold: {best:.3g}", places, values, "threshold", metric, on, best)
        )
    if part := chosen.tradeoff:
        answered = np.flatnonzero(~chosen.decision.unsure(np.array(part["confidence"])))
        last = int(answered[-1]) if chosen.decision.withholds and len(answered) else None
        share = None if last is None else part["coverage"][last]
        title = "Error of the most confident answers"
        drawn.append(_curve(title, part["coverage"], part["error"], "coverage", "error", on, share))
    if not drawn:
        return []
    return ["<h2>How the decision was chosen</h2>", f'<div class="grid">{"".join(drawn)}</div>']


def _curve(
    title: str,
    x: list[float],
    y: list[float],
    x_name: str,
    y_name: str,
    on: str,
    mark: float | None,
) -> str:
    line = () if mark is None else ((mark, min(y)), (mark, max(y)))
    return charts.lines(
        title, {y_name: list(zip(x, y, strict=True))}, ideal=line, x=_UNIT, y_name=y_name,
        x_name=f"{x_name} on {on}{'' if mark is None else '; dashed: chosen'}",
    )  # fmt: skip
