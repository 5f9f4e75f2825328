"""Which format a file has: by its name, or by what the caller says."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from sentiment.errors import Parameter, UsageError, nearest

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
COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}


def find_format(path: str, given: str | None, *, otherwise: Format | None = None) -> Format:
    """Return the format that a file's name (less its compression) or the caller says.

    Raises
    ------
    UsageError
        Neither does.
    """
    if given is not None:
        for known in FORMATS:
            if given == known:
                return known
        raise UsageError(
            f"format {given!r} is none of {', '.join(FORMATS)}{nearest(given, FORMATS)}"
        )
    if path == "-" and otherwise is not None:
        return otherwise
    found = _named(path)
    if found is None:
        known_suffixes = ", ".join(SUFFIXES)
        raise UsageError(
            f"{path}: its name does not tell the format ({known_suffixes}); give ",
            Parameter("format"),
            " or ",
            Parameter("output_format"),
            f": {', '.join(FORMATS)}",
        )
    return found


def has_format(path: str) -> bool:
    """Tell whether a file's name says its format."""
    return _named(path) is not None


def _named(path: str) -> Format | None:
    if path.startswith(("http://", "https://")):  # what an address asks for is no name
        path = path.partition("?")[0].partition("#")[0]
    name = Path(path)
    if name.suffix.lower() in COMPRESSIONS:
        name = name.with_suffix("")
    return SUFFIXES.get(name.suffix.lower())
