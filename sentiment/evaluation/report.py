"""A model as one page: figures beside those of others, curves, where it fails and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from sentiment.evaluation.abstaining import abstaining, abstaining_section
from sentiment.evaluation.answers import Answers
from sentiment.evaluation.by_class import confused, per_class
from sentiment.evaluation.curves import curves
from sentiment.evaluation.intervals import intervals
from sentiment.evaluation.slices import Slice, make_slices
from sentiment.page import charts
from sentiment.page.html import (
    cards,
    document,
    example,
    matrix,
    number,
    percent,
    quote,
    short,
    table,
)

if TYPE_CHECKING:
    from sentiment.evaluation.metrics import PairedTest
    from sentiment.scorer import Scorer

REPORT = "report.html"  # the artifact of a run
_ERRORS, _ERROR_CHARACTERS = 8, 1200
_NGRAMS, _CLASSES_OF_NGRAMS = 15, 12
_LOWER = ("log_loss", "brier_score", "ece")
_FIGURES = (
    "accuracy", "balanced_accuracy", "precision", "recall", "f1_score", "roc_auc",
    "average_precision", "log_loss", "brier_score", "ece",
)  # fmt: skip
RARE_NOTE = (
    "The classes are unequal: accuracy is high for whoever always gives the most frequent; average "
    "precision, balanced accuracy (the mean of the classes' recalls) and F1 are not"
)
"""What is said where a class is rare."""


@dataclass(frozen=True)
class Other:
    """Another model, or a rule, on the same rows.

    Attributes
    ----------
    name : str
    accuracy : float or None
    test : PairedTest or None
        Of this model less the other.
    note : str
        What is to be said, or why there is no figure.
    """

    name: str
    accuracy: float | None = None
    test: PairedTest | None = None
    note: str = ""


@dataclass(frozen=True)
class Facts:
    """What a report says beside the answers.

    Attributes
    ----------
    title : str
    metrics : mapping of str to float
        Of the answers, as `sentiment.evaluation.metrics.evaluate` names them.
    rows : str
        What the rows are, for people.
    others : sequence of Other
        To compare with; the majority class is compared with always.
    about : mapping of str to str
        Name to value: digest, data, versions, how to reproduce.
    """

    title: str
    metrics: Mapping[str, float]
    rows: str = "test rows"
    others: Sequence[Other] = ()
    about: Mapping[str, str] = field(default_factory=dict)


def of_split(metrics: Mapping[str, float], split: str) -> dict[str, float]:
    """Return the figures of one split (``val``, ``test``) of a run's metrics, by their own names."""
    prefix = f"{split}_"
    return {
        name.removeprefix(prefix): value
        for name, value in metrics.items()
        if name.startswith(prefix)
    }


def majority(answers: Answers) -> Other:
    """Compare with always answering the most frequent label of these rows."""
    from sentiment.evaluation.metrics import paired_test

    names, counts = np.unique(answers.codes, return_counts=True)
    most = int(names[counts.argmax()])
    test = paired_test(answers.codes == most, answers.correct)
    named = answers.classes[most] if most >= 0 else "another label"
    return Other("majority class", float(counts.max() / len(answers)), test, f"always {named}")


