"""Labelled files larger than memory: read in chunks, split by hash, fitted out of core."""

from __future__ import annotations

import hashlib
import itertools
import logging
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sentiment.data.classes import check_classes
from sentiment.data.division import (
    TEST,
    TRAIN,
    VAL,
    Parts,
    Plan,
    hash_places,
    parts_by_name,
    parts_by_place,
    parts_by_time,
    time_bounds,
    times_of,
)
from sentiment.data.hashes import row_hashes
from sentiment.data.sources import labelled_chunks
from sentiment.data.split import Split, as_split
from sentiment.data.splits import Splits, make_plan
from sentiment.data.usable import usable
from sentiment.errors import DataError, UsageError
from sentiment.records import places
from sentiment.records.dialect import Dialect

if TYPE_CHECKING:
    import polars as pl

log = logging.getLogger(__name__)

CHUNK_ROWS = 10_000
# Held-out rows are kept in memory: so many measure an accuracy to within half a point.
MAX_HELD_OUT = 50_000
_NEVER = (math.inf, math.inf)  # times at which validation and test rows begin
_LEFT_OUT = {VAL: -1, TEST: -2}  # held out, but more than are kept, and they do not train either


@dataclass(frozen=True)
class Stream:
    """A surveyed file: what is held out stands in ``splits``, the rest is read again by `chunks`.

    Attributes
    ----------
    splits : Splits
        ``train`` is empty; its fingerprint and number of rows are known.
    chunks : callable
        Returns an iterator over the training rows, `CHUNK_ROWS` or fewer at a time.
    labels : ndarray of object, optional
        Of the training rows, in their order, where `survey` was asked to keep them.
    grouped : bool
        Whether rows belong to groups; which, is not kept.
    """

    splits: Splits
    chunks: Callable[[], Iterator[Split]]
    labels: NDArray[np.object_] | None = None
    grouped: bool = False

    def joined(self, splits: Splits, rows: Split) -> Stream:
        """Return a stream of these splits, whose training rows are followed by others, in memory.

        Parameters
        ----------
        splits : Splits
        rows : Split
        """
        labels = self.labels
        if labels is not None:
            labels = np.concatenate([labels, np.array(rows.labels, dtype=object)])
        chunks = self.chunks
        return replace(
            self,
            splits=splits.followed_by(rows),
            chunks=lambda: itertools.chain(chunks(), [rows]),
            labels=labels,
        )

    def fit(
        self,
        vectorizer: Any,
        classifier: Any,
        *,
        passes: int,
        seed: int,
        weigh: Callable[[Sequence[str], Sequence[str]], NDArray[np.float64] | None],
    ) -> None:
        """Fit a classifier chunk by chunk.

        Parameters
        ----------
        vectorizer : estimator
            Stateless: its ``transform`` needs no fitting (`HashingVectorizer`).
        classifier : estimator
            With ``partial_fit``.
        passes : int
            How often to read the file.
        seed : int
            Of the order of rows within a chunk.
        weigh : callable
            Of texts and labels: what each row counts, or None where all count alike.

        Raises
        ------
        UsageError
            If one of them cannot learn in chunks.
        """
        if not getattr(classifier, "partial_fit", None):
            raise UsageError(
                f"data.streaming=true needs a model with partial_fit, not {type(classifier).__name__}: "
                "model=sgd"
            )
        rng = np.random.default_rng(seed)
        warned = False
        for _ in range(passes):
            for chunk in self.chunks():
                order = rng.permutation(len(chunk))
                if not warned and len(set(chunk.labels)) < min(2, len(chunk)):
                    warned = True
                    log.warning(
                        "%d rows in a row have one label: a file sorted by label trains badly, shuffle it",
                        len(chunk),
                    )
                weights, more = weigh(chunk.texts, chunk.labels), {}
                if chunk.weights is not None:
                    weights = chunk.weights if weights is None else weights * chunk.weights
                if weights is not None:  # a row that counts nothing is no step
                    order = order[weights[order] > 0]
                    more = {"sample_weight": weights[order]}
                    if not len(order):
                        continue
                labels = np.asarray(chunk.labels, dtype=object)[order]
                features = vectorizer.transform(chunk.texts)[order]
                classifier.partial_fit(features, labels, classes=list(self.splits.classes), **more)


