"""Whether a training fits into memory, or is made in blocks on disk: decided before any work, and said."""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiment.errors import UsageError
from sentiment.files import is_pipe
from sentiment.records import places
from sentiment.records.suffixes import COMPRESSIONS

if TYPE_CHECKING:
    from sentiment.vectorizers.blocks import Layout

log = logging.getLogger(__name__)

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_SHARE = 0.6  # of what the machine or the container has
# 200,000 texts of 80 words with 3.1 million n-grams took 1.3 GB in blocks, asked for 1GB: so little is not
# kept to.
_LEAST = 2 * 10**9
_PROCESS = 450_000_000  # of a training that holds nothing yet: libraries, and the rows held out
_TASKS = 0.35  # of the rest; the vocabulary and vectors over it need theirs
# What a training takes for a byte of text. In memory 14 where sentences repeat and nearly every
# n-gram is kept, and 18 where the features have no place in the cache; on disk 12 to 16
# (tests/benchmarks/bench_scale.py), and more with the number of n-grams.
_MEMORY_PER_BYTE = 20
_DISK_PER_BYTE = 18
# What a training has that has made its features in blocks, beside its n-grams; measured.
_AFTER_TASKS = 850_000_000
# Bytes of an n-gram: the table that finds it and the compiled model, and for each score a weight in both.
_FOUND, _SCORED = 48, 20
# Of its weights while they are solved for, for each score; measured, or counted from the vectors.
_SOLVED = {
    "NBSVM": 40,
    "lbfgs": 340,  # L-BFGS keeps twice ten steps
    "newton-cg": 120,
    "sag": 60,
    "saga": 60,
    "SGDClassifier": 50,
}
# A byte of a packed file is so many of text.
_PACKED = 3
_CHARACTERS = 4  # n-grams of characters a text has for one of words
_VECTORIZERS = ("TfidfVectorizer", "CountVectorizer", "HashingVectorizer")
# What scikit-learn's logistic regression cannot do in blocks, by its solver.
_WHOLE_ONLY = {
    "liblinear": "copies all features into memory",
    "newton-cholesky": "makes a square as wide as all features",
}
# Solvers' products want the columns too; descent along the gradient draws single rows.
_LAYOUTS: Mapping[str, Layout] = {
    "NBSVM": "columns",
    "LogisticRegression": "columns",
    "MultinomialNB": "rows",
    "ComplementNB": "rows",
    "SGDClassifier": "whole",
}


def parse_bytes(text: str, key: str) -> int:
    """Return the number of bytes that is meant, such as ``4GB``.

    Raises
    ------
    UsageError
        None is.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?\s*", text, re.IGNORECASE)
    if match is None:
        raise UsageError(f"{key}={text}: give a size such as 4GB or 500MB")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def available() -> int:
    """Return the bytes of memory of this machine, or those that its container may use."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for file in (
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ):
        try:
            found = min(found, int(Path(file).read_text(encoding="ascii")))
        except (OSError, ValueError):
            continue
    return found


def limit(given: object) -> int:
    """Return the bytes that ``data.memory`` allows: by default, and for 0, a share of what there is.

    Raises
    ------
    UsageError
        It is no size.
    """
    asked = 0 if given is None else parse_bytes(str(given), "data.memory")
    return asked or int(_SHARE * available())


def for_tasks(given: object) -> int:
    """Return the bytes of ``data.memory`` that tasks on blocks may take together.

    The rest is for the process, the vocabulary and vectors as long as it.

    Parameters
    ----------
    given : str, int or None
        The key ``data.memory``.
    """
    return int(_TASKS * max(limit(given) - _PROCESS, _PROCESS))


def check_vocabulary(given: object, n_ngrams: int, classifier: Any, n_classes: int) -> None:
    """Say when n-grams and their weights take more than ``data.memory``: blocks bound all but that.

    Parameters
    ----------
    given : str, int or None
        The key ``data.memory``.
    n_ngrams : int
        That were found.
    classifier : estimator
        Will learn a weight of each.
    n_classes : int
    """
    n_scores = 1 if n_classes == 2 else n_classes
    name = type(classifier).__name__
    solver = getattr(classifier, "solver", name)
    solved = _SOLVED.get(solver, _SOLVED["SGDClassifier"]) * n_scores
    needed = _AFTER_TASKS + n_ngrams * max(_FOUND + _SCORED * n_scores, solved)
    if needed > limit(given):
        other = " (or model=nbsvm model.loss=log_loss, which solves in less)"
        log.warning(
            "%s n-grams take about %s, more than data.memory: vectorizer.min_df=5 or "
            "vectorizer.max_features=1000000 leaves fewer%s", f"{n_ngrams:,}", _gb(needed),
            other if solver == "lbfgs" else "",
        )  # fmt: skip