def model_report(
    answers: Answers,
    facts: Facts,
    scorer: Scorer | None = None,
    slices: Sequence[Slice] | None = None,
    more: Sequence[str] = (),
) -> str:
    """Return the page about a model.

    Parameters
    ----------
    answers : Answers
        At least one row.
    facts : Facts
    scorer : Scorer, optional
        Explains errors and classes.
    slices : sequence of Slice, optional
        Made here where they are missing.
    more : sequence of str
        Further sections, as HTML.
    """
    slices = make_slices(answers) if slices is None else slices
    metrics = facts.metrics
    worse = [one for one in slices if one.worse]
    body = [
        f"<h1>{escape(facts.title)}</h1>",
        f'<p class="soft">{len(answers):,} {escape(facts.rows)}, {len(answers.classes):,} classes</p>',
        cards(
            {
                **_first(answers, metrics),
                **({} if answers.rare else {"F1": number(metrics.get("f1_score"))}),
                **{
                    name: part.told
                    for name, part in abstaining(answers).items()
                    if name != "withheld"
                },
                "calibration error": number(metrics.get("ece")),
                "slices significantly worse": f"{len(worse)} of {len(slices)}",
            }
        ),
        "<h2>Beside others</h2>",
        _others([majority(answers), *facts.others], metrics["accuracy"]),
        "<h2>Figures</h2>",
        f'<div class="grid"><div>{_metrics(answers, metrics)}</div>'
        f"{matrix(answers.confusion.tolist(), answers.classes)}</div>",
        _per_class(answers),
        *abstaining_section(answers),
        "<h2>Curves</h2>",
        f'<div class="grid">{"".join(curves(answers))}</div>',
        *more,
        "<h2>Slices</h2>",
        _slices(slices, metrics["accuracy"]),
        "<h2>Worst errors</h2>",
        _errors(answers, scorer),
        *(_ngrams(scorer) if scorer is not None else ()),
        *(["<h2>About</h2>", _about(facts.about)] if facts.about else ()),
    ]
    return document(facts.title, body)


def _others(others: Sequence[Other], accuracy: float) -> str:
    rows = [["<b>this model</b>", f"{accuracy:.4f}", "", "", ""]]
    for other in others:
        test = other.test
        rows.append(
            [
                escape(other.name),
                number(other.accuracy, 4),
                ""
                if test is None
                else f"{test.difference:+.4f} ({test.low:+.4f} to {test.high:+.4f})",
                "" if test is None else _p(test.p_value),
                f'<span class="soft">{escape(other.note)}</span>',
            ]
        )
    return (
        table(["", "accuracy", "this model less it", "p", ""], rows, (1, 2, 3))
        + '<p class="soft">Differences with 95 % intervals; p by McNemar\'s exact test on the same rows.</p>'
    )


def _p(value: float) -> str:
    return f"{value:.2g}" if value >= 1e-4 else "&lt; 0.0001"


def _metrics(answers: Answers, metrics: Mapping[str, float]) -> str:
    spans = intervals(answers, metrics)
    rows = [
        [
            name.replace("_", " ") + (" (less is better)" if name in _LOWER else ""),
            f"{metrics[name]:.4f}",
            f"{spans[name][0]:.4f} to {spans[name][1]:.4f}" if name in spans else "",
        ]
        for name in figures(answers, metrics)
    ]
    of = (
        f"of {answers.classes[answers.positive]}"
        if len(answers.classes) == 2
        else "means over classes"
    )
    return (
        table(["metric", "value", "95 % interval"], rows, (1, 2))
        + f'<p class="soft">precision, recall, F1: {escape(of)}</p>'
        + (f'<p class="soft">{RARE_NOTE}.</p>' if answers.rare else "")
    )


def figures(answers: Answers, metrics: Mapping[str, float]) -> list[str]:
    """Return the metrics that are shown, those first that say most of these rows."""
    from sentiment.evaluation.metrics import leading

    return leading((name for name in _FIGURES if name in metrics), rare=answers.rare)


def _first(answers: Answers, metrics: Mapping[str, float]) -> dict[str, str]:
    """Return the figures at the top of the page, with their intervals."""
    spans = intervals(answers, metrics)
    return {
        name.replace("_", " ")
        + (", 95 % interval" if name in spans else ""): f"{metrics[name]:.3f}"
        + (f" ({spans[name][0]:.3f} to {spans[name][1]:.3f})" if name in spans else "")
        for name in figures(answers, metrics)[: 3 if answers.rare else 1]
    }


def _per_class(answers: Answers) -> str:
    rows = [
        [escape(short(name, 60)), f"{n:,}", f"{precision:.3f}", f"{recall:.3f}", f"{f1:.3f}"]
        for name, n, precision, recall, f1 in per_class(answers)
    ]
    told = table(
        ["class, lowest F1 first", "rows", "precision", "recall", "F1"],
        rows,
        (1, 2, 3, 4),
        tall=len(rows) > 15,
    )
    pairs = [
        [escape(short(a, 40)), escape(short(b, 40)), f"{count:,}", percent(share)]
        for a, b, count, share in confused(answers)
    ]
    wrong = table(["true", "answered", "rows", "of the class"], pairs, (2, 3)) if pairs else ""
    return f'<div class="grid"><div>{told}</div><div>{wrong}</div></div>'


