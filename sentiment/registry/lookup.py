"""The model that a reference names, wherever it lies."""

from __future__ import annotations

from pathlib import Path

from sentiment import store
from sentiment.store import StoredModel


def find_model(reference: str | None, output_dir: Path) -> StoredModel:
    """Find a model here, or bring it from MLflow, which is imported for that alone.

    Parameters
    ----------
    reference : str or None
        As for ``sentiment predict --model``; None is the latest.
    output_dir : Path
        Where models of this machine lie.

    Raises
    ------
    ModelNotFoundError
        No model answers to it.
    SentimentError
        MLflow does not answer, or gives another model than was registered.
    """
    if reference is not None and store.is_remote(reference):
        from sentiment.registry.registry import fetch

        return fetch(reference, output_dir)
    return store.resolve(reference, output_dir)
