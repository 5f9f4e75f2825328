"""A stream whose beginning can be looked at, and that gives what is there without waiting for more."""

from __future__ import annotations

import codecs
import io
from typing import IO, Any

HEAD_BYTES = 1 << 16
"""So much is looked at."""


_FOREIGN: tuple[tuple[bytes | tuple[bytes, ...], str], ...] = (
    (b"version https://git-lfs", "a pointer of Git LFS, not the file: `git lfs pull` fetches it"),
    (b"<!doctype html", "a page of HTML, not data: fetch the file itself"),
    (b"<html", "a page of HTML, not data: fetch the file itself"),
    (b"pk\x03\x04", "an archive or a spreadsheet: save it as CSV"),
    (b"par1", "Parquet: its name must end with .parquet"),
    (b"\x1f\x8b", "packed by gzip: its name must end with .gz behind the format, such as .csv.gz"),
    (
        tuple(b"bzh%d1ay&sy" % level for level in range(1, 10)),
        "packed by bzip2: its name must end with .bz2 behind the format",
    ),
    (b"\xfd7zxz", "packed by xz: its name must end with .xz behind the format"),
    (b"\x28\xb5\x2f\xfd", "packed by Zstandard: its name must end with .zst behind the format"),
    (b"\xd0\xcf\x11\xe0", "an old spreadsheet or document: save it as CSV"),
    (b"arrow1", "Arrow's format: write Parquet"),
    (b"sqlite format 3", "a database: write the rows of a query as CSV"),
    (b"%pdf-", "a document, not data"),
)


def foreign(head: bytes, *, table: bool) -> str | None:
    """Tell what the beginning of a file is, where it is no rows of text and what to do is known.

    Parameters
    ----------
    head : bytes
    table : bool
        Whether lines of cells are expected, not JSON.
    """
    begin = head.removeprefix(codecs.BOM_UTF8).lstrip()[:40].lower()
    if table and begin.startswith(b'{"'):
        return "JSON, not a table: its name must end with .jsonl"
    return next((told for mark, told in _FOREIGN if begin.startswith(mark)), None)


class Peekable(io.BufferedReader):
    """A stream whose first bytes can be looked at before they are read.

    Parameters
    ----------
    stream : binary file
    only_returns : bool
        Whether its lines end with carriage returns alone: they become line feeds.
    """

    def __init__(self, stream: IO[bytes], *, only_returns: bool = False) -> None:
        super().__init__(_AsItComes(stream, only_returns=only_returns), HEAD_BYTES)

    def head(self) -> bytes:
        return self.peek(HEAD_BYTES)[:HEAD_BYTES]


class _AsItComes(io.RawIOBase):
    """A stream that gives what is there and does not wait for more: lines of a pipe are answered."""

    def __init__(self, stream: IO[bytes], *, only_returns: bool) -> None:
        self._only_returns = only_returns
        self._read: Any = getattr(stream, "read1", stream.read)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data: bytes = self._read(len(buffer))
        if self._only_returns:
            data = data.replace(b"\r", b"\n")
        buffer[: len(data)] = data
        return len(data)
