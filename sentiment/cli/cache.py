"""``sentiment cache``: the features that runs share."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from sentiment.cli.output_dir import OutputDir

app = typer.Typer(
    help="See and clear the features that runs keep for each other.", no_args_is_help=True
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command("show")
def show(output_dir: OutputDir = Path("outputs"), json_: Json = False) -> None:
    """List the cached features, the most recently used first."""
    from rich.table import Table

    from sentiment.cli.console import emit_json, stdout
    from sentiment.training.cache import FeatureCache

    cache = FeatureCache(output_dir / "cache" / "features", 0)
    entries = cache.entries()
    if json_:
        emit_json(
            {
                "folder": str(cache.folder),
                "bytes": sum(entry.size for entry in entries),
                "entries": [
                    {"key": entry.key, "bytes": entry.size, "used": entry.used, **entry.about}
                    for entry in entries
                ],
            }
        )
        return
    table = Table(title=f"{cache.folder}: {sum(entry.size for entry in entries) / 1e6:,.1f} MB")
    for column in ("key", "data", "vectorizer", "MB", "used"):
        table.add_column(column, justify="right" if column == "MB" else "left")
    for entry in entries:
        made = entry.about.get("vectorizer", {})
        table.add_row(
            entry.key[:12],
            str(entry.about.get("data", "")),
            f"{made.get('class', '')} {made.get('ngram_range', '')}",
            f"{entry.size / 1e6:,.1f}",
            time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used)),
        )
    stdout().print(table)


@app.command("clear")
def clear(output_dir: OutputDir = Path("outputs"), json_: Json = False) -> None:
    """Remove all cached features; later runs make them again."""
    from sentiment.cli.console import emit_json
    from sentiment.training.cache import FeatureCache

    freed = FeatureCache(output_dir / "cache" / "features", 0).clear()
    if json_:
        emit_json({"freed_bytes": freed})
    else:
        print(f"freed {freed / 1e6:,.1f} MB")