def _slices(slices: Sequence[Slice], accuracy: float) -> str:
    if not slices:
        return '<p class="soft">Too few rows to judge parts of them.</p>'
    rows = [
        [
            f'<span class="bad">{escape(short(one.name, 50))}</span>' if one.worse
            else escape(short(one.name, 50)),
            f"{one.rows:,}",
            percent(one.accuracy),
            f"{percent(one.low)} to {percent(one.high)}",
            percent(one.rest),
            _p(one.p_value) + (' <span class="bad">worse</span>' if one.worse else ""),
        ]
        for one in slices
    ]  # fmt: skip
    chart = charts.bars(
        "Accuracy by slice",
        [(one.name, [one.accuracy * 100]) for one in slices],
        ["accuracy"],
        unit="percent, with 95 % intervals; dashed: all rows",
        form=".1f",
        intervals=[(one.low * 100, one.high * 100) for one in slices],
        mark=accuracy * 100,
        low=max(0.0, min(one.low for one in slices) * 100 - 5),
    )
    told = table(["slice", "rows", "accuracy", "95 % interval", "others", "p"], rows, range(1, 6))
    return (
        f'{told}<p class="soft">worse: less accurate than on the other rows beyond chance (Fisher, '
        f"one-sided, corrected by Holm for {len(slices)} slices).</p>" + chart
    )


def worst_errors(answers: Answers, most: int = _ERRORS) -> list[int]:
    """Return the places of wrong answers, the most confident first."""
    wrong = np.flatnonzero(~answers.correct)
    return [int(i) for i in wrong[np.lexsort((wrong, -answers.confidence[wrong]))][:most]]


def _errors(answers: Answers, scorer: Scorer | None) -> str:
    from sentiment.scorer.explanation import shaded

    places = worst_errors(answers)
    if not places:
        return '<p class="good">No answer is wrong.</p>'
    shown = []
    for place in places:
        text = answers.texts[place]
        said = "would be, withheld," if answers.withheld[place] else "answered"
        head = (
            f"row {place}: {said} <b>{escape(short(answers.predicted[place]))}</b> "
            f"({percent(float(answers.confidence[place]))}), is {escape(short(answers.labels[place]))}"
        )
        if scorer is None:
            shown.append(example(head, quote(text, _ERROR_CHARACTERS)))
            continue
        found = scorer.explain(text[: 2 * _ERROR_CHARACTERS])
        shown.append(
            f'<div class="example"><p class="soft">{head}</p>'
            f'<p class="words">{shaded(found, _ERROR_CHARACTERS)}</p></div>'
        )
    legend = (
        '<p class="key"><span><i style="background:rgba(37,99,235,.5)"></i>speaks for the answer</span>'
        '<span><i style="background:rgba(217,119,6,.5)"></i>against it</span></p>'
        if scorer is not None
        else ""
    )
    return legend + "".join(shown)


def _ngrams(scorer: Scorer) -> list[str]:
    found = scorer.top_features(_NGRAMS)
    if not found:
        return []
    labels = list(found)
    if len(labels) > _CLASSES_OF_NGRAMS:
        rows = [
            [escape(short(label, 40)), escape(", ".join(one.ngram for one in found[label][:8]))]
            for label in labels
        ]
        return [
            "<h2>Strongest n-grams</h2>",
            table(["class", "n-grams"], rows, texts=(1,), tall=True),
        ]
    columns = [
        "<div>"
        + table(
            [escape(short(label)), "weight"],
            [[escape(one.ngram), f"{one.weight:.3f}"] for one in found[label]],
            (1,),
        )
        + "</div>"
        for label in labels
    ]
    return ["<h2>Strongest n-grams</h2>", f'<div class="grid">{"".join(columns)}</div>']


def _about(about: Mapping[str, str]) -> str:
    return table(
        ["", ""], [[escape(name), f"<code>{escape(value)}</code>"] for name, value in about.items()]
    )
