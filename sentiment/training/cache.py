"""Features made once and read again: a cache on disk between the data and the classifier.

An entry is a folder of plain arrays and JSON (no pickle), named by the SHA-256 of what the features
depend on: the texts, the vectorizer's class and parameters, and the source of the modules that make
them. Matrices are memory-mapped copy-on-write, so that processes share their pages.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from sklearn.pipeline import FeatureUnion

from sentiment.data.splits import Splits
from sentiment.errors import SentimentError
from sentiment.files import locked, whole_folder
from sentiment.text.engine import Engine, give_back
from sentiment.vectorizers import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sentiment.vectorizers.block_matrix import BlockMatrix
from sentiment.vectorizers.blocks import Layout, fit_blocks
from sentiment.vectorizers.fitted import map_private, read_fitted, write_fitted
from sentiment.vectorizers.making import Progress, Sizes

log = logging.getLogger(__name__)

Matrices = dict[str, Any]
"""Sparse matrices, or one in blocks, by split."""

_UNFINISHED = ".blocks"
_STATE, _ABOUT = "state.json", "about.json"  # the latter makes an entry of a folder

# What turns texts into features, whole.
_PACKAGES = ("text", "vectorizers")


@dataclass(frozen=True)
class CachedFeatures:
    """One set of features in the cache.

    Attributes
    ----------
    key : str
        Name of its folder.
    size : int
        Bytes on disk.
    used : float
        When it was last read or written, in seconds since the epoch.
    about : dict
        Data and vectorizer, for people.
    """

    key: str
    size: int
    used: float
    about: dict[str, Any]


class FeatureCache:
    """Features under a folder, the least recently used ones removed when it grows too large.

    Parameters
    ----------
    folder : Path
        Usually ``output_dir/cache/features``.
    max_bytes : int
        What all entries together may take; 0 keeps nothing.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder.absolute()  # tasks on a cluster have another working directory
        self.max_bytes = max_bytes

    def fit(self, vectorizer: Any, splits: Splits) -> Matrices:
        """Fit the vectorizer on the training texts and return every split's features.

        When the same was computed before, here or in another process, it is read instead; while
        another process computes it, this one waits.

        Parameters
        ----------
        vectorizer : estimator
            Fitted in place. Those of `sentiment.vectorizers` and unions of them are cached,
            others are computed every time.
        splits : Splits
            The texts.

        Returns
        -------
        dict of str to csr_matrix
            ``train``, and ``unlabelled``, ``val`` and ``test`` where they hold rows; what is fitted
            has seen the first two.
        """
        if self.max_bytes <= 0 or not _cacheable(vectorizer):
            return _compute(vectorizer, splits)
        about = {"data": splits.name, "vectorizer": _describe(vectorizer)}
        key = _key(vectorizer, splits)
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder / f"{key}.lock"):
            matrices = self._read(key, vectorizer)
            if matrices is None:
                matrices = _compute(vectorizer, splits)
                matrices = self._write(key, vectorizer, matrices, about)
                give_back()
        return matrices

    def fit_blocks(
        self,
        vectorizer: Any,
        splits: Splits,
        texts: Callable[[], Iterator[list[str]]],
        engine: Engine,
        progress: Progress,
        *,
        dtype: npt.DTypeLike | None,
        layout: Layout,
        sizes: Sizes,
        resume: bool,
    ) -> Matrices:
        """Fit the vectorizer on training texts that memory does not hold, and return their features.

        They are a matrix in blocks; `release` removes it unless it is kept for later.

        Parameters
        ----------
        vectorizer : estimator
            Fitted in place.
        splits : Splits
            Say which texts they are.
        texts : callable
            Returns the training texts, some at a time.
        engine : Engine
        progress : callable
        dtype : dtype, optional
            Of the values; without it they are as the vectorizer makes them.
        layout : Layout
        sizes : Sizes
            Of blocks; those of another size are others.
        resume : bool
            Take what an interrupted run has left, and leave it when this one is.
        """
        content = f"{_key(vectorizer, splits)} {dtype} {layout} {sizes}"
        key = hashlib.sha256(content.encode()).hexdigest()
        about = {"data": splits.name, "vectorizer": _describe(vectorizer)}
        work = self.folder / f"{key}{_UNFINISHED}"
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder / f"{key}.lock"):
            matrices = self._read(key, vectorizer, engine)
            if matrices is None and resume:
                matrices = self._read(work.name, vectorizer, engine)
            if matrices is not None:
                return matrices
            if not resume:
                shutil.rmtree(work, ignore_errors=True)
            try:
                X = fit_blocks(
                    vectorizer, texts, work, engine, progress,
                    dtype=dtype, layout=layout, sizes=sizes, n_texts=splits.report["rows_train"],
                )  # fmt: skip
            except OSError as error:
                shutil.rmtree(work, ignore_errors=True)
                raise SentimentError(
                    f"blocks cannot be written under {self.folder} ({error.strerror or error}): "
                    "free some space, or give another place: cache.dir=PATH"
                ) from error
            except BaseException:
                if not resume:
                    shutil.rmtree(work, ignore_errors=True)
                    (self.folder / f"{key}.lock").unlink(missing_ok=True)
                raise
            state = _write_entry(work, vectorizer, {}, X.description())
            read_fitted(vectorizer, state["fitted"], work)  # mapped, as what else is on disk
            if X.size() <= self.max_bytes:
                (work / _ABOUT).write_text(json.dumps(about), encoding="utf-8")
                work.rename(self.folder / key)
                X.folder = self.folder / key / X.folder.name
                self._shrink(keep=key)
            else:
                (self.folder / f"{key}.lock").unlink(missing_ok=True)
        return {"train": X}

    def release(self, X: Any) -> None:
        """Remove a matrix in blocks that is not kept for later."""
        if isinstance(X, BlockMatrix) and X.folder.parent.name.endswith(_UNFINISHED):
            shutil.rmtree(X.folder.parent, ignore_errors=True)
            X.folder.parent.with_suffix(".lock").unlink(missing_ok=True)

    @contextmanager
    def beside(self, X: BlockMatrix) -> Iterator[Path]:
        """Give a place for blocks made of a matrix in blocks, while the body runs, and to it alone.

        What a process that was killed has left there is removed before.
        """
        of = X.folder.parent.name.removesuffix(_UNFINISHED)
        place = self.folder / f"{of}-rows{_UNFINISHED}"
        lock = place.with_suffix(".lock")
        with locked(lock):
            shutil.rmtree(place, ignore_errors=True)
            try:
                yield place
            finally:
                shutil.rmtree(place, ignore_errors=True)
                lock.unlink(missing_ok=True)

    def entries(self) -> list[CachedFeatures]:
        """Return what the cache holds, the most recently used first."""
        found = []
        for about in self.folder.glob(f"*/{_ABOUT}"):
            with contextlib.suppress(OSError, ValueError):  # removed or replaced meanwhile
                size = sum(f.stat().st_size for f in about.parent.rglob("*") if f.is_file())
                described = json.loads(about.read_text(encoding="utf-8"))
                found.append(
                    CachedFeatures(about.parent.name, size, about.stat().st_mtime, described)
                )
        return sorted(found, key=lambda entry: -entry.used)

    def clear(self) -> int:
        """Remove everything and return the bytes that were freed."""
        freed = sum(entry.size for entry in self.entries())
        shutil.rmtree(self.folder, ignore_errors=True)
        return freed

    def _read(self, key: str, vectorizer: Any, engine: Engine | None = None) -> Matrices | None:
        place = self.folder / key
        try:
            state = json.loads((place / _STATE).read_text(encoding="utf-8"))
            matrices: Matrices = {name: _read_matrix(place, name) for name in state["splits"]}
            if blocks := state.get("blocks"):
                assert engine is not None
                matrices["train"] = BlockMatrix(place / "matrix", **blocks, engine=engine)
            read_fitted(vectorizer, state["fitted"], place)
            if (place / _ABOUT).exists():
                os.utime(place / _ABOUT)
        except (OSError, ValueError, KeyError) as error:
            if (place / _STATE).exists() or (place / _ABOUT).exists():
                log.warning("features %s cannot be read (%s): made again", key[:12], error)
                shutil.rmtree(place, ignore_errors=True)
            return None
        log.info("features %s read from the cache", key[:12])
        return matrices

    def _write(
        self, key: str, vectorizer: Any, matrices: Matrices, about: dict[str, Any]
    ) -> Matrices:
        """Write beside and rename, and return what was written, mapped: the system may take its pages.

        A full disk costs the entry, not the run.
        """
        size = sum(X.data.nbytes + X.indices.nbytes + X.indptr.nbytes for X in matrices.values())
        if size > self.max_bytes:
            log.info("features of %.1f GB are not kept: cache.max_gb is smaller", size / 1e9)
            return matrices
        try:
            with whole_folder(self.folder / key) as beside:
                _write_entry(beside, vectorizer, matrices)
                (beside / _ABOUT).write_text(json.dumps(about), encoding="utf-8")
            matrices = {name: _read_matrix(self.folder / key, name) for name in matrices}
        except OSError as error:
            log.warning("features are not kept: %s", error)
            return matrices
        self._shrink(keep=key)
        return matrices

    def _shrink(self, keep: str) -> None:
        entries = self.entries()
        total = sum(entry.size for entry in entries)
        for entry in reversed(entries):
            if total <= self.max_bytes:
                return
            if entry.key != keep:
                # A process that still has it mapped keeps its pages.
                shutil.rmtree(self.folder / entry.key, ignore_errors=True)
                (self.folder / f"{entry.key}.lock").unlink(missing_ok=True)
                total -= entry.size


