"""Turn a fitted vectorizer and classifier into the scorer directory (needs scikit-learn)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

import sentiment
from sentiment.compiler.layout import compile_view, is_hashing
from sentiment.compiler.linear import TOLERANCE, NotCompilableError, linear_form
from sentiment.compiler.prune import differences, prune_features
from sentiment.compiler.reference import (
    MAX_REFERENCE,
    golden_cases,
    golden_texts,
    reference_statistics,
)
from sentiment.errors import UsageError
from sentiment.files import whole_folder
from sentiment.scorer.container import Tensors, pack_tensors
from sentiment.scorer.decision import Decision
from sentiment.scorer.document import (
    DOCUMENT_NAME,
    FORMAT,
    WEIGHTS_NAME,
    dump_document,
    format_version,
)
from sentiment.scorer.model import Scorer

__all__ = ["CompiledScorer", "NotCompilableError", "compile_scorer"]

Floats = NDArray[np.float64]

_CHECKED_TEXTS = 256


class CompiledScorer:
    """A scorer in memory, as it will be written.

    Attributes
    ----------
    document : dict
        Content of ``scorer.json``.
    tensors : dict of str to ndarray
        Content of ``weights.safetensors``.
    scorer : Scorer
        The same, ready to score.
    report : dict
        What pruning and a narrower dtype changed, see `sentiment.compiler.prune.differences`; else empty.
    """

    def __init__(
        self, document: dict[str, Any], tensors: Tensors, report: dict[str, Any] | None = None
    ) -> None:
        self.tensors = tensors
        self._weights = pack_tensors(tensors)
        sha256 = hashlib.sha256()
        for chunk in self._weights:
            sha256.update(chunk)
        size = sum(map(len, self._weights))
        document = {**document, "weights": {"sha256": sha256.hexdigest(), "size": size}}
        document["checksum"] = hashlib.sha256(dump_document(document)).hexdigest()
        self.document = document
        self._json = dump_document(document)
        self.digest = hashlib.sha256(self._json).hexdigest()
        self.size_bytes = size + len(self._json)
        self.report = report or {}
        self.extra: dict[str, Any] = {}
        self.scorer = Scorer(document, tensors, digest=self.digest, size_bytes=self.size_bytes)

    def save(self, directory: Path | str) -> str:
        """Write the scorer directory and return its digest.

        The files are written beside the directory and renamed, so that a reader finds all or
        nothing. The same model that already stands there is left alone.

        Parameters
        ----------
        directory : Path
            Usually ``outputs/models/<digest>/scorer``.

        Raises
        ------
        UsageError
            The directory holds something else.
        """
        write_scorer(Path(directory), self._json, WEIGHTS_NAME, self._weights)
        return self.digest


def write_scorer(
    directory: Path, document: bytes, name: str, content: Iterable[bytes | memoryview]
) -> None:
    """Write a scorer directory whole; see `CompiledScorer.save`.

    Parameters
    ----------
    directory : Path
    document : bytes
        Of ``scorer.json``.
    name : str
        Of the file beside it.
    content : iterable of bytes
        Of that file.

    Raises
    ------
    UsageError
        The directory holds something else.
    """
    if directory.exists():
        existing = directory / DOCUMENT_NAME
        if existing.is_file() and existing.read_bytes() == document:
            return
        raise UsageError(f"{directory}: exists and is not this model; choose another directory")
    with whole_folder(directory) as beside:
        with (beside / name).open("wb") as file:
            file.writelines(content)
        (beside / DOCUMENT_NAME).write_bytes(document)


def compile_scorer(
    vectorizer: Any,
    classifier: Any,
    *,
    positive_label: str | None = None,
    reference_texts: Sequence[str] = (),
    reference_labels: Sequence[str] | None = None,
    reference_name: str = "held-out",
    dtype: Literal["float32", "float16"] = "float32",
    prune: float = 0.0,
    decision: Decision | None = None,
) -> CompiledScorer:
    """Compile a fitted vectorizer and classifier.

    Parameters
    ----------
    vectorizer : estimator
        A vectorizer of `sentiment.vectorizers`, or a ``FeatureUnion`` of them.
    classifier : estimator
        Anything that ends in linear scores and one link: ``coef_`` and ``intercept_``, or
        ``feature_log_prob_``; `link_` names the link, else it is found by trying.
    positive_label : str, optional
        The positive class of binary metrics.
    reference_texts : sequence of str
        Texts the model was not trained on: what drift is measured against. The first of them also
        check the compiled answers against the pipeline's. No text is stored.
    reference_labels : sequence of str, optional
        Their true labels: for the accuracy that pruning costs and that monitoring compares with.
    reference_name : str
        What the texts are, e.g. ``test``.
    dtype : {"float32", "float16"}
        Type of the stored values.
    prune : float
        Share of the reference texts whose label may change (0: keep every n-gram).
    decision : Decision, optional
        How probabilities become labels; by default the likeliest is given.

    Returns
    -------
    CompiledScorer

    Raises
    ------
    NotCompilableError
        Names the step that does not compile.
    """
    linear = linear_form(classifier, _probe(vectorizer, reference_texts))
    steps = _views(vectorizer)
    widths = [_width(name, step) for name, step, _ in steps]
    if sum(widths) != linear.coef.shape[1]:
        raise NotCompilableError(
            f"{type(classifier).__name__} has {linear.coef.shape[1]} weights per class, but "
            f"{type(vectorizer).__name__} makes {sum(widths)} features"
        )
    ends = np.cumsum(widths)
    parts = [
        (step, linear.coef[:, end - width : end], factor)
        for (_, step, factor), width, end in zip(steps, widths, ends, strict=True)
    ]
    document: dict[str, Any] = {
        "format": FORMAT,
        "made_with": {"sentiment": sentiment.__version__},
        "labels": [str(label) for label in classifier.classes_],
        "positive_label": positive_label,
        "link": linear.link,
        "intercept": linear.intercept.tolist(),
        **stored_decision(decision),
    }
    document["format_version"] = format_version(document, least=2)
    compiled = _assemble(document, parts, "float32")
    check_against(compiled.scorer, vectorizer, classifier, reference_texts[:_CHECKED_TEXTS])
    # Evenly spread, so that files in the order of their labels are represented too.
    stride = -(-len(reference_texts) // MAX_REFERENCE) or 1
    texts = list(reference_texts[::stride])
    labels = None if reference_labels is None else list(reference_labels[::stride])
    report: dict[str, Any] = {}
    if dtype != "float32" or prune:
        full = compiled
        keep = prune_features(full.scorer, parts, texts, prune) if prune else None
        compiled = _assemble(document, parts, dtype, keep)
        report = differences(full.scorer, compiled.scorer, texts, labels)
    document = {**document, **compiled.extra}
    document["golden"] = golden_cases(compiled.scorer, golden_texts(compiled.scorer))
    if texts:
        document["reference"] = reference_statistics(compiled.scorer, texts, reference_name, labels)
    return CompiledScorer(document, compiled.tensors, report)


def _assemble(
    document: dict[str, Any],
    parts: Sequence[tuple[Any, Floats, float]],
    dtype: str,
    keep: Sequence[NDArray[np.bool_] | None] | None = None,
) -> CompiledScorer:
    """Lay all views out, with every feature or those to keep."""
    views: list[dict[str, Any]] = []
    tensors: Tensors = {}
    n_features = 0
    for number, (step, coef, factor) in enumerate(parts):
        kept = None if keep is None else keep[number]
        view, arrays = compile_view(step, coef, factor, np.dtype(dtype), kept)
        views.append(view)
        tensors.update({f"view{number}.{key}": array for key, array in arrays.items()})
        n_features += coef.shape[1] if kept is None else int(kept.sum())
    extra = {"n_features": n_features, "views": views, "golden": [], "reference": None}
    compiled = CompiledScorer({**document, **extra}, tensors)
    compiled.extra = extra
    return compiled


def stored_decision(decision: Decision | None) -> dict[str, Any]:
    """Return what ``scorer.json`` holds of a decision: nothing of the usual one."""
    return {"decision": decision.to_dict()} if decision else {}


def tolerance(scores: Floats) -> float:
    """Return by how much probabilities of these scores may differ: weights have 24 bits.

    Parameters
    ----------
    scores : float64[n, 1 or labels]
    """
    return max(TOLERANCE, 1e-7 * float(np.abs(scores).max(initial=0.0)))


def check_against(scorer: Scorer, vectorizer: Any, classifier: Any, texts: Sequence[str]) -> None:
    """Compare the compiled answers with the pipeline's.

    Raises
    ------
    NotCompilableError
        A probability differs by more than `tolerance`.
    """
    if not len(texts):
        return
    expected = classifier.predict_proba(vectorizer.transform(list(texts)))
    found = scorer.predict(texts)
    worst = float(np.abs(found.probabilities - expected).max())
    if not worst <= tolerance(found.scores):
        raise NotCompilableError(
            f"{type(classifier).__name__}: its probabilities are not a link of linear scores "
            f"(compiled, they differ by {worst:.2g})"
        )


def _probe(vectorizer: Any, texts: Sequence[str]) -> Callable[[], Any]:
    """Features to try a classifier's link on: of reference texts, else of random rows."""

    def features() -> Any:
        from scipy import sparse

        if len(texts):
            return vectorizer.transform(list(texts[:64])).astype(np.float64)
        n = sum(_width(name, step) for name, step, _ in _views(vectorizer))
        return sparse.random_array((64, n), density=min(1.0, 50 / n), rng=0, format="csr")

    return features


def _views(vectorizer: Any) -> list[tuple[str, Any, float]]:
    """Return (name, vectorizer, factor) of each view, in the order of their columns."""
    if not hasattr(vectorizer, "transformer_list"):
        return [(type(vectorizer).__name__, vectorizer, 1.0)]
    factors = vectorizer.transformer_weights or {}
    return [
        (name, step, float(factors.get(name, 1.0)))
        for name, step in vectorizer.transformer_list
        if step != "drop"
    ]


def _width(name: str, step: Any) -> int:
    functions: list[str] = step.functions() if hasattr(step, "functions") else []
    if functions:
        raise NotCompilableError(
            f"vectorizer {name}: {', '.join(functions)} is a function of Python (or a pattern with "
            "flags), which no scorer holds: use token_pattern, lowercase, strip_accents, normalize"
        )
    if is_hashing(step):
        return int(step.n_features)
    if not (hasattr(step, "index_") and hasattr(step, "spec_")):
        raise NotCompilableError(
            f"vectorizer {name} ({type(step).__module__}.{type(step).__name__}) cannot be "
            "compiled: use one of sentiment.vectorizers"
        )
    return int(step.index_.n_features)
