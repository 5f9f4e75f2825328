"""``sentiment data``: look at labelled text before training on it."""

from __future__ import annotations

from typing import Annotated

import typer

from sentiment.cli.overrides import HYDRA_SETTINGS, LabelColumn, Overrides, TextColumn, with_file

HELP = """Show what a training would read: rows, labels, lengths, duplicates and samples.

\b
sentiment data                                       the embedded reviews
sentiment data reviews.csv --text review             your own
"""
SETTINGS = HYDRA_SETTINGS
_SHOWN = 20  # classes


def data(
    overrides: Overrides = None,
    text: TextColumn = None,
    label: LabelColumn = None,
    samples: Annotated[int, typer.Option(min=0, help="Texts to show of each label.")] = 2,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    from rich.table import Table

    from sentiment.cli.console import emit_json, stdout
    from sentiment.config import compose
    from sentiment.data.description import describe
    from sentiment.training.run import load

    splits = load(compose(with_file("data", overrides or [], text, label))).splits
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
    rows = described["train"]["labels"] if "train" in described else {}
    classes = sorted(splits.classes, key=lambda name: -rows.get(name, 0))[:_SHOWN]
    classes = [name for name in splits.classes if name in set(classes)]
    for name in classes:
        table.add_row(name, *(f"{part['labels'].get(name, 0):,}" for part in described.values()))
    for key in ("median_characters", "longest_characters"):
        table.add_row(key.replace("_", " "), *(f"{part[key]:,}" for part in described.values()))
    console = stdout()
    console.print(table)
    if len(classes) < len(splits.classes):
        left_out = len(splits.classes) - len(classes)
        console.print(f"{left_out:,} smaller classes are left out here; --json has them all")
    for key, count in splits.report.items():
        if count and not key.startswith("rows_"):
            console.print(f"{key.replace('_', ' ')}: {count:,}")
    for key, found in splits.notes.items():
        console.print(f"{key}: {found!r} was found (data.{key} says otherwise)")
    for name in classes:
        texts = (
            one
            for one, own in zip(splits.train.texts, splits.train.labels, strict=True)
            if own == name
        )
        for _, one in zip(range(samples), texts, strict=False):
            shown = " ".join(one.split())
            console.print(f"{name}: {shown[:160]}{'…' if len(shown) > 160 else ''}")
