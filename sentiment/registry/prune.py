"""Free the disk of stored models that nothing needs any more."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentiment import store
from sentiment.registry.registry import Registry
from sentiment.store import StoredModel
from sentiment.tracking import client as tracking
from sentiment.tracking.address import is_new

_LEFT_OVER = 24 * 3600.0  # seconds after which a temporary folder has no owner any more


@dataclass(frozen=True)
class Candidate:
    """A stored model, its size, and why it stays (None: nothing needs it)."""

    model: StoredModel
    size_bytes: int
    needed_by: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain containers."""
        return {
            "digest": self.model.digest,
            "run_id": self.model.run_id,
            "size_bytes": self.size_bytes,
            "needed_by": self.needed_by,
        }


def survey(output_dir: Path) -> list[Candidate]:
    """Return every stored model with what needs it.

    A model is needed by a local pointer, by an alias of any registered model, or by a run that
    has not ended. A finished run needs no stored model: it has its own copy in MLflow, from
    where ``--model runs:/<run_id>`` fetches it again.

    Parameters
    ----------
    output_dir : Path

    Raises
    ------
    SentimentError
        If MLflow does not answer: without it nobody knows which models are needed.
    """
    models = store.list_models(output_dir)
    if not models:
        return []
    needed: dict[str, str] = {}
    registry = None if is_new(output_dir) else Registry(output_dir)
    if registry is not None:
        with registry.reaching():
            needed |= registry.aliased()
            for model in models:
                run = tracking.find(registry.client.get_run, model.run_id) if model.run_id else None
                if run is not None and run.info.status in ("RUNNING", "SCHEDULED"):
                    needed[model.digest] = f"run {model.run_id} ({run.info.status})"
    for which in store.pointer_names(output_dir):
        pointer = store.read_pointer(output_dir, which)
        if pointer is not None:
            digest = pointer["digest"]
            needed[digest] = which if which in store.POINTERS else needed.get(digest, which)
    return [Candidate(model, _size(model.path), needed.get(model.digest)) for model in models]


def remove(candidates: list[Candidate], output_dir: Path) -> int:
    """Remove the models that nothing needs and what dead processes left; return the bytes freed."""
    folder = store.models_dir(output_dir)
    freed = 0
    for candidate in candidates:
        if candidate.needed_by is None:
            # Renamed first, so that nobody finds half a model.
            gone = folder / f".model-pruned-{candidate.model.digest}"
            candidate.model.path.parent.rename(gone)
            shutil.rmtree(gone)
            freed += candidate.size_bytes
    for left in [*folder.glob(".model-*"), *folder.glob(".fetch-*")]:
        if time.time() - left.stat().st_mtime > _LEFT_OVER:
            freed += _size(left)
            shutil.rmtree(left, ignore_errors=True)
    return freed


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
