"""Candidate against champion: on rows that neither has seen, or each on its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sentiment import config
from sentiment.data import hashes
from sentiment.errors import SentimentError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sentiment.data.hashes import Hashes
    from sentiment.data.split import Split
    from sentiment.data.splits import Splits
    from sentiment.evaluation.metrics import Difference
    from sentiment.scorer import Scorer


@dataclass(frozen=True)
class Contender:
    """A model as the gate sees it.

    Attributes
    ----------
    name : str
        For messages: ``version 3`` or ``run 5e1f…``.
    load : callable
        Returns its scorer, verified.
    metrics : mapping
        What its run logged.
    test_fingerprint : str, optional
        Of the test rows that its run predicted.
    run_file : callable
        Fetches an artifact of its run: a path, or None when there is none.
    """

    name: str
    load: Callable[[], Scorer]
    metrics: Mapping[str, float]
    test_fingerprint: str | None
    run_file: Callable[[str], Path | None]


@dataclass(frozen=True)
class Marked:
    """Test rows by their hash, their true labels, and whether each was answered rightly."""

    rows: Hashes
    labels: Sequence[str]
    correct: NDArray[np.bool_]

    def of(self, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return whether each of some rows was answered rightly."""
        return self.correct[chosen]


@dataclass(frozen=True)
class Contest:
    """How two models compare.

    Attributes
    ----------
    new, old : float
        Accuracies of candidate and champion.
    difference : Difference
        Of the candidate less the champion.
    test : str
        What the p-value is of.
    rows : str
        On which rows, for people.
    """

    new: float
    old: float
    difference: Difference
    test: str
    rows: str


class NoRowsError(Exception):
    """Why test rows cannot be had."""


def contest(candidate: Contender, champion: Contender, *, min_rows: int) -> Contest:
    """Compare on the candidate's test rows that neither has learned from or chosen by.

    Parameters
    ----------
    candidate, champion : Contender
    min_rows : int
        With fewer such rows each is taken by its own test rows, with an unpaired test.

    Raises
    ------
    NoRowsError
        If there are no rows to compare on at all.
    """
    from sentiment.evaluation.metrics import paired_test, unpaired_test

    try:
        new, old, rows = _paired(candidate, champion, min_rows)
    except NoRowsError as reason:
        new, old = own_answers(candidate).correct, own_answers(champion).correct
        return Contest(
            float(new.mean()),
            float(old.mean()),
            unpaired_test(old, new),
            "Fisher's exact test, unpaired,",
            f"each on its own test rows, {len(new):,} and {len(old):,}, because {reason}",
        )
    return Contest(
        float(new.mean()), float(old.mean()), paired_test(old, new), "McNemar", rows
    )  # fmt: skip


def _paired(
    candidate: Contender, champion: Contender, min_rows: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], str]:
    """Return whether each answered the same rows rightly, and which rows these are.

    Predictions that both runs logged are used when they are of the same rows; otherwise both
    scorers score the candidate's test rows now.
    """
    same = bool(candidate.test_fingerprint) and (
        candidate.test_fingerprint == champion.test_fingerprint
    )
    new, old = logged_answers(candidate), logged_answers(champion)
    if same and new and old and np.array_equal(new.rows, old.rows) and new.labels == old.labels:
        keep = _unseen(new.rows, candidate, champion, same=True)
        left = _remaining(keep, min_rows)
        return new.of(keep), old.of(keep), f"the same {left} test rows"
    split = _splits(candidate).test
    keep = _unseen(hashes.row_hashes(split.texts), candidate, champion, same=same)
    left = _remaining(keep, min_rows)
    rows = _take(split, keep)
    return (
        _score(candidate, rows).correct,
        _score(champion, rows).correct,
        f"the candidate's {left} test rows, scored now by both",
    )


def _unseen(
    rows: Hashes, candidate: Contender, champion: Contender, *, same: bool
) -> NDArray[np.bool_]:
    """Return which rows neither has learned from; ``same`` says that both held them out."""
    keep = np.ones(len(rows), dtype=np.bool_)
    for contender in (candidate, champion):
        try:
            keep &= ~np.isin(rows, _seen(contender))
        except NoRowsError:
            if contender is champion and not same:
                raise
    return keep