def _compute(vectorizer: Any, splits: Splits) -> Matrices:
    n_labelled = len(splits.train)
    X = vectorizer.fit_transform([*splits.train.texts, *splits.unlabelled])
    matrices = {"train": X}
    if splits.unlabelled:
        matrices["train"], matrices["unlabelled"] = X[:n_labelled], X[n_labelled:]
    return {**matrices, **_held_out(vectorizer, splits)}


def _held_out(vectorizer: Any, splits: Splits) -> Matrices:
    parts = {"val": splits.val, "test": splits.test}
    return {name: vectorizer.transform(part.texts) for name, part in parts.items() if len(part)}


def _write_entry(
    place: Path,
    vectorizer: Any,
    matrices: Matrices,
    blocks: dict[str, Any] | None = None,
) -> dict[str, Any]:
    for name, X in matrices.items():
        _write_matrix(place, name, X)
    state = {"fitted": write_fitted(vectorizer, place), "splits": list(matrices), "blocks": blocks}
    (place / _STATE).write_text(json.dumps(state), encoding="utf-8")
    return state


def _cacheable(vectorizer: Any) -> bool:
    # Exactly these classes: a subclass may hold more than is stored.
    if type(vectorizer) is FeatureUnion:
        return all(_cacheable(part) for _, part in vectorizer.transformer_list)
    return type(vectorizer) in (CountVectorizer, TfidfVectorizer, HashingVectorizer)


