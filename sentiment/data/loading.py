"""One way to load what ``data`` describes, whole or streamed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any

from sentiment.data.corrections import Further, only_further, with_corrections
from sentiment.data.sources import NoColumnError
from sentiment.data.splits import SHARED_GROUPS, Splits, load_splits
from sentiment.data.stream import Stream, survey
from sentiment.errors import UsageError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Data:
    """Labelled text, ready to learn from.

    Attributes
    ----------
    splits : Splits
        Of a stream, only what is held out is in memory.
    stream : Stream or None
        The training rows of a file that is larger than memory.
    """

    splits: Splits
    stream: Stream | None = None

    @property
    def in_blocks(self) -> bool:
        """Whether the training rows are learned from in blocks, as if they were in memory."""
        return self.stream is not None and self.stream.labels is not None

    @property
    def train_labels(self) -> Sequence[str]:
        """The labels of the training rows, in their order; of a stream in chunks they are not known."""
        if self.stream is not None and self.stream.labels is not None:
            labels: list[str] = self.stream.labels.tolist()
            return labels
        return self.splits.train.labels


def load(
    settings: Mapping[str, Any],
    seed: int,
    *,
    in_blocks: bool = False,
    goes_on: bool = False,
    progress: Callable[[str, int, int], None] = lambda _step, _done, _of: None,
) -> Data:
    """Load the data, and warn of rows that do not count or count twice.

    Parameters
    ----------
    settings : mapping
        The node ``data`` as plain values; keys that say how to learn, not what to read, may be in it.
    seed : int
        Of the split.
    in_blocks : bool
        Whether the training rows stay on disk; which they are does not depend on it.
    goes_on : bool
        Whether a model has learned from a stream already, and ``data.also`` is all that is new.
    progress : callable
        Told of the pieces of a stream that are read.

    Raises
    ------
    DataError
        If rows cannot be read or used.
    UsageError
        If what is asked for does not go together.
    """
    try:
        return _load(settings, seed, in_blocks, goes_on, progress)
    except NoColumnError as error:
        raise error.by(settings) from None


def _load(
    settings: Mapping[str, Any],
    seed: int,
    in_blocks: bool,
    goes_on: bool,
    progress: Callable[[str, int, int], None],
) -> Data:
    further: Further | None = None
    if settings.get("also") is not None:
        further = Further(
            settings["also"], settings.get("also_weights"), **_known(Further, settings)
        )
    elif settings.get("also_weights") is not None:
        raise UsageError("data.also_weights are of data.also, which names no file")
    if (
        further is not None
        and further.weights is not None
        and settings.get("unlabelled") is not None
    ):
        raise UsageError(
            "data.unlabelled is learned from by labels that count alike: data.also_weights=null, or "
            "data.unlabelled=null"
        )
    if in_blocks:
        stream = survey(**_known(survey, settings), seed=seed, as_in_memory=True, progress=progress)
        data = Data(stream.splits, stream)
    elif not settings.get("streaming", False):
        splits = load_splits(**_known(load_splits, settings), seed=seed)
        data = Data(splits if further is None else with_corrections(splits, further))
    else:
        if further is not None and not goes_on:
            raise UsageError(
                "data.also is added to data in memory: data.streaming=false, or from=champion where the "
                "champion has learned from the stream"
            )
        if settings["source"] != "files" or settings["sample_size"] is not None:
            raise UsageError(
                "data.streaming=true reads whole files: use it with data=files and without "
                "data.sample_size"
            )
        if settings.get("split", "hash") != "hash":
            raise UsageError(
                f"data.split={settings['split']}: a stream is divided by hash; leave it out, or "
                "data.streaming=false"
            )
        for key in (
            "corrections",
            "on_leak",
            "slice_columns",
            "soft_labels",
            "unlabelled",
            "weight_column",
        ):
            if settings.get(key) is not None:
                raise UsageError(
                    f"data.{key} needs the rows in memory: data.streaming=false, or data.{key}=null"
                )
        stream = survey(**_known(survey, settings), seed=seed, progress=progress)
        stream = stream if further is None else only_further(stream, further)
        data = Data(stream.splits, stream)
    _warn_of_rows(data.splits)
    return data


def _known(reader: Callable[..., Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    known = signature(reader).parameters
    return {key: value for key, value in settings.items() if key in known}


def _warn_of_rows(splits: Splits) -> None:
    for name in ("train", "val", "test"):
        dropped = splits.report.get(f"empty_texts_{name}", 0)
        dropped += splits.report.get(f"missing_labels_{name}", 0)
        if dropped:
            log.warning("%s: dropped %d rows without text or label", name, dropped)
    if corrected := splits.report.get("labels_corrected"):
        log.warning("%d labels are corrected by data.corrections", corrected)
    if missed := splits.report.get("corrections_not_found"):
        log.warning("%d of data.corrections name no row of the data", missed)
    if held_out := splits.report.get("unlabelled_held_out"):
        log.warning("%d texts of data.unlabelled are validation or test texts: left out", held_out)
    if left_out := splits.report.get("held_out_without_label"):
        log.warning(
            "%d held-out rows have no label of their own: left out, others have one", left_out
        )
    if splits.report.get("held_out_judged_by_teacher"):
        log.warning(
            "no held-out row has a label of its own: figures say how far the model agrees with "
            "data.soft_labels (a file of true labels judges it: data.test=FILE)"
        )
    shared = splits.report.get("test_texts_also_in_train", 0)
    if shared:
        log.warning(
            "%d of %d test texts also stand in train: test figures are that much too good",
            shared,
            len(splits.test),
        )
    for key, count in splits.report.items():
        if key.startswith(SHARED_GROUPS):
            name = key.removeprefix(SHARED_GROUPS)
            log.warning(
                "%d of %d test rows share their %s with training rows, which flatters the figures: "
                "data.group_column=%s keeps them apart",
                count,
                len(splits.test),
                name,
                name,
            )
