"""What a vectorizer has learned as arrays and JSON in a folder (no pickle), and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.pipeline import FeatureUnion

from sentiment.text.ngrams import Level, NgramIndex
from sentiment.text.spec import TextSpec
from sentiment.vectorizers.hashing import HashingVectorizer

_LEVEL = ("prefix", "last", "column", "df")


def write_fitted(vectorizer: Any, place: Path, prefix: str = "") -> dict[str, Any]:
    """Write what fitting has learned as arrays, and return the rest as JSON values.

    Parameters
    ----------
    vectorizer : CountVectorizer, TfidfVectorizer, HashingVectorizer or a union of them
    place : Path
    prefix : str
        Of the files' names.
    """
    if isinstance(vectorizer, FeatureUnion):
        views = [
            write_fitted(part, place, f"{prefix}{number}-")
            for number, (_, part) in enumerate(vectorizer.transformer_list)
        ]
        return {"views": views}
    if isinstance(vectorizer, HashingVectorizer):
        return {}
    index = vectorizer.index_
    for k, level in enumerate(index.levels):
        for part in _LEVEL:
            np.save(place / f"{prefix}level{k}-{part}.npy", getattr(level, part))
    if vectorizer.idf_ is not None:
        np.save(place / f"{prefix}idf.npy", vectorizer.idf_)
    (place / f"{prefix}tokens.json").write_text(json.dumps(index.tokens), encoding="utf-8")
    return {
        "spec": vectorizer.spec_.to_dict(),
        "n_documents": int(vectorizer.n_documents_),
        "n_levels": len(index.levels),
        "separator": index.separator,
        "idf": vectorizer.idf_ is not None,
    }


def read_fitted(vectorizer: Any, state: dict[str, Any], place: Path, prefix: str = "") -> None:
    """Give a vectorizer what `write_fitted` wrote; its arrays are mapped into memory."""
    if isinstance(vectorizer, FeatureUnion):
        for number, ((_, part), view) in enumerate(
            zip(vectorizer.transformer_list, state["views"], strict=True)
        ):
            read_fitted(part, view, place, f"{prefix}{number}-")
        return
    if isinstance(vectorizer, HashingVectorizer):
        return
    tokens = json.loads((place / f"{prefix}tokens.json").read_text(encoding="utf-8"))
    levels = [
        Level(*(map_private(place / f"{prefix}level{k}-{part}.npy") for part in _LEVEL))
        for k in range(state["n_levels"])
    ]
    vectorizer.spec_ = TextSpec.from_dict(state["spec"])
    vectorizer.index_ = NgramIndex(tokens, levels, state["separator"])
    vectorizer.n_documents_ = state["n_documents"]
    vectorizer.idf_ = map_private(place / f"{prefix}idf.npy") if state["idf"] else None


def map_private(file: Path) -> Any:
    """Return an array whose pages are shared until someone writes into them, which stays private."""
    return np.asarray(np.load(file, mmap_mode="c", allow_pickle=False))
