"""Labelled files larger than memory: read in chunks, split by hash, fitted out of core."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sentiment.data.sources import labelled_chunks
from sentiment.data.splits import Split, Splits, check_classes, usable
from sentiment.errors import UsageError
from sentiment.records.dialect import Dialect

log = logging.getLogger(__name__)

CHUNK_ROWS = 10_000
# Held-out rows are kept in memory: so many measure an accuracy to within half a point.
MAX_HELD_OUT = 50_000


@dataclass(frozen=True)
class Stream:
    """A surveyed file: what is held out stands in ``splits``, the rest is read again by `chunks`.

    Attributes
    ----------
    splits : Splits
        ``train`` is empty; its fingerprint and number of rows are known.
    chunks : callable
        Returns an iterator over the training rows, `CHUNK_ROWS` or fewer at a time.
    """

    splits: Splits
    chunks: Callable[[], Iterator[Split]]

    def fit(self, vectorizer: Any, classifier: Any, *, passes: int, seed: int) -> None:
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
                labels = np.asarray(chunk.labels, dtype=object)[order]
                if not warned and len(set(chunk.labels)) < min(2, len(chunk)):
                    warned = True
                    log.warning(
                        "%d rows in a row have one label: a file sorted by label trains badly, shuffle it",
                        len(chunk),
                    )
                features = vectorizer.transform(chunk.texts)[order]
                classifier.partial_fit(features, labels, classes=list(self.splits.classes))


def survey(
    *,
    name: str,
    train: str | None,
    test: str | None,
    text_column: str,
    label_column: str,
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
) -> Stream:
    """Read a file once: count, fingerprint, and keep what is held out.

    A row is held out by the hash of its text, so equal texts stand on the same side of the
    split, and the split does not depend on the order of the rows.

    Parameters
    ----------
    name, train, test, text_column, label_column, label_names, positive_label, on_bad_rows, seed
        As for `load_splits` with files.
    delimiter, quote, encoding
        As for `load_splits` with files.
    val_size, test_size : float
        Shares of the rows; at most `MAX_HELD_OUT` rows each are kept, the others train.
    chunk_rows : int
        Rows read at a time; memory grows with it.

    Raises
    ------
    DataError
        If rows cannot be read or used.
    UsageError
        If there is no file, or a share is impossible.
    """
    if train is None:
        raise UsageError("data.streaming=true reads files: data=files data.train=reviews.csv")
    report: dict[str, int] = {}
    notes: dict[str, str] = {}

    def read(path: str, split: str, counts: dict[str, int]) -> Iterator[Split]:
        first_row = 0
        for frame in labelled_chunks(
            path,
            text_column=text_column,
            label_column=label_column,
            chunk_rows=chunk_rows,
            dialect=Dialect(delimiter, quote, encoding),
            notes=notes,
        ):
            yield usable(frame, label_names, on_bad_rows, counts, split, first_row=first_row)
            first_row += len(frame)

    if test is not None:
        test_size = 0.0
    elif test_size == 0:
        raise UsageError("data.test_size=0 leaves nothing to test on: give a share, or data.test")
    held = {"test": _HeldOut(0.0, test_size), "val": _HeldOut(test_size, test_size + val_size)}
    digest, labels, n_rows = hashlib.sha256(), Counter[str](), 0
    for chunk in read(train, "train", report):
        digest.update(chunk.fingerprint().encode())
        labels.update(chunk.labels)
        n_rows += len(chunk)
        places = _places(chunk.texts, seed)
        for part in held.values():
            part.offer(chunk, places)
    classes = check_classes(labels, positive_label, label_column)
    splits = {key: part.take() for key, part in held.items()}
    if test is not None:
        whole = _HeldOut(0.0, 1.0)
        for chunk in read(test, "test", report):
            whole.offer(chunk, _places(chunk.texts, seed))
        splits["test"] = whole.take()
        check_classes(Counter(splits["test"].labels), None, label_column, known=classes)
        log.warning("streaming: texts that stand in both train and test are not counted")
    report |= {"rows_val": len(splits["val"]), "rows_test": len(splits["test"])}
    report["rows_train"] = (
        n_rows - len(splits["val"]) - (len(splits["test"]) if test is None else 0)
    )

    def chunks() -> Iterator[Split]:
        for chunk in read(train, "train", {}):
            places = _places(chunk.texts, seed)
            out = np.logical_or.reduce([part.holds(places) for part in held.values()])
            keep = np.flatnonzero(~out)
            if len(keep):
                yield Split([chunk.texts[i] for i in keep], [chunk.labels[i] for i in keep])

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
            notes=notes,
        ),
        chunks,
    )


def _places(texts: Sequence[str], seed: int) -> Any:
    """Return a number in [0, 1) for each text, from its hash and the seed."""
    key = str(seed).encode()
    raw = b"".join(
        hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8, key=key).digest()
        for text in texts
    )
    return np.frombuffer(raw, dtype="<u8") / 2.0**64


class _HeldOut:
    """The rows whose place lies in [begin, end), at most `MAX_HELD_OUT`: those of lowest place."""

    def __init__(self, begin: float, end: float) -> None:
        self.begin, self.end = begin, end
        self._rows: list[tuple[float, str, str]] = []

    def holds(self, places: Any) -> Any:
        return (places >= self.begin) & (places < self.end)

    def offer(self, chunk: Split, places: Any) -> None:
        for i in np.flatnonzero(self.holds(places)):
            self._rows.append((float(places[i]), chunk.texts[i], chunk.labels[i]))
        if len(self._rows) > MAX_HELD_OUT:
            # Narrow the interval: what falls out of it trains.
            self._rows.sort(key=lambda row: row[0])
            self.end = self._rows[MAX_HELD_OUT][0]
            self._rows = [row for row in self._rows if row[0] < self.end]

    def take(self) -> Split:
        return Split([text for _, text, _ in self._rows], [label for _, _, label in self._rows])
