"""Folders of texts whose names are the classes: ``pos/1.txt``, ``pos/2.txt``, ``neg/1.txt``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from sentiment.errors import DataError
from sentiment.records import places
from sentiment.records.batch import Batch
from sentiment.records.dialect import Dialect, find_encoding
from sentiment.records.encoding import not_decodable
from sentiment.records.formats import FASTTEXT
from sentiment.records.suffixes import Format, suffix_format


def by_class(found: Sequence[places.Place]) -> list[tuple[str, str]] | None:
    """Return the files of class folders with their class, or None where files do not lie so.

    All are texts, in two or more folders beside one another, and more than one to a folder; what lies
    above the folders is none of theirs. The layout of scikit-learn's ``load_files`` and of IMDB.

    Parameters
    ----------
    found : sequence of Place
    """
    if len(found) < 3 or any(suffix_format(place.path) != "lines" for place in found):
        return None
    folders = [place.path.rpartition("/")[0] for place in found]
    root = Counter(folder.rpartition("/")[0] for folder in folders).most_common(1)[0][0]
    classed: list[tuple[str, str]] = []
    for place, folder in zip(found, folders, strict=True):
        above, _, name = folder.rpartition("/")
        if above == root and folder != root:
            classed.append((place.path, name))
        elif folder != root:
            return None
    names = {name for _, name in classed}
    if len(names) < 2 or len(classed) < 2 * len(names) or any("=" in name for name in names):
        return None
    stream, _ = places.open_read(classed[0][0])
    with stream:
        return None if stream.read(len(FASTTEXT)) == FASTTEXT.encode() else classed


class Documents:
    """Texts that are a file each, iterated a batch at a time.

    Parameters
    ----------
    where : str
        What was asked for.
    classed : sequence of (str, str)
        Files and their class.
    batch_size : int
    dialect : Dialect, optional

    Attributes
    ----------
    path : str
    files : list of str
    kind : str
    n_rows : int
    columns : list of str
    text_column : str
    found : dict of str to str
    """

    def __init__(
        self,
        where: str,
        classed: Sequence[tuple[str, str]],
        *,
        batch_size: int = 1024,
        dialect: Dialect | None = None,
    ) -> None:
        self.path = where
        self.files = [file for file, _ in classed]
        self.kind: Format = "lines"
        self.n_rows: int | None = len(classed)
        self.columns = ["text", "label"]
        self.text_column = "text"
        self.found = {"label_column": "the name of each text's folder"}
        self.schema: Any = None
        self._classed = classed
        self._batch_size = batch_size
        self.dialect = (dialect or Dialect()).checked()
        self._done = 0

    def __iter__(self) -> Iterator[Batch]:
        for first in range(0, len(self._classed), self._batch_size):
            rows = [
                {"text": self._read(file), "label": name}
                for file, name in self._classed[first : first + self._batch_size]
            ]
            self._done += len(rows)
            yield Batch([row["text"] for row in rows], rows)

    def _read(self, file: str) -> str:
        stream, _ = places.open_read(file)
        with stream:
            content = stream.read()
        encoding = find_encoding(content[:4], self.dialect.encoding)
        try:
            return content.decode(encoding).removeprefix("\ufeff").strip()
        except UnicodeDecodeError as error:
            raise DataError(f"{file}: ", *not_decodable(content, error)) from None

    def __enter__(self) -> Documents:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Do nothing: each file is closed once it is read."""

    @property
    def size(self) -> int:
        """Bytes of all files; 0: they are many, and not asked."""
        return 0

    def identity(self) -> str:
        """Return what tells whether the input is still what it was."""
        return "\n".join(f"{file} {places.version(file)}" for file in self.files)

    def fraction(self) -> float | None:
        """Return how much has been read."""
        return self._done / len(self._classed)
