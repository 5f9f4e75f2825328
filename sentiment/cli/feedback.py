"""``sentiment feedback``: what people said the right labels were."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from sentiment.cli.output_dir import OutputDir

app = typer.Typer(no_args_is_help=True, help="Use what people said the right labels were.")


@app.callback()
def root() -> None:
    """Use what people said the right labels were."""


@app.command("export")
def export(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="CSV, TSV, JSONL or Parquet.")
    ],
    mistakes: Annotated[
        bool, typer.Option("--mistakes", help="Only predictions that were wrong.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    output_dir: OutputDir = Path("outputs"),
) -> None:
    """Write the texts that were answered, with their true labels: a file to train on.

    Answers that came without the text are left out and counted.
    `sentiment train data=files data.train=FILE` trains on it. Read from feedback.db of the output
    folder, or from the PostgreSQL database that SENTIMENT_FEEDBACK_URL names.
    """
    from sentiment.errors import UsageError
    from sentiment.feedback import COLUMNS, labelled_rows, place_of
    from sentiment.files import check_target
    from sentiment.records.writer import TABLES, write_table

    check_target(output, *TABLES)
    if output.exists() and not force:
        raise UsageError(f"{output}: exists; give --force to replace it")
    rows, n_bare = labelled_rows(place_of(output_dir), mistakes=mistakes)
    try:
        write_table(output, rows, COLUMNS)
    except OSError as error:
        raise UsageError(f"{output}: cannot be written ({error.strerror})") from None
    left_out = f"; {n_bare} came without their text and were left out" if n_bare else ""
    print(f"{output}: {len(rows)} labelled texts{left_out}", file=sys.stderr)
