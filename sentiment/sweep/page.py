"""What a search tried, as a page: the objective against each key, and every job."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from sentiment.page import charts
from sentiment.page.html import document, short, table

_MOST_TICKS = 6


def search_page(
    columns: Mapping[str, Sequence[str]],
    values: Sequence[float],
    objective: str,
    runs: Sequence[str],
) -> str:
    """Return the page.

    Parameters
    ----------
    columns : mapping of str to sequence of str
        The searched keys with each job's value.
    values : sequence of float
        Each job's objective, the best job first.
    objective : str
        Its name.
    runs : sequence of str
        Each job's run.
    """
    title = f"{len(values)} jobs by {objective}"
    drawn = []
    for key, words in columns.items():
        places, ticks = scale(words)
        drawn.append(
            charts.scatter(
                key, list(zip(places, values, strict=True)), x_name=key, y_name=objective,
                x_ticks=ticks, chosen=0,
            )
        )  # fmt: skip
    rows = [
        [
            f"{value:.4f}",
            *(escape(short(words[job], 60)) for words in columns.values()),
            runs[job][:8],
        ]
        for job, value in enumerate(values)
    ]
    body = [
        f"<h1>{escape(title)}</h1>",
        '<p class="soft">The best stands out.</p>',
        f'<div class="grid">{"".join(drawn)}</div>',
        table([escape(objective), *map(escape, columns), "run"], rows, (0,), tall=True),
    ]
    return document(title, body)


def scale(words: Sequence[str]) -> tuple[list[float], dict[str, float]]:
    """Return where values stand on an axis, and the words of its ticks.

    Numbers stand by their size (by its logarithm over a wide range of positive ones), words in order.

    Parameters
    ----------
    words : sequence of str
        At least one.
    """
    distinct = list(dict.fromkeys(words))
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        numbers = []
    if not numbers or not all(math.isfinite(number) for number in numbers):
        shown = distinct[:: -(-len(distinct) // _MOST_TICKS)]
        ticks = {short(word, 12): float(distinct.index(word)) for word in shown}
        return [float(distinct.index(word)) for word in words], ticks
    logarithmic = min(numbers) > 0 and max(numbers) / min(numbers) >= 20
    places = [math.log(number) if logarithmic else number for number in numbers]
    ordered = sorted(set(zip(places, numbers, strict=True)))
    step = max(1.0, (len(ordered) - 1) / (_MOST_TICKS - 1))
    chosen = [ordered[round(number * step)] for number in range(min(len(ordered), _MOST_TICKS))]
    return places, {f"{number:.4g}": place for place, number in chosen}
