"""Going on from a model: the words of its training, with what is said now."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from sentiment.errors import UsageError

log = logging.getLogger(__name__)

WORD = "from="
"""Begins the word of the command line that names the model."""

OVERRIDES = "overrides.json"
_KEY = re.compile(r"[+~]*([\w.@/-]+)=")
# Where and under which name the other run was made, and from what it went on.
_OF_THE_RUN = ("output_dir", "run_name", "start_from", "data.resume")


def with_origin(words: Sequence[str], output_dir: Path | None = None) -> list[str]:
    """Return the words of a training that goes on from a model, or the given ones where none is named.

    ``from=champion data.also=feedback.jsonl`` is what the champion was trained with, and then what
    stands here: a key or a group that is given wins, with all that was said below it. So does
    ``data.also`` (a stream has learned from the earlier one already), which is told.

    Parameters
    ----------
    words : sequence of str
        Of the command line.
    output_dir : Path, optional
        Holds models and runs; without it, what the words say.

    Raises
    ------
    UsageError
        There is no such model, or its run did not keep its words.
    """
    named = [word.removeprefix(WORD) for word in words if word.startswith(WORD)]
    given = [word for word in words if not word.startswith(WORD)]
    if not named:
        return given
    # Every training asks here: what most do not need is not imported before.
    from sentiment import config, store
    from sentiment.registry.registry import fetch

    reference = named[-1]
    if output_dir is None:
        places = [word for word in given if word.startswith("output_dir=")]
        output_dir = Path(config.compose(places[-1:]).output_dir)
    model = (
        fetch(reference, output_dir)
        if store.is_remote(reference)
        else store.resolve(reference, output_dir)
    )
    run_id = model.run_id or model.info.get("run_id")
    if not run_id:
        raise UsageError(
            f"from={reference}: nothing tells which run made it; give the words of its training"
        )
    said = _keys(given)
    recorded = _recorded(str(run_id), reference, output_dir)
    kept = [word for word in recorded if not _replaced(word, said)]
    for word in recorded:
        if word.startswith("data.also=") and word not in (*kept, *given):
            log.warning(
                "from=%s: what is said takes the place of its %s; both are learned from with %s",
                reference, word, ",".join([word, *_values(given, "data.also")]),
            )  # fmt: skip
    return [*kept, *given, f"start_from={model.digest}"]


def _keys(words: Sequence[str]) -> set[str]:
    return {match[1] for word in words if (match := _KEY.match(word))}


def _values(words: Sequence[str], key: str) -> list[str]:
    return [word.partition("=")[2] for word in words if word.startswith(f"{key}=")]


def _replaced(word: str, said: set[str]) -> bool:
    """Tell whether a recorded word is another run's own, or what it says is said anew."""
    match = _KEY.match(word)
    if match is None:
        return word in ("-m", "--multirun")
    key = match[1]
    return key in _OF_THE_RUN or any(key == one or key.startswith(f"{one}.") for one in said)


def _recorded(run_id: str, reference: str, output_dir: Path) -> list[str]:
    from sentiment.tracking import client as tracking

    client = tracking.connect(output_dir)
    with (
        tracking.reaching(client.tracking_uri),
        TemporaryDirectory(prefix="sentiment-") as scratch,
    ):
        file = tracking.download_run_file(client, run_id, OVERRIDES, Path(scratch))
        if file is None:
            raise UsageError(
                f"from={reference}: its run {run_id} kept no {OVERRIDES}; give the words of its training"
            )
        return [str(word) for word in json.loads(file.read_text(encoding="utf-8"))]
