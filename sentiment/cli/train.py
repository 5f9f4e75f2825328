"""``sentiment train``: one run, or with ``-m`` a sweep."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sentiment.cli.overrides import HYDRA_SETTINGS, LabelColumn, Overrides, TextColumn, with_file

if TYPE_CHECKING:
    from sentiment.training.run import TrainResult

HELP = """Train, evaluate, log and save one model.

\b
sentiment train                                   25,000 IMDB reviews, the default model
sentiment train experiment=quick                  a first look on 5,000 reviews
sentiment train model=logreg model.C=0.1
sentiment train reviews.csv --text review --label stars
sentiment train from=champion data.also=feedback.jsonl      its data and config, and what users corrected
sentiment train -m model.C=0.1,1                  the same as `sentiment sweep`
"""
SETTINGS = HYDRA_SETTINGS


def train(
    overrides: Overrides = None,
    text: TextColumn = None,
    label: LabelColumn = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep and take the blocks of an interrupted training.")
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    from sentiment.cli.console import emit_json
    from sentiment.registry.origin import with_origin

    words = [*(overrides or []), *(["data.resume=true"] if resume else [])]
    if "-m" in words or "--multirun" in words:
        from sentiment.cli.sweep import sweep

        sweep(words, text, label, json_=json_)
        return
    results = run(with_origin(with_file("train", words, text, label)))
    if not results:  # Hydra answered itself: --help, --cfg, --info
        return
    result = results[0]
    if json_:
        emit_json(result.to_dict())
    else:
        _tell(result)
    if result.unsent:  # it has been said; who scripts this must know that the run is not logged
        raise typer.Exit(1)


def _tell(result: TrainResult) -> None:
    """Print figures, and what can be done with the model."""
    from sentiment.cli.console import stderr
    from sentiment.cli.doctor import SLOW_STARTS
    from sentiment.installation import keeps_bytecode

    _show(result)
    # A pipeline that does not compile cannot be used by these.
    use = 'sentiment predict "text" · sentiment serve · ' if result.digest else ""
    stderr().print(
        f"run {result.run_id} · model {result.digest[:12]} in {result.model}\n"
        f"next: {use}{open_mlflow(result.output_dir)}"
    )
    if not keeps_bytecode():
        stderr().print(SLOW_STARTS)


def run(overrides: list[str]) -> list[TrainResult]:
    """Train under Hydra with progress on stderr; empty when Hydra only printed something."""
    from hydra.core.hydra_config import HydraConfig

    from sentiment.cli.console import StepMeter, stderr
    from sentiment.errors import UsageError
    from sentiment.tracking.beside import beside
    from sentiment.training.run import train as train_model
    from sentiment.training.shell import hydra_shell

    results: list[TrainResult] = []
    failures: list[BaseException] = []
    console = stderr()
    status = console.status("starting") if sys.stderr.isatty() else None

    def watch(stage: str, seconds: float | None) -> None:
        if seconds is not None:
            console.print(f"  {stage:<10} {seconds:6.1f} s")
        elif status is not None:
            status.update(stage)

    meter = StepMeter(None if status is None else status.update, console.print)
    told: dict[str, Any] = {"overrides": overrides, "watch": watch, "progress": meter}

    def task(cfg: Any) -> None:
        # Hydra would print several lines of its own about an error that left a job.
        try:
            results.append(train_model(cfg, beside=mlflow, **told))
        except UsageError as error:
            failures.append(error)
            # Nothing was run: leave no folder behind that looks as if it had been.
            shutil.rmtree(HydraConfig.get().runtime.output_dir, ignore_errors=True)
        except BaseException as error:
            failures.append(error)

    if status is not None:
        status.start()
    try:
        with beside() as mlflow:
            hydra_shell(overrides, task)
    finally:
        if status is not None:
            status.stop()
    if failures:
        raise failures[0]
    return results


def open_mlflow(output_dir: str) -> str:
    """Return the command that opens the runs in a browser."""
    from sentiment.tracking.address import shown, tracking_uri

    uri = shown(tracking_uri(Path(output_dir)))
    if uri.startswith("http"):
        return f"open {uri}"
    return f"mlflow ui --backend-store-uri {uri}"


def _show(result: TrainResult) -> None:
    from rich.table import Table

    from sentiment.cli.console import stderr, stdout
    from sentiment.evaluation.metrics import figure, of_people

    table = Table(title=f"{result.data['name']}: {result.data['rows_train']:,} training texts")
    table.add_column("metric")
    for column in ("validation", "test"):
        table.add_column(column, justify="right")
    names, note = of_people(result.metrics, rare=bool(result.data.get("unequal_classes")))
    for name in names:
        table.add_row(name, *(figure(result.metrics, split, name) for split in ("val", "test")))
    stdout().print(table)
    if note:
        stderr().print(f"{note}; --json has all")