def _describe(vectorizer: Any) -> dict[str, Any]:
    """Return class and parameters as plain values."""
    described: dict[str, Any] = {"class": type(vectorizer).__name__}
    if isinstance(vectorizer, FeatureUnion):
        described["views"] = [_describe(part) for _, part in vectorizer.transformer_list]
        described["weights"] = repr(vectorizer.transformer_weights)
        return described
    parameters = vectorizer.get_params(deep=False)
    parameters["ngram_range"] = list(parameters["ngram_range"])
    return described | {name: _plain(value) for name, value in sorted(parameters.items())}


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple | set | frozenset):
        return sorted(map(str, value)) if isinstance(value, set | frozenset) else list(value)
    if callable(value) and not isinstance(value, type):
        return uuid4().hex  # another time it may do another thing: what it gave is not kept
    return str(np.dtype(value)) if isinstance(value, type | np.dtype) else repr(value)


def _key(vectorizer: Any, splits: Splits) -> str:
    content = [splits.fingerprint(), _describe(vectorizer), code_hash()]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@cache
def code_hash() -> str:
    """Return the SHA-256 of the packages that make features, with the libraries' versions."""
    import sklearn

    digest = hashlib.sha256(f"numpy {np.__version__} scikit-learn {sklearn.__version__}".encode())
    here = Path(__file__).resolve()
    sources = [here]  # it says how features are written and read
    for package in _PACKAGES:
        sources += sorted((here.parents[1] / package).glob("*.py"))
    for source in sources:
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()


def _write_matrix(place: Path, name: str, X: sp.csr_matrix) -> None:
    X.sort_indices()
    for part in ("data", "indices", "indptr"):
        np.save(place / f"{name}-{part}.npy", getattr(X, part))
    np.save(place / f"{name}-shape.npy", np.array(X.shape))


def _read_matrix(place: Path, name: str) -> sp.csr_matrix:
    data, indices, indptr = (
        map_private(place / f"{name}-{part}.npy") for part in ("data", "indices", "indptr")
    )
    shape = tuple(np.load(place / f"{name}-shape.npy", allow_pickle=False).tolist())
    X = sp.csr_matrix((data, indices, indptr), shape=shape, copy=False)
    X.has_sorted_indices = True
    return X
