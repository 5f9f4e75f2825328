"""``sentiment init``: a project to start from."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sentiment.cli.console import emit_json, stderr

if TYPE_CHECKING:
    from sentiment.data.detection import Detected

HELP = """Write a starter project: a config, an experiment, and the first command that works.

\b
sentiment init                           here, on the embedded reviews
sentiment init tickets --data tickets.csv    columns and labels are found and shown
"""
_SHOWN = 10


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="Where; made if need be.")
    ] = Path(),
    data: Annotated[
        str | None, typer.Option("--data", metavar="FILE", help="Labelled rows: CSV, JSON Lines, …")
    ] = None,
    text: Annotated[str | None, typer.Option(help="Its column of texts. [default: found]")] = None,
    label: Annotated[
        str | None, typer.Option(help="Its column of labels. [default: found]")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    from sentiment.starter import start

    detected = None
    if data is not None:
        from sentiment.data.detection import detect

        detected = detect(data, text=text, label=label)
        if not json_:
            _show(data, detected)
    started = start(folder, data, detected)
    if json_:
        found = None if detected is None else asdict(detected)
        emit_json({**asdict(started), "folder": str(folder), "detected": found})
        return
    for path in started.files:
        stderr().print(f"wrote {folder / path}")
    if folder != Path():
        print(f"cd {folder}")
    for command in started.commands:
        print(command)


def _show(file: str, found: Detected) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("column", "taken as", "values", "words", "empty", "for example")
    for column in found.columns:
        role = {found.text: "texts", found.label: "labels"}.get(column.name, "")
        example = " · ".join(column.examples[: 1 if role == "texts" else 3])
        table.add_row(
            Text(column.name), Text(role, "bold"), f"{column.n_values:,}", f"{column.mean_words:.1f}",
            f"{column.n_empty:,}", Text(example[:60]),
        )  # fmt: skip
    stderr().print(f"{file}: the first {found.n_rows:,} rows")
    stderr().print(table)
    counts = [f"{label} {count:,}" for label, count in list(found.labels.items())[:_SHOWN]]
    more = f" and {len(found.labels) - _SHOWN} more" if len(found.labels) > _SHOWN else ""
    stderr().print(f"labels: {', '.join(counts)}{more}")
