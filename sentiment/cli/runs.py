"""``sentiment runs``: what MLflow could not be told."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from sentiment.cli.output_dir import OutputDir

app = typer.Typer(no_args_is_help=True, help="Log the runs that wait for an MLflow that was away.")


@app.callback()
def root() -> None:
    """Log the runs that wait for an MLflow that was away."""


@app.command("resend")
def resend(
    output_dir: OutputDir = Path("outputs"),
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Log what a training or a sweep could not log because MLflow went away.

    Models, figures and artifacts wait in the output folder (unsent/RUN_ID) and are sent to where the
    run was begun. It may be called again and again: what is logged is gone from there.
    """
    from dataclasses import asdict

    from sentiment.cli.console import emit_json
    from sentiment.tracking.resend import resend as send_again

    sent = []
    try:
        for run in send_again(output_dir):
            sent.append(run)
            if not json_:
                print(f"{run.run_id}: logged, {run.status}")
    finally:
        if json_:
            emit_json({"sent": [asdict(run) for run in sent]})
    if not sent:
        print("no run waits", file=sys.stderr)
