"""``sentiment data``: look at labelled text before training on it."""

from __future__ import annotations

from typing import Annotated

import typer

from sentiment.cli.overrides import HYDRA_SETTINGS, Overrides

HELP = """Show what a training would read: rows, labels, lengths, duplicates and samples.

\b
sentiment data                                       the embedded reviews
sentiment data data=files data.train=reviews.csv     your own
"""
SETTINGS = HYDRA_SETTINGS


def data(
    overrides: Overrides = None,
    samples: Annotated[int, typer.Option(min=0, help="Texts to show of each label.")] = 2,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    from rich.table import Table

    from sentiment.cli.console import emit_json, stdout
    from sentiment.config import compose
    from sentiment.data.description import describe
    from sentiment.training.run import load

    splits = load(compose(overrides or [])).splits
    described = describe(splits)
    if json_:
        emit_json(
            {
                "name": splits.name,
                "source": splits.source,
                **described,
                "report": splits.report,
                "notes": splits.notes,
            }
        )
        return
    table = Table(title=f"{splits.name} ({splits.source})")
    for column in ("", *described):
        table.add_column(column, justify="right" if column else "left")
    table.add_row("rows", *(f"{part['rows']:,}" for part in described.values()))
    for label in splits.classes:
        table.add_row(label, *(f"{part['labels'].get(label, 0):,}" for part in described.values()))
    for key in ("median_characters", "longest_characters"):
        table.add_row(key.replace("_", " "), *(f"{part[key]:,}" for part in described.values()))
    console = stdout()
    console.print(table)
    for key, count in splits.report.items():
        if count and not key.startswith("rows_"):
            console.print(f"{key.replace('_', ' ')}: {count:,}")
    for key, found in splits.notes.items():
        console.print(f"{key}: {found!r} was found (data.{key} says otherwise)")
    for label in splits.classes:
        texts = (
            text
            for text, own in zip(splits.train.texts, splits.train.labels, strict=True)
            if own == label
        )
        for _, text in zip(range(samples), texts, strict=False):
            shown = " ".join(text.split())
            console.print(f"{label}: {shown[:160]}{'…' if len(shown) > 160 else ''}")