def wants_blocks(
    settings: Mapping[str, Any],
    *,
    vectorizer: Mapping[str, Any],
    model: Mapping[str, Any],
    folds: bool = False,
    curve: bool = False,
    cache: Path,
) -> bool:
    """Tell whether the training rows are kept on disk.

    Parameters
    ----------
    settings : mapping
        The node ``data``.
    vectorizer, model : mapping
        The nodes.
    folds : bool
        Whether there are any: the rows of one after the other are written once more.
    curve : bool
        Whether a learning curve is asked for.
    cache : Path
        Where blocks would lie.

    Raises
    ------
    UsageError
        ``data.memory`` asks for what cannot be, or there is no space for blocks.
    """
    given = settings.get("memory")
    if settings.get("streaming") or settings["source"] != "files" or settings["train"] is None:
        if given is not None:
            raise UsageError(f"data.memory={given} bounds data=files without data.streaming")
        return False
    always = given is not None and parse_bytes(str(given), "data.memory") == 0
    most = limit(given)
    size = text_size(settings["train"])
    extent = _extent(vectorizer)
    needed = _PROCESS + size * _MEMORY_PER_BYTE * extent
    if needed <= most and not always:
        return False
    if given is not None and most < _LEAST and not always:
        raise UsageError(
            f"data.memory={given} is too little: {_gb(size)} of text take about {_gb(needed)}, and "
            "blocks up to 2 GB (data.memory=2GB, or 0 for blocks always)"
        )
    reason = _unsupported(settings, vectorizer, model, folds, curve)
    shown = f"{_gb(size)} of text take about {_gb(needed)} of memory"
    shown += f" (data.memory={given})" if always else f", more than {_gb(most)}"
    if reason:
        if given is not None:
            raise UsageError(f"{shown}, and blocks cannot: {reason}")
        log.warning("%s, and blocks cannot: %s", shown, reason)
        return False
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{shown}: no blocks can be written under {cache} ({error.strerror}); give another place: "
            "cache.dir=PATH"
        ) from error
    free = shutil.disk_usage(cache).free
    disk = size * _DISK_PER_BYTE * extent * (2 if folds else 1)
    if free < disk:
        raise UsageError(
            f"{shown}: blocks need about {_gb(disk)} under {cache}, where "
            f"{_gb(free)} are free; give another place: cache.dir=PATH"
        )
    log.warning("%s: trained in blocks under %s", shown, cache)
    return True


def text_size(where: str) -> int:
    """Return about how many bytes of text files hold."""
    total = 0
    for place in places.find(where):
        if is_pipe(place.path):
            continue  # refused where rows are read
        stream, size = places.open_read(place.path)
        stream.close()
        packed = Path(places.plain_name(place.path)).suffix.lower() in {
            *COMPRESSIONS, ".parquet", ".pq",
        }  # fmt: skip
        total += size * (_PACKED if packed else 1)
    return total


def layout(classifier: str, solver: str | None = None) -> Layout | None:
    """Return how the features lie on disk that a classifier learns from; None: it needs them in memory.

    Parameters
    ----------
    classifier : str
        Name of its class.
    solver : str, optional
        Its parameter of that name.
    """
    if classifier == "LogisticRegression" and solver != "lbfgs":
        return None if solver in _WHOLE_ONLY else "whole"  # where it lies
    return _LAYOUTS.get(classifier)


def _unsupported(
    settings: Mapping[str, Any],
    vectorizer: Mapping[str, Any],
    model: Mapping[str, Any],
    folds: bool,
    curve: bool,
) -> str | None:
    for name in map(_class, _views(vectorizer)):
        if name not in _VECTORIZERS:
            return (
                f"{name} keeps its features in memory (vectorizer=tfidf, char, count or hashing, or a "
                "union of such)"
            )
    name, solver = _class(model), model.get("solver", "lbfgs")
    if name == "LogisticRegression" and layout(name, solver) is None:
        return f"model.solver={solver} {_WHOLE_ONLY[solver]} (model.solver=lbfgs or saga)"
    if layout(name, solver) is None:
        return (
            f"{name} learns from all features in memory (model=nbsvm, logreg, naive_bayes or sgd; a "
            "linear SVM is model=nbsvm model.beta=0)"
        )
    if settings.get("split", "hash") != "hash":
        return f"data.split={settings['split']} draws from all rows (data.split=hash)"
    if folds and settings.get("group_column"):
        return (
            "folds keep the groups of data.group_column together, which asks for all rows (cv=null; "
            "for a decision decision.tuned_on=validation)"
        )
    if curve:
        return "a learning curve draws from all rows (curve=false)"
    for key in (
        "sample_size",
        "also",
        "unlabelled",
        "on_leak",
        "corrections",
        "slice_columns",
        "soft_labels",
        "weight_column",
        "report",
    ):
        if settings.get(key):
            return f"data.{key} needs all rows (data.{key}=null)"
    return None


def _class(node: Mapping[str, Any]) -> str:
    return str(node.get("_target_", "")).rpartition(".")[2]


def _views(vectorizer: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the vectorizers of a union, and of those within it."""
    if _class(vectorizer) != "FeatureUnion":
        yield vectorizer
        return
    for _, view in vectorizer.get("transformer_list", ()):
        yield from _views(view if isinstance(view, Mapping) else {"_target_": str(view)})


def _extent(vectorizer: Mapping[str, Any]) -> float:
    """Return how many n-grams a text has, beside one's words, pairs and triples of words."""
    found = 0.0
    for view in _views(vectorizer):
        low, high = view.get("ngram_range", (1, 1))
        found += (high - low + 1) * (1 if view.get("analyzer", "word") == "word" else _CHARACTERS)
    return max(1.0, found / 3)


def _gb(n: float) -> str:
    return f"{n / 1e9:.1f} GB" if n >= 1e8 else f"{n / 1e6:.1f} MB"
