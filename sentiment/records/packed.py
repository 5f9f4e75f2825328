"""Compressed files: unpacked while they are read."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path, PurePosixPath
from typing import IO, cast

from sentiment.errors import DataError
from sentiment.records.suffixes import COMPRESSIONS, suffix_format


def unpacked(stream: IO[bytes], name: str, path: str) -> IO[bytes]:
    """Return what a stream holds, as its file's name says how it is packed.

    Parameters
    ----------
    stream : binary stream
    name : str
        Of the file.
    path : str
        Where it lies, for what is said of it.

    Raises
    ------
    DataError
        A ZIP archive is damaged, locked, or holds not one file of rows.
    """
    compression = COMPRESSIONS.get(Path(name).suffix.lower())
    if compression == "gzip":
        import gzip

        return cast(IO[bytes], gzip.GzipFile(fileobj=stream))
    if compression == "bz2":
        import bz2

        return bz2.BZ2File(stream)
    if compression == "xz":
        import lzma

        return lzma.LZMAFile(stream)
    if compression == "zstd":
        import pyarrow as pa

        return io.BufferedReader(pa.CompressedInputStream(pa.PythonFile(stream), "zstd"))
    if compression == "zip":
        return _member(stream, path)[1]
    return stream


def _member(stream: IO[bytes], path: str) -> tuple[str, IO[bytes]]:
    """Return the only file of rows in an archive, as data sets are handed out: its name and content."""
    try:
        archive = zipfile.ZipFile(stream)
        names = [
            name
            for name in archive.namelist()
            if suffix_format(name) not in (None, "parquet")
            and not any(part.startswith((".", "_")) for part in PurePosixPath(name).parts)
        ]
        # Plain lines beside a table are a note, such as a readme.txt.
        names = [name for name in names if suffix_format(name) != "lines"] or names
        if len(names) != 1:
            raise DataError(
                f"{path}: holds {'no file' if not names else f'{len(names)} files'} of rows "
                f"({', '.join((names or archive.namelist())[:5])}): unpack it and name the one that is meant"
            )
        return names[0], unpacked(archive.open(names[0]), names[0], path)
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError) as error:
        raise DataError(f"{path}: cannot be unpacked ({error})") from None


def name_inside(path: str) -> str:
    """Return the name of the only file of rows in an archive of this machine.

    Raises
    ------
    DataError
        There is none, or several.
    """
    with Path(path).open("rb") as stream:
        return _member(stream, path)[0]
