"""``sentiment sweep``: many runs, one answer."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sentiment.cli.overrides import HYDRA_SETTINGS, LabelColumn, Overrides, TextColumn, with_file
from sentiment.sweep.status import JobState, SweepState

if TYPE_CHECKING:
    from rich.table import Table

    from sentiment.sweep.board import Board, Entry

HELP = """Train with several configs, rank them and name the best.

\b
sentiment sweep model.C=0.1,1,10 vectorizer.max_features=5000,null
sentiment sweep model=nbsvm,logreg 'vectorizer.ngram_range=[1,1],[1,2]' --jobs 2
sentiment sweep tickets.csv --text body --label kind model.C=0.1,1
sentiment sweep 'model.C=range(1,5)' --resume           skips what is done
sentiment sweep model.C=0.1,1 model.alpha=0.5,1 --method paired
sentiment sweep search=optuna --time-budget 10m         needs the extra 'optuna'
sentiment sweep 'model.C=tag(log, interval(0.01, 10))' --method optuna --trials 30
sentiment sweep model.C=0.1,1 hydra/launcher=submitit_slurm

Values are chosen by the validation split, never by the test split. Every option is a key too
(--jobs 4 is sweep.jobs=4), so that it can stand in a file of configs/search.
"""
SETTINGS = HYDRA_SETTINGS

_SHOWN = 30  # rows of the live table
_STYLES = {
    JobState.FINISHED: "green", JobState.REUSED: "cyan", JobState.RUNNING: "yellow", JobState.FAILED: "red",
    JobState.KILLED: "red",
}  # fmt: skip


def sweep(
    overrides: Overrides = None,
    text: TextColumn = None,
    label: LabelColumn = None,
    method: Annotated[str | None, typer.Option(help="grid, paired or optuna.")] = None,
    objective: Annotated[str | None, typer.Option(help="Validation metric that ranks.")] = None,
    direction: Annotated[str | None, typer.Option(help="maximize or minimize.")] = None,
    jobs: Annotated[int | None, typer.Option(help="Processes at once; -1: all cores.")] = None,
    trials: Annotated[int | None, typer.Option(help="At most so many jobs.")] = None,
    time_budget: Annotated[
        str | None, typer.Option(help="Start no job after that: 90s, 10m, 1h30m.")
    ] = None,
    on_error: Annotated[str | None, typer.Option(help="continue or stop.")] = None,
    retries: Annotated[int | None, typer.Option(help="Try a failed job again.")] = None,
    keep_models: Annotated[str | None, typer.Option(help="best or all, on disk.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Skip jobs that an earlier run has finished.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the jobs and stop.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    from sentiment.registry.origin import with_origin

    options = {
        "method": method, "objective": objective, "direction": direction, "jobs": jobs,
        "trials": trials, "time_budget": time_budget, "on_error": on_error, "retries": retries,
        "keep_models": keep_models, "resume": resume or None, "dry_run": dry_run or None,
    }  # fmt: skip
    words = with_origin(with_file("sweep", overrides or [], text, label))
    words += [
        f"sweep.{key}={str(value).lower() if isinstance(value, bool) else value}"
        for key, value in options.items()
        if value is not None
    ]
    run(words, json_=json_)


def run(words: list[str], *, json_: bool = False) -> None:
    """Sweep with these words for Hydra, and print the answer.

    Raises
    ------
    typer.Exit
        1 when a job failed, 130 or 143 when a signal ended the sweep.
    """
    from sentiment.cli.console import emit_json, stderr
    from sentiment.errors import UsageError
    from sentiment.sweep.sweeper import Task
    from sentiment.training.shell import hydra_shell

    if "-m" not in words and "--multirun" not in words:
        words = ["-m", *words]
    foreign = [word for word in words if word.startswith("hydra/sweeper=")]
    if foreign and not foreign[-1].endswith("=sentiment"):
        if any(word.startswith("sweep.") for word in words):
            raise UsageError(
                f"{foreign[-1]}: what sweeps then is Hydra's own, which knows no option of ours: "
                "leave out one of the two"
            )
        stderr().print(
            f"{foreign[-1]}: it runs the jobs by itself; there is no table and no summary"
        )
    task = Task(_show)
    hydra_shell(words, task)
    summary = task.summary
    if summary is None:  # Hydra answered itself (--help, --cfg), or another sweeper ran
        return
    if json_:
        emit_json(summary)
    else:
        _print(summary)
    for message, count in summary.get("warnings", {}).items():
        stderr().print(f"note ({count} jobs): {message}")
    code = {SweepState.INTERRUPTED: 130, SweepState.TERMINATED: 143}.get(summary["state"], 0)
    bad = [job for job in summary["jobs"] if job["state"] == JobState.FAILED]
    if code or bad:
        raise typer.Exit(code or 1)


@contextmanager
def _show(board: Board) -> Iterator[None]:
    """Show the board while jobs run: a live table on a terminal, a line per event elsewhere."""
    from rich.live import Live

    from sentiment.cli.console import stderr
    from sentiment.progress import repeating

    console = stderr()
    if sys.stderr.isatty():

        def table() -> Table:
            board.refresh()
            return _live_table(board, console.height)

        with Live(get_renderable=table, console=console, refresh_per_second=4, transient=True):
            yield
        return
    seen: dict[int, str] = {}

    def tell() -> None:
        board.refresh()
        for entry in list(board.entries):
            state = entry.status.state
            if seen.get(entry.job) != state and state != JobState.WAITING:
                seen[entry.job] = state
                console.print(_line(board, entry))

    try:
        with repeating(tell, 0.2):
            yield
    finally:
        tell()


def _line(board: Board, entry: Entry) -> str:
    status = entry.status
    line = f"  [{entry.job + 1}/{board.total}] {_overrides(entry)}: {status.state}"
    if status.objective is not None:
        line += f", {board.objective} {status.objective:.4f}"
    if status.seconds is not None:
        line += f", {status.seconds:.1f} s"
    if status.error:
        line += f" ({status.error})"
    return line


def _overrides(entry: Entry) -> str:
    words = [f"{key}={_shown(word)}" for key, word in entry.assignment]
    return " ".join(words) or "the config as it is"


def _shown(word: str) -> str:
    """Return a value as people read it: Optuna's have seventeen digits."""
    try:
        return f"{float(word):.4g}" if "." in word and len(word) > 8 else word
    except ValueError:
        return word


