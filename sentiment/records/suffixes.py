"""Ends of file names: the formats and compressions that they say."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

Format = Literal["csv", "tsv", "jsonl", "parquet", "lines"]
FORMATS: tuple[Format, ...] = ("csv", "tsv", "jsonl", "parquet", "lines")
SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".txt": "lines",
    ".text": "lines",
    ".lines": "lines",
}
"""Ends of the names of files that are read, and how."""
COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".xz": "xz", ".zip": "zip"}
READ_ALONE = ("xz", "zip")
"""Compressions that are read and not written."""


def suffix_format(path: str) -> Format | None:
    """Return the format that the end of a name says, less a compression."""
    name = Path(path)
    if name.suffix.lower() in COMPRESSIONS:
        name = name.with_suffix("")
    return SUFFIXES.get(name.suffix.lower())
