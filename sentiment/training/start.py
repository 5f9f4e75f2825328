"""Going on from a model: its labels are held to those of the data, and a stream takes up its state."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from sentiment import store
from sentiment.data import hashes
from sentiment.errors import UsageError
from sentiment.tracking import client as tracking

if TYPE_CHECKING:
    from sentiment.data.loading import Data
    from sentiment.data.splits import Splits

log = logging.getLogger(__name__)

STATE = "learner.npz"
"""What a run on a stream logs: arrays by which its classifier goes on. No pickle."""

_ABOUT = "about"


def check_labels(digest: str, splits: Splits, output_dir: Path) -> None:
    """Refuse data of other labels than those of the model that is gone on from.

    Raises
    ------
    UsageError
        They differ.
    """
    known = store.labels_of(digest, output_dir)
    if set(known) != set(splits.classes):
        raise UsageError(
            f"the model {digest[:12]} knows the labels {', '.join(known[:10])}, the data hold "
            f"{', '.join(splits.classes[:10])}: train without from=…, or give data of the same labels"
        )


def write_state(vectorizer: Any, classifier: Any, splits: Splits, file: Path) -> None:
    """Write what a classifier needs to go on: its arrays and numbers, not its class.

    Parameters
    ----------
    vectorizer, classifier : estimator
    splits : Splits
        What it has learned from.
    file : Path
    """
    given = classifier.get_params(deep=False)
    found = {key: value for key, value in vars(classifier).items() if key not in given}
    arrays = {
        key: value
        for key, value in found.items()
        if isinstance(value, np.ndarray) and value.dtype != object
    }
    numbers = {key: value for key, value in found.items() if isinstance(value, int | float)}
    about = {
        **_made_by(vectorizer, classifier),
        "classes": [str(label) for label in classifier.classes_],
        "numbers": numbers,
        "learned": splits.train_fingerprint,
    }
    columns: dict[str, Any] = {**arrays, _ABOUT: np.array(json.dumps(about))}
    with file.open("wb") as target:
        np.savez(target, **columns)


def _made_by(vectorizer: Any, classifier: Any) -> dict[str, Any]:
    """Return what must not change: features of another vectorizer are others under the same numbers."""
    parameters = {
        key: str(value)
        for key, value in vectorizer.get_params(deep=False).items()
        if key != "n_jobs"
    }
    return {
        "vectorizer": {"class": type(vectorizer).__name__, **parameters},
        "classifier": {"class": type(classifier).__name__},
    }


def take_up(digest: str, data: Data, vectorizer: Any, classifier: Any, output_dir: Path) -> Data:
    """Give a classifier the state of the model that is gone on from.

    Parameters
    ----------
    digest : str
        Of that model, which is stored here.
    data : Data
        A stream.
    vectorizer, classifier : estimator
        The latter is changed in place.
    output_dir : Path

    Returns
    -------
    Data
        The same, with the rows that the other model has seen among those that are seen.

    Raises
    ------
    UsageError
        That run left no state, or of another vectorizer or classifier, or there is nothing new to learn.
    """
    run_id = store.resolve(digest, output_dir).info.get("run_id")
    client = tracking.connect(output_dir)
    with tracking.reaching(client.tracking_uri), TemporaryDirectory(prefix="sentiment-") as scratch:
        folder = Path(scratch)
        file = tracking.download_run_file(client, str(run_id), STATE, folder) if run_id else None
        if file is None:
            raise UsageError(
                f"the model {digest[:12]} was not trained on a stream, so that none can go on from it: "
                "data.streaming=false learns from its data and from what is new"
            )
        with np.load(file, allow_pickle=False) as stored:
            state = {key: stored[key] for key in stored.files}
        seen = tracking.download_run_file(client, str(run_id), hashes.FILE_NAME, folder)
        known = None if seen is None else hashes.read_hashes(seen)
    about = json.loads(str(state.pop(_ABOUT)))
    now = _made_by(vectorizer, classifier)
    for part, own in now.items():
        before = about[part]
        if changed := [
            f"{key} {before.get(key)}, now {own[key]}" for key in own if before.get(key) != own[key]
        ]:
            raise UsageError(
                f"the model {digest[:12]} was made with another {part} ({'; '.join(changed[:3])}): a stream "
                "goes on with the same, or begins anew without from=…"
            )
    splits = data.splits
    if about["learned"] == splits.train_fingerprint:
        raise UsageError(
            f"the model {digest[:12]} has learned from these rows already: give what is new "
            "(data.also=feedback.jsonl, or another data.train)"
        )
    for key, value in {**state, **about["numbers"]}.items():
        setattr(classifier, key, value)
    classifier.classes_ = np.array(about["classes"], dtype=object)
    if known is None:
        return data
    own = splits.train_hashes if splits.train_hashes is not None else np.zeros(0, np.uint64)
    return replace(data, splits=replace(splits, train_hashes=np.concatenate([own, known])))
