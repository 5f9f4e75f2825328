"""The rows of one file or of several, as every command reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sentiment.records import places
from sentiment.records.batch import Batch
from sentiment.records.dialect import Dialect
from sentiment.records.documents import Documents, by_class
from sentiment.records.formats import check_readable, find_format
from sentiment.records.reader import Reader
from sentiment.records.suffixes import Format


class Several:
    """The rows of several files, one file after the other, as if they were one.

    Parameters
    ----------
    path : str
        What was asked for.
    first : Reader
    rest : sequence of callable
        Each opens the next file.
    files : sequence of str
        All their paths.
    """

    def __init__(
        self,
        path: str,
        first: Reader,
        rest: Sequence[Callable[[], Reader]],
        files: Sequence[str],
    ) -> None:
        self.path = path
        self.files = list(files)
        self.kind = first.kind
        self.n_rows: int | None = None
        self._now = first
        self._rest = rest
        self._done = 0

    def __iter__(self) -> Iterator[Batch]:
        yield from self._now
        for begin in self._rest:
            self._now.close()
            self._done += 1
            self._now = begin()
            yield from self._now

    def __enter__(self) -> Several:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file that is open."""
        self._now.close()

    @property
    def text_column(self) -> str:
        """As the file that is read writes it."""
        return self._now.text_column

    @property
    def dialect(self) -> Dialect:
        """What was said of the files."""
        return self._now.dialect

    @property
    def columns(self) -> list[str]:
        """Of the file that is read."""
        return [*self._now.columns]

    @property
    def found(self) -> dict[str, str]:
        """What was found out about how that file is written."""
        return self._now.found

    @property
    def schema(self) -> Any:
        """Of Parquet."""
        return getattr(self._now, "schema", None)

    @property
    def size(self) -> int:
        """Bytes of all files, supposing that they are alike."""
        return self._now.size * (1 + len(self._rest))

    def identity(self) -> str:
        """Return what tells whether the input is still what it was."""
        return "\n".join(f"{file} {places.version(file)}" for file in self.files)

    def fraction(self) -> float | None:
        """Return how much has been read, supposing that files are alike."""
        here = self._now.fraction()
        return None if here is None else (self._done + here) / (1 + len(self._rest))


Rows = Reader | Several | Documents
"""What every command reads: one file, several as one, or texts that are a file each."""


def open_rows(
    where: str,
    kind: str | None = None,
    *,
    otherwise: Format | None = None,
    text_column: str = "text",
    batch_size: int = 1024,
    dialect: Dialect | None = None,
) -> Rows:
    """Open what is meant by a path: see `sentiment.records.places.find`.

    In class folders (see `sentiment.records.documents`) each file is a text; with a format, its lines are.

    Parameters
    ----------
    where : str
    kind : str, optional
        One of `FORMATS`, for all files; by default each file's name tells.
    otherwise : str, optional
        The format of standard input, when `kind` is not given.
    text_column, batch_size, dialect
        As for `Reader`.

    Raises
    ------
    DataError
        There is no file, or the first cannot be read.
    UsageError
        A format is not known.
    """
    found = places.find(where, any_name=kind is not None)
    if kind is None and (classed := by_class(found)):
        return Documents(where, classed, batch_size=batch_size, dialect=dialect)
    if kind is None:
        for place in found:
            check_readable(place.path)
    kinds = [find_format(place.path, kind, otherwise=otherwise) for place in found]

    def opening(place: places.Place, kind: Format) -> Callable[[], Reader]:
        return lambda: Reader(
            place.path,
            kind,
            text_column=text_column,
            batch_size=batch_size,
            dialect=dialect,
            columns=place.columns,
        )

    each = [opening(place, kind) for place, kind in zip(found, kinds, strict=True)]
    if len(each) == 1:
        return each[0]()
    return Several(where, each[0](), each[1:], [place.path for place in found])
