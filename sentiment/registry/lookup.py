"""The model that a reference names, wherever it lies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sentiment import store
from sentiment.registry.reference import DEFAULT_NAME, version_named
from sentiment.scorer import Scorer
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


def about_model(reference: str, output_dir: Path, name: str = DEFAULT_NAME) -> dict[str, Any]:
    """Return what is known of a model: where it comes from, how good it is, who uses it.

    Parameters
    ----------
    reference : str
        A version's number, ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``: what MLflow says of it.
        A local alias, a digest or a directory: what lies here, which needs no MLflow.
    output_dir : Path
    name : str
        The registered model that a number is a version of.

    Raises
    ------
    ModelNotFoundError
        There is no such model here.
    UsageError
        There is no such version.
    """
    if reference.isdigit() or store.is_remote(reference):
        return _about_registered(reference, output_dir, name)
    stored = store.resolve(reference, output_dir)
    scorer = Scorer.load(stored.path, digest=stored.digest)
    pointers = {
        which: store.read_pointer(output_dir, which) for which in store.pointer_names(output_dir)
    }
    return {
        "digest": stored.digest,
        "path": str(stored.path),
        "name": stored.name,
        "version": stored.version,
        "run_id": stored.run_id,
        "pointers": [
            which
            for which, pointer in pointers.items()
            if pointer and pointer["digest"] == stored.digest
        ],
        "labels": list(scorer.labels),
        "n_features": scorer.n_features,
        "size_bytes": scorer.size_bytes,
        **{
            key: value
            for key, value in stored.info.items()
            if key not in ("name", "version", "run_id")
        },
    }


def _about_registered(reference: str, output_dir: Path, name: str) -> dict[str, Any]:
    from sentiment.registry.registry import Registry

    name, which = version_named(reference, name)
    registry = Registry(output_dir, name)
    with registry.reaching():
        version = registry.get(which)
    return {
        **version.to_dict(),
        "registry": registry.where,
        "stored_here": bool(version.digest) and store.is_stored(str(version.digest), output_dir),
    }