def survey(
    *,
    name: str,
    train: str | None,
    val: str | None = None,
    test: str | None,
    text_column: str,
    label_column: str,
    group_column: str | None = None,
    time_column: str | None = None,
    split_column: str | None = None,
    label_names: Mapping[Any, str] | Sequence[str] | None,
    positive_label: str | None,
    val_size: float,
    test_size: float,
    on_bad_rows: str,
    delimiter: str | None = None,
    quote: str | None = None,
    encoding: str | None = None,
    seed: int,
    chunk_rows: int = CHUNK_ROWS,
    as_in_memory: bool = False,
    progress: Callable[[str, int, int], None] = lambda _step, _done, _of: None,
) -> Stream:
    """Read a labelled file once: its labels, its size, and the rows that are held out.

    A row's split is decided by the hash of its text (or its group) and the seed, so that it is
    the same at every reading, whatever the order of the rows; or by a column of times or names.
    With times the file is read once more before.

    Parameters
    ----------
    name, train, val, test, text_column, label_column, label_names, positive_label, on_bad_rows, seed
        As for `sentiment.data.splits.load_splits` with files.
    group_column, time_column, split_column
        As there.
    delimiter, quote, encoding
        As there.
    val_size, test_size : float
        Shares of the rows; at most `MAX_HELD_OUT` rows each are kept. The others train, but for
        those that a column names: these are left out.
    chunk_rows : int
        Rows read at a time; memory grows with it.
    as_in_memory : bool
        Whether the same rows train as when all are in memory: those that are held out, and more than
        are kept, do not. The labels of training rows are kept.
    progress : callable
        Told of the pieces that are read, of an unknown number.

    Raises
    ------
    DataError
        If rows cannot be read or used.
    UsageError
        If there is no file, or a share is impossible.
    """
    if train is None:
        raise UsageError("data.streaming=true reads files: data=files data.train=reviews.csv")
    plan = make_plan(
        split="hash", val=val, test=test, val_size=val_size, test_size=test_size, seed=seed,
        group_column=group_column, time_column=time_column, split_column=split_column,
    )  # fmt: skip
    report: dict[str, int] = {}
    notes: dict[str, str] = {}

    def read(path: str, part: str, counts: dict[str, int]) -> Iterator[pl.DataFrame]:
        first_row = 0
        chunks = labelled_chunks(
            path,
            text_column=text_column,
            label_column=label_column,
            extra=plan.columns if part == "train" else (),
            chunk_rows=chunk_rows,
            dialect=Dialect(delimiter, quote, encoding),
            notes=notes,
        )
        for done, frame in enumerate(chunks, start=1):
            yield usable(frame, label_names, on_bad_rows, counts, part, first_row=first_row)
            first_row += len(frame)
            progress(f"{part} rows", done, 0)

    surveyed = _versions(train)
    bounds = _NEVER
    if plan.time_column is not None:
        times = [times_of(frame, plan.time_column) for frame in read(train, "train", {})]
        bounds = time_bounds(np.concatenate(times), plan, MAX_HELD_OUT)
    held = _HeldOut(plan, bounds, as_in_memory=as_in_memory)
    digest, labels = hashlib.sha256(), Counter[str]()
    for frame in read(train, "train", report):
        chunk = as_split(frame, plan)
        digest.update(chunk.fingerprint().encode())
        labels.update(chunk.labels)
        held.offer(frame, chunk)
    classes = check_classes(labels, positive_label, label_column)
    _check_trained(labels, held)
    splits = {"val": held.take(VAL), "test": held.take(TEST)}
    left_out = {"val": held.left_out[VAL], "test": held.left_out[TEST]}
    for part, file in (("val", val), ("test", test)):
        if file is not None:
            splits[part], left_out[part] = _whole_file(read(file, part, report), plan)
            found = Counter(splits[part].labels)
            check_classes(found, None, label_column, known=classes, part=part)
    if not len(splits["test"]):
        raise DataError(f"{train} leaves no row to test on: give a larger share, or data.test")
    _tell_left_out(splits, left_out, report)
    report |= {"rows_val": len(splits["val"]), "rows_test": len(splits["test"])}
    report["rows_train"] = held.rows_train
    for part, split in splits.items():
        also = np.isin(row_hashes(split.texts), held.train_hashes)
        report[f"{part}_texts_also_in_train"] = int(also.sum())
    return Stream(
        Splits(
            name=name,
            source=train,
            train=Split([], []),
            val=splits["val"],
            test=splits["test"],
            classes=classes,
            positive_label=positive_label if len(classes) == 2 else None,
            report=report,
            train_fingerprint=digest.hexdigest(),
            train_hashes=held.train_hashes,
            notes=notes,
        ),
        lambda: _rows_that_train(train, surveyed, read(train, "train", {}), held),
        np.array(held.labels, dtype=object) if as_in_memory else None,
        grouped=plan.group_column is not None,
    )


def _check_trained(labels: Counter[str], held: _HeldOut) -> None:
    """Refuse to hold all rows of a label out."""
    rest = labels - Counter(label for rows in held.rows.values() for _, _, label in rows)
    if missing := sorted(set(labels) - set(rest)):
        raise DataError(
            f"no training row of the label {missing[0]!r} is left ({labels[missing[0]]} rows in "
            "all): give more rows of it, or another seed"
        )


def _whole_file(frames: Iterator[pl.DataFrame], plan: Plan) -> tuple[Split, int]:
    """Return the rows of a file that are judged, and how many are not."""
    held = _HeldOut(Plan("hash", 0.0, 0.0, plan.seed), _NEVER, all_of_it=True)
    for frame in frames:
        held.offer(frame, as_split(frame, plan))
    return held.take(TEST), held.left_out[TEST]


