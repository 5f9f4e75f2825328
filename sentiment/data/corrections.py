"""What users corrected, and other further rows, added to the labelled text that a model learns from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sentiment.data.labels import named_labels
from sentiment.data.sources import labelled_chunks
from sentiment.data.split import Split
from sentiment.data.splits import Splits
from sentiment.data.stream import Stream
from sentiment.errors import DataError, UsageError
from sentiment.records.places import sources

_TEXT, _LABEL = "text", "label"  # as `sentiment feedback export` and `sentiment label` write


@dataclass(frozen=True)
class Further:
    """Where further rows lie.

    Attributes
    ----------
    where : str
        ``data.also``: files, several with commas between.
    weights : sequence of float, optional
        ``data.also_weights``: how much a row of each counts.
    text_column, label_column : str
        Of the data; a file that lacks them has ``text`` and ``label``.
    label_names : mapping or sequence, optional
        Raw label to label.
    """

    where: str
    weights: Sequence[float] | None = None
    text_column: str = _TEXT
    label_column: str = _LABEL
    label_names: Mapping[Any, str] | Sequence[str] | None = None

    def read(self, splits: Splits) -> tuple[Split, int]:
        """Return the rows that may be learned from, and how many are held out.

        Of a text that is named twice the last label counts.

        Parameters
        ----------
        splits : Splits
            Its validation and test rows stay what they are, so that the next model is judged as the last was.

        Raises
        ------
        DataError
            They cannot be read, or hold a label that the data lacks.
        UsageError
            Weights are none, or not one for each source.
        """
        files = sources(self.where)
        weights = list(self.weights) if self.weights is not None else [1.0] * len(files)
        if len(weights) != len(files) or not all(0 <= w < np.inf for w in weights):
            raise UsageError(
                f"data.also_weights={weights}: give one number, 0 or more, for each of data.also "
                f"({len(files)}: {', '.join(files)})"
            )
        names = named_labels(self.label_names) or {}
        found: dict[str, tuple[str, float]] = {}
        for file, weight in zip(files, weights, strict=True):
            known = {*splits.classes}
            for text, raw in self._rows(file):
                label = names.get(raw, raw)
                if label not in known:
                    raise DataError(
                        f"{file}: holds labels that the data lacks: {label} "
                        f"(there are: {', '.join(splits.classes[:20])})"
                    )
                found.pop(text, None)
                found[text] = (label, weight)
        held_out = {*splits.val.texts, *splits.test.texts}
        added = {text: one for text, one in found.items() if text not in held_out}
        rows = Split(
            [*added],
            [label for label, _ in added.values()],
            weights=None if self.weights is None else np.array([w for _, w in added.values()]),
        )
        return rows, len(found) - len(added)

    def _rows(self, file: str) -> Iterator[tuple[str, str]]:
        first: DataError | None = None
        for text, label in dict.fromkeys([(self.text_column, self.label_column), (_TEXT, _LABEL)]):
            try:
                chunks = list(labelled_chunks(file, text_column=text, label_column=label))
            except DataError as error:
                first = first or error
                continue
            for chunk in chunks:
                yield from chunk.select("text", "label").drop_nulls().iter_rows()
            return
        assert first is not None
        raise first


def with_corrections(splits: Splits, further: Further) -> Splits:
    """Return the splits with further labelled rows to train on; they win over what they correct.

    Parameters
    ----------
    splits : Splits
    further : Further
        What ``sentiment feedback export`` writes, or any files of texts and labels.

    Raises
    ------
    DataError, UsageError
        See `Further.read`.
    """
    added, n_held_out = further.read(splits)
    texts = set(added.texts)
    kept = splits.train.take(
        [place for place, text in enumerate(splits.train.texts) if text not in texts]
    )
    train = kept.joined(added)
    report = _counted(splits, added, n_held_out) | {"rows_train": len(train)}
    pool = [text for text in splits.unlabelled if text not in texts]
    if splits.unlabelled:
        report["rows_unlabelled"] = len(pool)
    return replace(splits, train=train, report=report, train_fingerprint=None, unlabelled=pool)


def only_further(stream: Stream, further: Further) -> Stream:
    """Return a stream of the further rows alone, for a model that has learned from the others.

    Parameters
    ----------
    stream : Stream
        What is held out of it judges as before.
    further : Further

    Raises
    ------
    DataError, UsageError
        See `Further.read`.
    """
    splits = stream.splits
    added, n_held_out = further.read(splits)
    if not len(added):
        raise DataError(f"data.also={further.where} holds no row that is not held out")
    return Stream(
        replace(
            splits.followed_by(added),
            report=_counted(splits, added, n_held_out) | {"rows_train": len(added)},
        ),
        lambda: iter([added]),
    )


def _counted(splits: Splits, added: Split, n_held_out: int) -> dict[str, int]:
    return {
        **splits.report, "corrections": len(added), "corrections_held_out": n_held_out,
    }  # fmt: skip
