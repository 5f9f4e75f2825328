"""``sentiment curve``: accuracy against the number of labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sentiment.cli.overrides import HYDRA_SETTINGS, LabelColumn, Overrides, TextColumn, with_file

HELP = """Train on parts of the labels: how accuracy grows, and what more labels are likely to give.

\b
sentiment curve                                   the default model on the embedded reviews
sentiment curve reviews.csv --more 500            what 500 more labels are likely to give
sentiment curve model=logreg data.sample_size=4000 --report curve.html
"""
SETTINGS = HYDRA_SETTINGS


def curve(
    overrides: Overrides = None,
    text: TextColumn = None,
    label: LabelColumn = None,
    more: Annotated[int, typer.Option(min=1, help="Labels more than there are.")] = 1000,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="The page, else curve.html in output_dir."),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    from rich.table import Table

    from sentiment.cli.console import emit_json, stderr, stdout
    from sentiment.config import compose, to_dict
    from sentiment.files import PAGES, check_target, write_whole
    from sentiment.training.curve import curve_page, gain, learning_curve
    from sentiment.training.pipeline import build_pipeline
    from sentiment.training.run import load
    from sentiment.training.weighing import asked

    cfg = compose(with_file("curve", overrides or [], text, label))
    if report is not None:
        check_target(report, *PAGES)
    weigh = asked(to_dict(cfg)["model"], cfg.data.balance, cfg.seed)
    splits = load(cfg).splits
    console = stderr()
    found = learning_curve(
        lambda: build_pipeline(cfg),
        splits,
        more=more,
        seed=cfg.seed,
        weigh=weigh,
        watch=lambda labels, accuracy: console.print(f"  {labels:>8,} labels  {accuracy:.4f}"),
    )
    report = report or Path(cfg.output_dir) / "curve.html"
    write_whole(report, curve_page(found, splits.name))
    console.print(f"the page is {report}")
    if json_:
        emit_json(found.to_dict())
        return
    table = Table(title=f"{splits.name}: accuracy on {found.rows:,} validation rows")
    for column in ("labels", "models", "accuracy", "95 % interval"):
        table.add_column(column, justify="right")
    for point in found.points:
        table.add_row(
            f"{point.labels:,}", f"{point.models}", f"{point.accuracy:.4f}",
            f"{point.low:.4f} to {point.high:.4f}",
        )  # fmt: skip
    stdout().print(table)
    stdout().print(gain(found))