def _tell_left_out(
    splits: Mapping[str, Split], left_out: Mapping[str, int], report: dict[str, int]
) -> None:
    for part, number in left_out.items():
        if number:
            report[f"rows_left_out_{part}"] = number
            log.warning(
                "%s: %s of %s rows are judged, drawn by their texts' hashes: more would stand in memory",
                part, f"{len(splits[part]):,}", f"{len(splits[part]) + number:,}",
            )  # fmt: skip


def _rows_that_train(
    train: str, surveyed: list[tuple[str, str]], frames: Iterator[pl.DataFrame], held: _HeldOut
) -> Iterator[Split]:
    """Yield the training rows, where the file is as it was when it was divided."""

    def check_unchanged() -> None:
        if _versions(train) != surveyed:
            raise DataError(
                f"{train}: has changed since its rows were divided: read a copy, or when nobody writes it"
            )

    check_unchanged()
    for frame in frames:
        chunk = as_split(frame, held.plan)
        keep = np.flatnonzero(held.trains(frame, chunk))
        if len(keep):
            yield Split([chunk.texts[i] for i in keep], [chunk.labels[i] for i in keep])
    check_unchanged()


def _versions(where: str) -> list[tuple[str, str]]:
    return [(place.path, places.version(place.path)) for place in places.find(where)]


class _HeldOut:
    """The rows that validate and test, at most `MAX_HELD_OUT` of each: those of lowest place."""

    def __init__(
        self,
        plan: Plan,
        bounds: tuple[float, float],
        *,
        all_of_it: bool = False,
        as_in_memory: bool = False,
    ) -> None:
        self.plan, self.bounds, self.all_of_it = plan, bounds, all_of_it
        self.as_in_memory = as_in_memory
        self.labels: list[str] = []
        self._names: dict[str, str] = {}
        self.rows: dict[int, list[tuple[float, str, str]]] = {VAL: [], TEST: []}
        self.rows_train = 0
        self.left_out = {VAL: 0, TEST: 0}  # that train neither
        self._limits = {VAL: math.inf, TEST: math.inf}
        self._hashes: list[NDArray[np.uint64]] = []

    @property
    def train_hashes(self) -> NDArray[np.uint64]:
        """Hashes of the training rows."""
        return np.concatenate(self._hashes) if self._hashes else np.zeros(0, np.uint64)

    def offer(self, frame: pl.DataFrame, chunk: Split) -> None:
        parts, places = self._parts(frame, chunk)
        for part in (VAL, TEST):
            rows = self.rows[part]
            self.left_out[part] += int((parts == _LEFT_OUT[part]).sum())
            for i in np.flatnonzero(parts == part):
                rows.append((float(places[i]), chunk.texts[i], chunk.labels[i]))
            if len(rows) > MAX_HELD_OUT:
                # Narrow the interval: what falls out of it trains, unless a column forbids that.
                rows.sort(key=lambda row: row[0])
                self._limits[part] = limit = rows[MAX_HELD_OUT][0]
                self.rows[part] = [row for row in rows if row[0] < limit]
                if self._by_hash:
                    self._learn([text for _, text, _ in rows[len(self.rows[part]) :]])
                else:
                    self.left_out[part] += len(rows) - len(self.rows[part])
        trained = np.flatnonzero(parts == TRAIN)
        self._learn([chunk.texts[i] for i in trained])
        if self.as_in_memory:  # one string for each label, not one for each row
            names = self._names
            self.labels += [names.setdefault(chunk.labels[i], chunk.labels[i]) for i in trained]

    def _learn(self, texts: Sequence[str]) -> None:
        self.rows_train += len(texts)
        self._hashes.append(row_hashes(texts))

    def trains(self, frame: pl.DataFrame, chunk: Split) -> NDArray[np.bool_]:
        return np.asarray(self._parts(frame, chunk)[0] == TRAIN)

    @property
    def _by_hash(self) -> bool:
        plan = self.plan
        if self.as_in_memory:
            return False
        return not self.all_of_it and plan.time_column is None and plan.split_column is None

    def _parts(self, frame: pl.DataFrame, chunk: Split) -> tuple[Parts, NDArray[np.float64]]:
        """Return each row's split (`_LEFT_OUT` for none), and the place that narrows it."""
        plan = self.plan
        places = hash_places(chunk.groups or chunk.texts, plan.seed)
        if self.all_of_it:
            parts = np.full(len(chunk), TEST, dtype=np.int8)
        elif plan.split_column is not None:
            parts = parts_by_name(frame, plan.split_column)
        elif plan.time_column is not None:
            parts = parts_by_time(times_of(frame, plan.time_column), self.bounds)
        else:
            parts = parts_by_place(places, plan.val_size, plan.test_size)
        for part, limit in self._limits.items():
            parts[(parts == part) & (places >= limit)] = TRAIN if self._by_hash else _LEFT_OUT[part]
        return parts, places

    def take(self, part: int) -> Split:
        rows = self.rows[part]
        return Split([text for _, text, _ in rows], [label for _, _, label in rows])
