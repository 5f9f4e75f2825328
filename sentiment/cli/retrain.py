"""``sentiment retrain``: the loop in one step, for a schedule."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from sentiment.cli.output_dir import OutputDir
from sentiment.cli.overrides import HYDRA_SETTINGS, Overrides
from sentiment.cli.register import Json, Name

HELP = """Train on the data and on what users corrected, register, and promote through the gate.

\b
sentiment retrain data=files data.train=/data/input/reviews.csv
sentiment retrain model=logreg --gate strict

When neither data, config nor code are new, nothing is done and the exit code is 0; it is 1 when the
gate refuses. SENTIMENT_TRAIN_ARGS holds words that stand before the given ones,
SENTIMENT_PUSHGATEWAY_URL a Pushgateway that is told how it ended.
"""
SETTINGS = HYDRA_SETTINGS


def retrain(
    overrides: Overrides = None,
    name: Name = "sentiment",
    gate: Annotated[str, typer.Option(help="A file of configs/gate: default, strict, none.")] = (
        "default"
    ),
    json_: Json = False,
    output_dir: OutputDir = Path("outputs"),
) -> None:
    from sentiment.cli.console import emit_json, stderr
    from sentiment.registry.gate import load_rules
    from sentiment.registry.promotion import Promotion
    from sentiment.retraining import Outcome
    from sentiment.retraining import retrain as run

    console = stderr()

    def watch(stage: str, seconds: float | None) -> None:
        if seconds is not None:
            console.print(f"  {stage:<10} {seconds:6.1f} s")

    found = run(
        overrides or [],
        output_dir=output_dir,
        name=name,
        promotion=Promotion(load_rules(gate, []), gate),
        watch=watch,
    )
    if json_:
        emit_json(found.to_dict())
    else:
        print(f"{found.outcome.replace('_', ' ')}: {found.detail}")
        print(f"corrections: {found.corrections}", file=sys.stderr)
    if found.outcome == Outcome.REFUSED:
        raise typer.Exit(1)
