"""``sentiment compare``: runs side by side."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sentiment.cli.output_dir import OutputDir

if TYPE_CHECKING:
    from sentiment.compare import Compared

HELP = """Compare runs: parameters that differ, metrics, and a paired test on the same test rows.

\b
sentiment compare                            the newest runs
sentiment compare --sort val_f1_score        the best first
sentiment compare 3f2a 91bc                  these two, by the beginning of their ids
sentiment compare SWEEP_RUN --sort val_f1_score
"""

_METRICS = ("val_f1_score", "val_accuracy", "test_accuracy", "test_f1_score", "test_ece")


def compare(
    runs: Annotated[list[str] | None, typer.Argument(metavar="[RUN]...")] = None,
    sort: Annotated[str, typer.Option(help="newest, or a metric: the best first.")] = "newest",
    limit: Annotated[int, typer.Option(min=2, help="Runs at most when none are named.")] = 10,
    experiment: Annotated[str, typer.Option(help="The MLflow experiment.")] = "sentiment",
    output_dir: OutputDir = Path("outputs"),
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    from rich.table import Table

    from sentiment.cli.console import emit_json, stdout
    from sentiment.compare import compare as compare_runs

    found = compare_runs(
        runs or [], output_dir=output_dir, experiment=experiment, sort=sort, limit=limit
    )
    if json_:
        emit_json(found.to_dict())
        return
    shown = [name for name in _METRICS if name in found.metrics]
    if sort != "newest" and sort not in shown:
        shown.insert(0, sort)
    table = Table(title=f"{len(found.runs)} runs, {sort} first")
    table.add_column("run")
    table.add_column("when")
    for key in found.runs[0].params:
        table.add_column(key)
    for name in shown:
        table.add_column(name, justify="right")
    table.add_column("test accuracy against the first", justify="right")
    for run in found.runs:
        table.add_row(
            run.run_id[:8],
            time.strftime("%m-%d %H:%M", time.localtime(run.started)),
            *run.params.values(),
            *(_figure(run, name) for name in shown),
            _difference(run),
        )
    stdout().print(table)


def _figure(run: Compared, name: str) -> str:
    value = run.metrics.get(name)
    if value is None:
        return "-"
    low, high = run.metrics.get(f"{name}_low"), run.metrics.get(f"{name}_high")
    interval = f" [{low:.4f}, {high:.4f}]" if low is not None and high is not None else ""
    return f"{value:.4f}{interval}"


def _difference(run: Compared) -> str:
    if run.test is None:
        return run.why_no_test or ""
    test = run.test
    return f"{test.difference:+.4f} [{test.low:+.4f}, {test.high:+.4f}], p = {test.p_value:.2g}"
