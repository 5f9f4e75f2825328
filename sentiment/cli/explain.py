"""``sentiment explain``: why a text gets its label, and what speaks for each label."""

from __future__ import annotations

import itertools
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sentiment.cli.console import emit_json, stdout
from sentiment.cli.output_dir import OutputDir
from sentiment.cli.predict import Model, load
from sentiment.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from sentiment.records.answers import Note
    from sentiment.scorer import Scorer
    from sentiment.scorer.explanation import Explanation

_STRONG = 0.5  # a word with half of the strongest word's weight is drawn bold


def explain(
    text: Annotated[
        str | None, typer.Argument(help="Text to explain; without it, each label's features.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="N-grams shown, the strongest first.")] = 20,
    model: Model = None,
    output_dir: OutputDir = Path("outputs"),
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Show what each n-gram of a text adds to the score.

    The contributions and the intercept add up to the score; the probability is its sigmoid (or
    the softmax of the scores). Without a text: the strongest features of each label.
    """
    scorer = load(model, output_dir)
    if text is None:
        _show_features(scorer, top, json=json)
        return
    from sentiment.answering import explanation_document, note_of_explained

    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    found = scorer.explain(text, None if json else top)
    if json:
        emit_json(explanation_document(scorer, found, "label"))
    else:
        _show(text, found, note_of_explained(scorer, found))


def _show(text: str, found: Explanation, note: Note | None) -> None:
    print(found.label, f"{found.probabilities[found.label]:.4f}", *filter(None, [note]), sep="\t")
    if found.label in found.score_labels:
        number, towards = found.score_labels.index(found.label), found.label
    else:
        number, towards = 0, found.score_labels[0]
    if not sys.stdout.isatty():
        # The same table as lines that other programs can cut.
        for item in found.contributions:
            print(f"{item.scores[number]:+.4f}\t{item.count}\t{item.ngram}")
        print(f"{found.rest[number]:+.4f}\t\t(other n-grams)")
        print(f"{found.intercept[number]:+.4f}\t\t(intercept)")
        print(f"{found.scores[number]:+.4f}\t\t(score of {towards})")
        return
    console = stdout()
    console.print(_coloured(text, found, number))
    console.print(_table(found, number, towards))


def _coloured(text: str, found: Explanation, number: int) -> Text:
    """Colour each character by the sum of the n-grams that it belongs to."""
    from rich.text import Text

    weights = [0.0] * len(text)
    for item in found.contributions:
        for start, end in item.spans:
            share = item.scores[number] / max(item.count, 1) / max(end - start, 1)
            for place in range(start, min(end, len(text))):
                weights[place] += share
    strongest = max(map(abs, weights), default=0.0) or 1.0

    def style(place: int) -> str:
        weight = weights[place]
        colour = "" if weight == 0 else "green" if weight > 0 else "red"
        return f"bold {colour}" if abs(weight) >= _STRONG * strongest else colour

    shown = Text()
    for one, places in itertools.groupby(range(len(text)), style):
        shown.append("".join(text[place] for place in places), one)
    return shown


def _table(found: Explanation, number: int, towards: str) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table("n-gram", "count", f"towards {towards}")
    for item in found.contributions:
        weight = item.scores[number]
        shown = Text(f"{weight:+.4f}", "green" if weight > 0 else "red")
        table.add_row(Text(item.ngram), str(item.count), shown)
    table.add_row("other n-grams", "", f"{found.rest[number]:+.4f}")
    table.add_row("intercept", "", f"{found.intercept[number]:+.4f}")
    table.add_row("score", "", f"{found.scores[number]:+.4f}")
    return table


def _show_features(scorer: Scorer, top: int, *, json: bool) -> None:
    if not scorer.compiled:
        raise UsageError(
            "this model does not compile and has no weights to show: give a text to explain"
        )
    features = scorer.top_features(top)
    if json:
        emit_json({label: [asdict(item) for item in items] for label, items in features.items()})
        return
    if not sys.stdout.isatty():
        for label, items in features.items():
            for item in items:
                print(f"{label}\t{item.weight:.4f}\t{item.ngram}")
        return
    from rich.table import Table
    from rich.text import Text

    for label, items in features.items():
        table = Table(label, "weight")
        for item in items:
            table.add_row(Text(item.ngram), f"{item.weight:.4f}")
        stdout().print(table)
