"""Whether an input is still what it was, and how much of an interrupted output is whole."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from sentiment.files import is_pipe
from sentiment.records import places
from sentiment.records.reader import MAX_ROW_BYTES
from sentiment.records.rows import Rows
from sentiment.records.suffixes import Format
from sentiment.records.writer import arrow_streams


def is_file(reader: Rows) -> bool:
    """Tell whether the input is one file of this machine."""
    return reader.files == [reader.path] and not places.is_remote(reader.path)


def identity(reader: Rows, size: int | None = None) -> dict[str, Any]:
    """Return the size of a file and the hash of its first so many bytes: all, when not given.

    Several files, and what lies in a store, have no size but the versions that they say they are.
    """
    source = reader.path
    if source == "-" or (is_file(reader) and is_pipe(source)):
        return {"size": None, "hash": None}
    if not is_file(reader):
        return {"size": None, "hash": hashlib.sha256(reader.identity().encode()).hexdigest()}
    digest = hashlib.blake2b(digest_size=16)
    n = Path(source).stat().st_size if size is None else size
    left = n
    with Path(source).open("rb") as file:
        while left and (piece := file.read(min(left, 1 << 20))):
            digest.update(piece)
            left -= len(piece)
    return {"size": n - left, "hash": digest.hexdigest()}


def grown_by_rows(source: str, size: int) -> bool:
    """Tell whether what follows the first ``size`` bytes begins a row, and continues none."""
    with Path(source).open("rb") as file:
        file.seek(max(size - 2, 0))
        before, after = file.read(min(size, 2)), file.read(1)
    ends = (b"\n", b"\r", b"\n\0", b"\0\n")  # two bytes in UTF-16
    return not after or not before or before.endswith(ends) or after in b"\r\n"


def complete_rows(path: Path, output_format: Format) -> int:
    """Cut a half-written row off the end of a file; return how many rows are left.

    In CSV a row ends where a line ends with an even number of quotes behind it. What becomes a
    Parquet file is cut after the last whole batch.
    """
    if output_format == "parquet":
        with path.open("rb+") as file:
            rows = sum(len(table) for table in arrow_streams(file))
            file.truncate(file.tell())
        return rows
    quoted = output_format in ("csv", "tsv")
    rows = end = place = 0
    even = True
    with path.open("rb+") as file:
        while line := file.readline(MAX_ROW_BYTES):
            place += len(line)
            if quoted and line.count(b'"') % 2:
                even = not even
            if line.endswith(b"\n") and even:
                rows += 1
                end = place
        file.truncate(end)
    if quoted and rows <= 1:  # nothing but a header: begin again
        return 0
    return rows - 1 if quoted else rows
