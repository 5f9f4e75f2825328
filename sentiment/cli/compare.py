"""``sentiment compare``: runs side by side."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sentiment.cli.output_dir import OutputDir

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from sentiment.tracking.compare import Compared, Comparison

HELP = """Compare runs: parameters that differ, metrics, and a paired test on the same test rows.

\b
sentiment compare                            the newest runs
sentiment compare --sort val_f1_score        the best first
sentiment compare 3f2a 91bc                  these two, by the beginning of their ids
sentiment compare 3f2a 91bc --report d.html  and the rows where they differ, by slice
sentiment compare SWEEP_RUN --sort val_f1_score
"""

_CLASSES = ("model._target_", "vectorizer._target_")
# Characters of a narrow table's columns, with their borders.
_NAMES_WIDTH = 28
_RUN_WIDTH = 14
_METRICS = ("val_f1_score", "val_accuracy", "test_accuracy", "test_f1_score", "test_ece")


def compare(
    runs: Annotated[list[str] | None, typer.Argument(metavar="[RUN]...")] = None,
    sort: Annotated[str, typer.Option(help="newest, or a metric: the best first.")] = "newest",
    limit: Annotated[int, typer.Option(min=2, help="Runs at most when none are named.")] = 10,
    experiment: Annotated[
        str, typer.Option(help="The MLflow experiment, if none are named.")
    ] = "sentiment",
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html", help="Write the rows where the first two differ, a page."
        ),
    ] = None,
    output_dir: OutputDir = Path("outputs"),
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    from sentiment.cli.console import emit_json, stdout
    from sentiment.files import PAGES, check_target, write_whole
    from sentiment.tracking.compare import compare_runs

    if report is not None:
        check_target(report, *PAGES)
    found = compare_runs(
        runs or [], output_dir=output_dir, experiment=experiment, sort=sort, limit=limit
    )
    if report is not None:
        from sentiment.cli.console import stderr
        from sentiment.tracking.difference import compared_page

        write_whole(report, compared_page(found.runs, output_dir=output_dir))
        stderr().print(f"the page is {report}")
    if json_:
        emit_json(found.to_dict())
        return
    shown = [name for name in _METRICS if name in found.metrics]
    if sort != "newest" and sort not in shown:
        shown.insert(0, sort)
    console = stdout()
    if not console.is_terminal:
        console.width = 10_000  # nothing is cut for a file or another program
    title = f"{len(found.runs)} runs, {sort} first"
    # As much as fits: a cut number is none.
    for intervals in (True, False):
        table = _table(found, shown, title, intervals=intervals)
        if not _too_wide(console, table):
            console.print(table)
            return
    at_once = max(1, (console.width - _NAMES_WIDTH) // _RUN_WIDTH)
    for begin in range(0, len(found.runs), at_once):
        console.print(_upright(found, shown, title, slice(begin, begin + at_once)))


def _too_wide(console: Console, table: Table) -> bool:
    limits = console.options.update(width=10_000)
    return console.measure(table, options=limits).maximum > console.width


def _table(found: Comparison, metrics: list[str], title: str, *, intervals: bool) -> Table:
    """Return a row per run."""
    from rich.table import Table

    table = Table(title=title)
    names = _short_names(list(found.runs[0].params))
    for name in ("run", "when", *names.values()):
        table.add_column(name)
    for name in (*map(_metric, metrics), "test accuracy against the first"):
        table.add_column(name, justify="right")
    for run in found.runs:
        table.add_row(
            run.run_id[:8],
            _when(run),
            *(_parameter(run, key) for key in names),
            *(_figure(run, name, intervals=intervals) for name in metrics),
            _difference(run),
        )
    return table


def _upright(found: Comparison, metrics: list[str], title: str, part: slice) -> Table:
    """Return a column per run, for narrow terminals."""
    from rich.table import Table

    runs = found.runs[part]
    table = Table(title=title)
    table.add_column("run", overflow="fold", max_width=_NAMES_WIDTH - 4)
    for run in runs:
        table.add_column(run.run_id[:8], overflow="fold", min_width=8)
    table.add_row("when", *map(_when, runs))
    for key, name in _short_names(list(found.runs[0].params)).items():
        table.add_row(name, *(_parameter(run, key) for run in runs))
    for name in metrics:
        table.add_row(_metric(name), *(_figure(run, name, intervals=False) for run in runs))
    table.add_row("test accuracy - first", *(_difference(run).split(" [")[0] for run in runs))
    table.add_row(
        "p of the difference", *(f"{t.p_value:.2g}" if (t := run.test) else "" for run in runs)
    )
    return table


def _when(run: Compared) -> str:
    return time.strftime("%m-%d %H:%M", time.localtime(run.started))


def _metric(name: str) -> str:
    return name.removesuffix("_score")


def _parameter(run: Compared, key: str) -> str:
    value = run.params[key]
    return value.rsplit(".", 1)[-1] if key in _CLASSES else value


def _short_names(keys: list[str]) -> dict[str, str]:
    """Return the last part of each dotted key, or all of it where that is not enough."""
    from sentiment.cli.console import short_name

    names = {key: short_name(key, keys) for key in keys}
    return {
        key: key.split(".")[0] if key in _CLASSES else key if name.isdigit() else name
        for key, name in names.items()
    }


def _figure(run: Compared, name: str, *, intervals: bool) -> str:
    value = run.metrics.get(name)
    if value is None:
        return "-"
    low, high = run.metrics.get(f"{name}_low"), run.metrics.get(f"{name}_high")
    known = intervals and low is not None and high is not None
    interval = f" [{low:.4f}, {high:.4f}]" if known else ""
    return f"{value:.4f}{interval}"


def _difference(run: Compared) -> str:
    if run.test is None:
        return run.why_no_test or ""
    test = run.test
    return f"{test.difference:+.4f} [{test.low:+.4f}, {test.high:+.4f}], p = {test.p_value:.2g}"
