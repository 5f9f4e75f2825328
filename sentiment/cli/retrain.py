"""``sentiment retrain``: the loop in one step, for a schedule."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from sentiment.cli.output_dir import OutputDir
from sentiment.cli.overrides import HYDRA_SETTINGS, LabelColumn, Overrides, TextColumn, with_file
from sentiment.cli.register import Gate, Json, Name

HELP = """Train on the data and on what users corrected, register, and promote through the gate.

\b
sentiment retrain data=files data.train=/data/input/reviews.csv
sentiment retrain tickets.csv --text body --label kind
sentiment retrain model=logreg --gate strict gate.min.test_accuracy=0.9

When neither data, config nor code are new since a model that was champion, nothing is done and the exit
code is 0; it is 1 when the gate refuses. SENTIMENT_TRAIN_ARGS holds words that stand before the given ones,
SENTIMENT_PUSHGATEWAY_URL a Pushgateway that is told how it ended.
"""
SETTINGS = HYDRA_SETTINGS


def retrain(
    context: typer.Context,
    overrides: Overrides = None,
    text: TextColumn = None,
    label: LabelColumn = None,
    name: Name = "sentiment",
    gate: Gate = "default",
    json_: Json = False,
    output_dir: OutputDir = Path("outputs"),
) -> None:
    from sentiment.cli.console import emit_json, stderr
    from sentiment.errors import UsageError
    from sentiment.retraining import Outcome
    from sentiment.retraining import retrain as run

    words = with_file("retrain", overrides or [], text, label)
    places = [word for word in words if word.startswith("output_dir=")]
    source = context.get_parameter_source("output_dir")
    if source is not None and source.name == "COMMANDLINE":
        if places:
            raise UsageError(
                f"--output-dir {output_dir} and {places[-1]} are for the same: give one of them"
            )
        words.append(f"output_dir={output_dir}")  # after what SENTIMENT_TRAIN_ARGS may say
    console = stderr()

    def watch(stage: str, seconds: float | None) -> None:
        if seconds is not None:
            console.print(f"  {stage:<10} {seconds:6.1f} s")

    found = run(words, output_dir=output_dir, name=name, gate=gate, watch=watch)
    if json_:
        emit_json(found.to_dict())
    else:
        print(f"{found.outcome.replace('_', ' ')}: {found.detail}")
        print(f"corrections: {found.corrections}", file=sys.stderr)
    if found.outcome == Outcome.REFUSED:
        raise typer.Exit(1)
