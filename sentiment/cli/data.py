"""``sentiment data``: look at labelled text before training on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sentiment.cli.overrides import HYDRA_SETTINGS, LabelColumn, Overrides, TextColumn, with_file

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from sentiment.data.leaks import Copy
    from sentiment.data.splits import Splits
    from sentiment.training.suspects import Suspects

HELP = """Show what a training would read: rows, labels, lengths, duplicates and samples.

\b
sentiment data                                       the embedded reviews
sentiment data reviews.csv --text review             your own
sentiment data reviews.csv --labels                  labels that are probably wrong, the worst first
sentiment data reviews.csv --doubles doubles.csv     texts that are copies of one another
sentiment data reviews.csv --report data.html        all of it as a page
"""
SETTINGS = HYDRA_SETTINGS
_SHOWN = 20  # classes, suspects, pairs


def data(
    overrides: Overrides = None,
    text: TextColumn = None,
    label: LabelColumn = None,
    samples: Annotated[int, typer.Option(min=0, help="Texts to show of each label.")] = 2,
    labels: Annotated[
        bool,
        typer.Option("--labels", help="Look for labels that are probably wrong, out of fold."),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="With --labels: the ranked file, else suspects.csv in output_dir."
        ),
    ] = None,
    doubles: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Look for copies, near ones too, and list them here."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write a page about the data.")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    from sentiment.cli.console import emit_json, stderr
    from sentiment.config import compose
    from sentiment.data.description import describe
    from sentiment.data.leaks import COPY_COLUMNS, copies_between, copy_rows
    from sentiment.errors import UsageError
    from sentiment.files import PAGES, check_target, write_whole
    from sentiment.records.places import files_named
    from sentiment.records.writer import TABLES, write_table
    from sentiment.training.run import load

    if output is not None and not labels:
        raise UsageError("--output is the file of --labels: give both")
    cfg = compose(with_file("data", overrides or [], text, label))
    targets = [
        (file, kinds)
        for file, kinds in ((output, TABLES), (doubles, TABLES), (report, PAGES))
        if file is not None
    ]
    inputs = files_named(cfg.data.values()) if targets else []
    for file, kinds in targets:
        check_target(file, *kinds, inputs=inputs)
    splits = load(cfg).splits
    found = _suspects(cfg, splits) if labels else None
    copies = copies_between(splits.parts()) if doubles or report else None
    if found is not None:
        from sentiment.training.suspects import COLUMNS

        output = output or Path(cfg.output_dir) / "suspects.csv"
        output.parent.mkdir(parents=True, exist_ok=True)
        write_table(output, found.table(), COLUMNS)
        stderr().print(
            f"{len(found.suspects):,} suspected labels in {output}; look at them, delete the lines "
            f"that are right as they are, then: data.corrections={output}"
        )
    if doubles is not None and copies is not None:
        write_table(doubles, copy_rows(splits.parts(), copies), COPY_COLUMNS)
        stderr().print(f"{len(copies):,} pairs of copies in {doubles}")
    if report is not None:
        from sentiment.data.report import data_report

        suspects = found.to_dict() if found is not None else None
        write_whole(report, data_report(splits, suspects=suspects, copies=copies))
        stderr().print(f"the page is {report}")
    if json_:
        emit_json(
            {
                "name": splits.name,
                "source": splits.source,
                **describe(splits),
                "report": splits.report,
                "notes": splits.notes,
                **(found.to_dict() if found is not None else {}),
                **({"copies": copy_rows(splits.parts(), copies)} if copies is not None else {}),
            }
        )
        return
    if found is not None:
        _show_suspects(found)
        return
    _show(splits, samples)
    if copies is not None:
        _show_copies(copies)


def _suspects(cfg: DictConfig, splits: Splits) -> Suspects:
    from sentiment.config import to_dict
    from sentiment.training.pipeline import build_pipeline
    from sentiment.training.suspects import find_suspects
    from sentiment.training.weighing import asked

    weigh = asked(to_dict(cfg)["model"], cfg.data.balance, cfg.seed)
    return find_suspects(build_pipeline(cfg), splits, seed=cfg.seed, weigh=weigh)


def _show_copies(copies: list[Copy]) -> None:
    from collections import Counter

    from sentiment.cli.console import stdout

    pairs = Counter((one.part, one.other_part) for one in copies)
    for (a, b), count in pairs.items():
        where = f"within {a}" if a == b else f"in {a} and {b}"
        stdout().print(f"copies {where}: {count:,} pairs")
    if not copies:
        stdout().print("no copies")


def _show_suspects(found: Suspects) -> None:
    from rich.table import Table

    from sentiment.cli.console import stdout

    console = stdout()
    table = Table(title=f"{len(found.suspects):,} of {found.rows:,} labels are probably wrong")
    for column in ("row", "given", "suggested", "sure", "speaking for it", "text"):
        table.add_column(column, justify="right" if column in ("row", "sure") else "left")
    for one in found.suspects[:_SHOWN]:
        shown = " ".join(one.text.split())
        table.add_row(
            f"{one.row}", one.given, one.suggested, f"{one.probability_suggested:.3f}",
            ", ".join(one.ngrams[:4]), f"{shown[:60]}{'…' if len(shown) > 60 else ''}",
        )  # fmt: skip
    console.print(table)
    pairs = Table(title="suspects by pair of classes")
    for column in ("given", "suggested", "labels"):
        pairs.add_column(column, justify="right" if column == "labels" else "left")
    for given, suggested, count in found.pairs[:_SHOWN]:
        pairs.add_row(given, suggested, f"{count:,}")
    console.print(pairs)
    hard = Table(title="classes that are hardly told apart")
    for column in ("one", "the other", "confused", "of both"):
        hard.add_column(
            column, justify="left" if "o" in column[:2] and column != "of both" else "right"
        )
    for pair in found.hard:
        hard.add_row(pair.first, pair.second, f"{pair.confused:,}", f"{pair.share:.1%}")
    console.print(hard)
    for name, count in found.left_out.items():
        console.print(f"{name}: {count} rows are too few to judge")


def _show(splits: Splits, samples: int) -> None:
    from rich.table import Table

    from sentiment.cli.console import stdout
    from sentiment.data.description import describe

    described = describe(splits)
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