def _seen(contender: Contender) -> Hashes:
    """Return the hashes of what the run has learned from: as it logged them, or made again."""
    file = contender.run_file(hashes.FILE_NAME)
    found = None if file is None else hashes.read_hashes(file)
    if found is not None:
        return found
    try:
        return _splits(contender).seen()
    except NoRowsError as reason:
        raise NoRowsError(
            f"it is not known which rows {contender.name} has learned from ({reason})"
        ) from reason


def _remaining(keep: NDArray[np.bool_], min_rows: int) -> str:
    count = int(keep.sum())
    if count < min_rows:
        raise NoRowsError(
            f"only {count:,} of the candidate's {len(keep):,} test rows remain that neither has "
            f"learned from, fewer than {min_rows:,}"
        )
    if count == len(keep):
        return f"{count:,}"
    return f"{count:,} of {len(keep):,} (the others one of them has learned from)"


def own_answers(contender: Contender) -> Marked:
    """Return what a model answered to its own test rows, as it logged it or scored now.

    Raises
    ------
    NoRowsError
        If neither can be had.
    """
    return logged_answers(contender) or _score(contender, _splits(contender).test)


def logged_answers(contender: Contender) -> Marked | None:
    """Read the run's test predictions; None when it logged none."""
    from sentiment.evaluation import predictions

    path = contender.run_file(predictions.FILE_NAME)
    found = None if path is None else predictions.read_predictions(path)
    # Cut off or of another program: the rows are scored instead.
    if found is None or not len(found.labels):
        return None
    return Marked(hashes.of_digests(found.text_sha256), found.labels, found.correct)


def relabelled(candidate: Contender, champion: Contender) -> tuple[int, int] | None:
    """Count the test rows that both runs logged, and those of them with another label now."""
    new, old = logged_answers(candidate), logged_answers(champion)
    if new is None or old is None:
        return None
    before = dict(zip(old.rows.tolist(), old.labels, strict=True))
    known = [
        (label, before[row])
        for row, label in zip(new.rows.tolist(), new.labels, strict=True)
        if row in before
    ]
    return len(known), sum(now != then for now, then in known)


def labels_of(contender: Contender) -> tuple[list[str], str | None]:
    """Return a model's labels in order, and its positive one.

    Raises
    ------
    SentimentError
        If its scorer cannot be had.
    """
    scorer = contender.load()
    return list(scorer.labels), scorer.positive_label


def _splits(contender: Contender) -> Splits:
    """Make the run's splits again from the config that it logged, and check that they are the same."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from sentiment.data.loading import load

    path = contender.run_file("config.yaml")
    if path is None:
        raise NoRowsError(
            f"the run of {contender.name} has no config.yaml to make its test rows from"
        )
    try:
        cfg = config.to_dict(OmegaConf.load(path))  # type: ignore[arg-type]
        splits = load(cfg["data"], cfg["seed"]).splits
    except (SentimentError, OmegaConfBaseException, TypeError, KeyError) as error:
        raise NoRowsError(
            f"the test rows of {contender.name} cannot be had here ({' '.join(str(error).split())})"
        ) from error
    if splits.test.fingerprint() != contender.test_fingerprint:
        raise NoRowsError(
            f"the test rows of {contender.name} are no longer the ones that it was tested on"
        )
    return splits


def _take(split: Split, keep: NDArray[np.bool_]) -> Split:
    from sentiment.data.split import Split

    chosen = np.flatnonzero(keep)
    return Split([split.texts[i] for i in chosen], [split.labels[i] for i in chosen])


def _score(contender: Contender, split: Split) -> Marked:
    try:
        predicted = contender.load().predict(split.texts).labels
    except SentimentError as error:
        raise NoRowsError(f"{contender.name} cannot score them ({error})") from error
    return Marked(
        hashes.row_hashes(split.texts),
        split.labels,
        np.array([a == b for a, b in zip(predicted, split.labels, strict=True)], dtype=np.bool_),
    )