def _live_table(board: Board, height: int) -> Table:
    import time

    from rich.table import Table

    from sentiment.cli.console import short_name

    counts = board.counts()
    done = sum(
        counts[state]
        for state in (JobState.FINISHED, JobState.REUSED, JobState.FAILED, JobState.KILLED)
    )
    best = board.best()
    title = f"{done} of {board.total} jobs, {time.time() - board.begun:.0f} s"
    if counts[JobState.FAILED]:
        title += f", {counts['failed']} failed"
    if best:
        title += f", best {board.objective} {best.status.objective:.4f}"
    table = Table(title=title)
    table.add_column("job", justify="right")
    for key in board.keys:
        table.add_column(short_name(key, board.keys))
    for column in (board.objective, "seconds"):
        table.add_column(column, justify="right")
    table.add_column("state")
    room = max(5, min(_SHOWN, height - 6))
    entries = board.entries
    if len(entries) > room:
        # What runs and what ended last says most.
        last = max(
            (i for i, e in enumerate(entries) if e.status.state != JobState.WAITING), default=0
        )
        begin = max(0, min(last + 3 - room, len(entries) - room))
        entries = entries[begin : begin + room]
    for entry in entries:
        status = entry.status
        seconds = status.seconds
        if status.state == JobState.RUNNING and status.started is not None:
            seconds = time.time() - status.started
        stage = f" ({status.stage})" if status.stage else ""
        table.add_row(
            str(entry.job + 1),
            *(_shown(word) for _, word in entry.assignment),
            "" if status.objective is None else f"{status.objective:.4f}",
            "" if seconds is None else f"{seconds:.1f}",
            f"{status.state}{stage}",
            style="bold" if entry is best else _STYLES.get(status.state),
        )
    return table


def _print(summary: dict[str, Any]) -> None:
    from sentiment.cli.console import stdout

    if summary["state"] == SweepState.PLANNED:
        for job in summary["jobs"]:
            print(f"{job['job'] + 1:>4}  {' '.join(job['overrides'])}")
        if summary["method"] == "optuna":
            for word in summary["space"]:
                print(f"      {word}")
        return
    if summary["ranking"]:
        stdout().print(_ranking_table(summary))
    _print_notes(summary)
    if summary["best"]:
        print(f"train the best again: {summary['train']}")
    if summary["register"]:
        print(f"use the best: {summary['predict']}")
        print(f"register the best: {summary['register']}")


def _ranking_table(summary: dict[str, Any]) -> Table:
    from rich.table import Table

    from sentiment.cli.console import short_name

    jobs, ranking = summary["jobs"], summary["ranking"]
    objective = summary["objective"]
    keys = tuple(word.split("=")[0] for word in summary["space"])
    table = Table(title=f"{len(ranking)} of {len(jobs)} jobs by {objective}")
    for column in (
        *("rank", "job"),
        *(short_name(key, keys) for key in keys),
        *(objective, "seconds", "run"),
    ):
        table.add_column(column, justify="left" if column == "run" else "right")
    for rank, job in enumerate((jobs[number] for number in ranking), start=1):
        table.add_row(
            f"{rank}{' *' if rank == 1 else ''}",
            str(job["job"] + 1),
            *(_shown(word.partition("=")[2]) for word in job["overrides"]),
            f"{job['objective']:.4f}",
            "" if job["seconds"] is None else f"{job['seconds']:.1f}",
            str(job["run_id"])[:8] + (" reused" if job["state"] == JobState.REUSED else ""),
            style="bold" if rank == 1 else None,
        )
    return table


def _print_notes(summary: dict[str, Any]) -> None:
    """Say what failed, how it ended and how to go on."""
    from sentiment.cli.console import stderr

    notes = stderr()
    for job in summary["jobs"]:
        if job["state"] == JobState.FAILED:
            words = " ".join(job["overrides"])
            notes.print(f"failed: job {job['job'] + 1} {words}: {job['error']}")
            if job["log"]:
                notes.print(f"        {job['log']}")
    counts = summary["counts"]
    shown = ", ".join(f"{count} {state}" for state, count in counts.items())
    notes.print(f"{summary['state']} after {summary['seconds']:.1f} s: {shown}")
    notes.print(f"sweep run {summary['sweep_run']} in {summary['folder']}")
    if summary["state"] != SweepState.FINISHED or JobState.NOT_STARTED in counts:
        spent = (
            summary["state"] == SweepState.FINISHED
            and summary["time_budget"]
            and JobState.FAILED not in counts
        )
        why = f"the time budget of {summary['time_budget']} is used up; " if spent else ""
        notes.print(f"{why}go on with the rest: the same command with --resume")
