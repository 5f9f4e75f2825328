"""``sentiment feedback``: what people said the right labels were."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Annotated, Any

import typer

from sentiment.cli.output_dir import OutputDir

app = typer.Typer(no_args_is_help=True, help="Use what people said the right labels were.")

_COLUMNS = ("text", "label", "predicted", "confidence", "model", "predicted_at", "answered_at")
_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")


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
    `sentiment train data=files data.train=FILE` trains on it.
    """
    from sentiment.errors import UsageError
    from sentiment.feedback import answers

    if output.suffix.lower() not in _SUFFIXES:
        raise UsageError(f"{output}: its name must end in {', '.join(_SUFFIXES)}")
    if output.exists() and not force:
        raise UsageError(f"{output}: exists; give --force to replace it")
    rows: list[dict[str, Any]] = []
    n_bare = 0
    for answer in answers(output_dir / "feedback.db"):
        if mistakes and answer.label == answer.predicted:
            continue
        if answer.text is None:
            n_bare += 1
            continue
        rows.append(
            {
                "text": answer.text,
                "label": answer.label,
                "predicted": answer.predicted,
                "confidence": round(answer.confidence, 6),
                "model": answer.digest,
                "predicted_at": _time(answer.predicted_at),
                "answered_at": _time(answer.answered_at),
            }
        )
    try:
        _write(output, rows)
    except OSError as error:
        raise UsageError(f"{output}: cannot be written ({error.strerror})") from None
    left_out = f"; {n_bare} came without their text and were left out" if n_bare else ""
    print(f"{output}: {len(rows)} labelled texts{left_out}", file=sys.stderr)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    kind = path.suffix.lower()
    if kind == ".parquet":
        import polars as pl

        pl.DataFrame(rows, schema=list(_COLUMNS)).write_parquet(path)
        return
    with path.open("w", encoding="utf-8", newline="") as file:
        if kind == ".jsonl":
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        else:
            _write_csv(file, rows, "\t" if kind == ".tsv" else ",")


def _write_csv(file: IO[str], rows: Iterable[dict[str, Any]], delimiter: str) -> None:
    writer = csv.DictWriter(file, _COLUMNS, delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
