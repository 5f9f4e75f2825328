"""Two models on the same rows, as a page: where they differ, by slice, and on which texts."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from sentiment.evaluation.answers import Answers
from sentiment.evaluation.metrics import paired_test
from sentiment.evaluation.slices import kinds_of
from sentiment.page.html import cards, document, example, percent, quote, short, table

_EXAMPLES = 10
_FEWEST = 5


def difference_page(first: Answers, second: Answers, names: tuple[str, str]) -> str:
    """Return the page about two models' answers to the same rows.

    Parameters
    ----------
    first, second : Answers
        Of the same texts in the same order.
    names : (str, str)

    References
    ----------
    McNemar's exact test, for all rows and for each slice.
    """
    a, b = first.correct, second.correct
    test = paired_test(a, b)
    names = (short(names[0], 40), short(names[1], 40))
    title = f"{names[0]} and {names[1]}"
    rows = []
    for kind, chosen in (("all rows", np.ones(len(first), np.bool_)), *kinds_of(first)):
        if int(chosen.sum()) < _FEWEST:
            continue
        own = paired_test(a[chosen], b[chosen])
        rows.append(
            [
                escape(short(kind, 50)), f"{int(chosen.sum()):,}", percent(float(a[chosen].mean())),
                percent(float(b[chosen].mean())),
                f"{own.difference * 100:+.2f} ({own.low * 100:+.2f} to {own.high * 100:+.2f})",
                f"{own.only_a:,}", f"{own.only_b:,}", f"{own.p_value:.2g}",
            ]
        )  # fmt: skip
    differing = sum(x != y for x, y in zip(first.predicted, second.predicted, strict=True))
    head = ["slice", "rows", "A", "B", "B less A, points", "only A right", "only B right", "p"]
    return document(
        title,
        [
            f"<h1>{escape(title)}</h1>",
            f'<p class="soft">A is {escape(names[0])}, B is {escape(names[1])}; '
            f"{len(first):,} test rows that both answered</p>",
            cards(
                {
                    "accuracy of A": f"{a.mean():.4f}",
                    "accuracy of B": f"{b.mean():.4f}",
                    "rows answered otherwise": f"{differing:,}",
                    "p of the difference": f"{test.p_value:.2g}",
                }
            ),
            "<h2>By slice</h2>",
            table(head, rows, range(1, 8)),
            '<p class="soft">p by McNemar\'s exact test on each slice, not corrected for their number.</p>',
            "<h2>Only A is right</h2>",
            _examples(first, second, np.flatnonzero(a & ~b).tolist()),
            "<h2>Only B is right</h2>",
            _examples(second, first, np.flatnonzero(b & ~a).tolist()),
        ],
    )


def _examples(right: Answers, wrong: Answers, places: Sequence[int]) -> str:
    """Show rows that one answers rightly, those first of which the other is surest."""
    if not places:
        return '<p class="soft">no row</p>'
    ranked = sorted(places, key=lambda place: (-wrong.confidence[place], place))
    shown = [
        example(
            f"row {place}: {escape(short(right.predicted[place]))} "
            f"({percent(float(right.confidence[place]))}), "
            f"the other says {escape(short(wrong.predicted[place]))} "
            f"({percent(float(wrong.confidence[place]))})",
            quote(right.texts[place], 500),
        )
        for place in ranked[:_EXAMPLES]
    ]
    more = len(places) - len(shown)
    return "".join(shown) + (f'<p class="soft">and {more:,} more rows</p>' if more else "")
