"""Turn a fitted vectorizer and classifier into the scorer directory (needs scikit-learn)."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

import sentiment
from sentiment.errors import UsageError
from sentiment.scorer.container import Tensors, pack_tensors
from sentiment.scorer.model import (
    DOCUMENT_NAME,
    FORMAT,
    FORMAT_VERSION,
    LINKS,
    WEIGHTS_NAME,
    Scorer,
    dump_document,
    link,
)
from sentiment.scorer.table import build_table
from sentiment.scorer.view import NgramView

Floats = NDArray[np.float64]

TOLERANCE = 1e-6
_CHECKED_TEXTS = 256


class NotCompilableError(UsageError):
    """A step of the pipeline does not end in linear scores and one link; the message names it."""


@dataclass(frozen=True, slots=True)
class Linear:
    """What a classifier comes down to: ``link(X @ coef.T + intercept)``.

    Attributes
    ----------
    coef : float64[scores, n_features]
    intercept : float64[scores]
    link : str
    """

    coef: Floats
    intercept: Floats
    link: str


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
        Sizes, and what pruning and the narrower dtype changed.
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
        directory = Path(directory)
        if directory.exists():
            existing = directory / DOCUMENT_NAME
            if existing.is_file() and existing.read_bytes() == self._json:
                return self.digest
            raise UsageError(f"{directory}: exists and is not this model; choose another directory")
        directory.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=".scorer-", dir=directory.parent))
        try:
            with (beside / WEIGHTS_NAME).open("wb") as file:
                file.writelines(self._weights)
            (beside / DOCUMENT_NAME).write_bytes(self._json)
            beside.chmod(0o755)
            try:
                beside.rename(directory)
            except OSError:
                # Another process has just written the same model.
                if not (directory / DOCUMENT_NAME).is_file():
                    raise
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        return self.digest


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

    Returns
    -------
    CompiledScorer

    Raises
    ------
    NotCompilableError
        Names the step that does not compile.
    """
    linear = linear_form(classifier, _probe(vectorizer, reference_texts))
    labels = [str(label) for label in classifier.classes_]
    views: list[dict[str, Any]] = []
    tensors: Tensors = {}
    n_features = 0
    for number, (name, step, factor) in enumerate(_views(vectorizer)):
        width = _width(name, step)
        coef = linear.coef[:, n_features : n_features + width] * factor
        view, arrays = _compile_view(name, step, coef, np.dtype(dtype))
        views.append(view)
        tensors.update({f"view{number}.{key}": array for key, array in arrays.items()})
        n_features += width
    if n_features != linear.coef.shape[1]:
        raise NotCompilableError(
            f"{type(classifier).__name__} has {linear.coef.shape[1]} weights per class, but "
            f"{type(vectorizer).__name__} makes {n_features} features"
        )
    document: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "made_with": {"sentiment": sentiment.__version__},
        "labels": labels,
        "positive_label": positive_label,
        "link": linear.link,
        "intercept": linear.intercept.tolist(),
        "n_features": n_features,
        "views": views,
        "golden": [],
        "reference": None,
    }
    compiled = CompiledScorer(document, tensors)
    check_against(compiled.scorer, vectorizer, classifier, reference_texts[:_CHECKED_TEXTS])
    from sentiment.scorer.reference import golden_texts, reference_statistics

    texts = golden_texts(compiled.scorer)
    answers = compiled.scorer.predict(texts).probabilities.tolist()
    document["golden"] = [
        {"text": text, "probabilities": answer} for text, answer in zip(texts, answers, strict=True)
    ]
    if len(reference_texts):
        document["reference"] = reference_statistics(
            compiled.scorer, reference_texts, reference_name, reference_labels
        )
    return CompiledScorer(document, tensors)


def check_against(scorer: Scorer, vectorizer: Any, classifier: Any, texts: Sequence[str]) -> None:
    """Compare the compiled answers with the pipeline's.

    Raises
    ------
    NotCompilableError
        A probability differs by more than 1e-6.
    """
    if not len(texts):
        return
    expected = classifier.predict_proba(vectorizer.transform(list(texts)))
    worst = float(np.abs(scorer.predict(texts).probabilities - expected).max())
    if not worst <= TOLERANCE:
        raise NotCompilableError(
            f"{type(classifier).__name__}: its probabilities are not a link of linear scores "
            f"(compiled, they differ by {worst:.2g})"
        )


def _probe(vectorizer: Any, texts: Sequence[str]) -> Callable[[], Any]:
    """Features to try a classifier's link on: of reference texts, else of random rows."""

    def features() -> Any:
        from scipy import sparse

        if len(texts):
            return vectorizer.transform(list(texts[:64]))
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


def _is_hashing(step: Any) -> bool:
    return hasattr(step, "spec_") and hasattr(step, "alternate_sign")


def _width(name: str, step: Any) -> int:
    if _is_hashing(step):
        return int(step.n_features)
    if not (hasattr(step, "index_") and hasattr(step, "spec_")):
        raise NotCompilableError(
            f"vectorizer {name} ({type(step).__module__}.{type(step).__name__}) cannot be "
            "compiled: use one of sentiment.vectorizers"
        )
    return int(step.index_.n_features)


def _compile_view(
    name: str, step: Any, coef: Floats, dtype: np.dtype[Any]
) -> tuple[dict[str, Any], Tensors]:
    view: dict[str, Any] = {
        "text": step.spec_.to_dict(),
        "tf": step.tf_,
        "norm": step.norm,
    }
    if _is_hashing(step):
        view |= {"kind": "hashing", "alternate_sign": bool(step.alternate_sign)}
        inside = np.ones(coef.shape[1])
        columns = np.arange(coef.shape[1])
        return view, {"values": _values(coef, inside, columns, len(columns), step.norm, dtype)}
    index = step.index_
    idf = np.ones(coef.shape[1]) if step.idf_ is None else np.asarray(step.idf_, dtype=np.float64)
    n_tokens = len(index.tokens)
    base, keys, columns, orders = _keys(index, n_tokens)
    table, slots = build_table(keys)
    first = index.levels[0].column
    of_tokens = np.flatnonzero(first >= 0)
    if len(of_tokens):
        orders = [1, *orders]
    rows = np.concatenate([of_tokens + 1, slots + n_tokens + 2])
    n_rows = n_tokens + 2 + len(table.keys)
    all_columns = np.concatenate([first[of_tokens], columns])
    text = "".join(index.tokens)
    view |= {
        "kind": NgramView.kind,
        "base": base,
        "orders": orders,
        "multiplier": table.multiplier,
        "n_documents": int(step.n_documents_),
    }
    return view, {
        "tokens": np.frombuffer(text.encode(), dtype=np.uint8),
        "token_lengths": np.array([len(token) for token in index.tokens], dtype=np.uint32),
        "document_frequency": index.levels[0].df.astype(np.uint32),
        "keys": table.keys,
        "displacements": table.displacements,
        "values": _values(coef[:, all_columns], idf[all_columns], rows, n_rows, step.norm, dtype),
    }


def _values(
    coef: Floats,
    inside: Floats,
    rows: NDArray[Any],
    n_rows: int,
    norm: str | None,
    dtype: np.dtype[Any],
) -> NDArray[Any]:
    """Lay weights out by row; the factor inside the norm stands first where there is a norm."""
    weighted = (coef * inside).T
    if norm is not None:
        weighted = np.column_stack([inside, weighted])
    values = np.zeros((n_rows, weighted.shape[1]), dtype=dtype)
    values[rows] = weighted
    return values


def _keys(index: Any, n_tokens: int) -> tuple[int, NDArray[np.uint64], NDArray[Any], list[int]]:
    """Return base, and key and column of every feature of two tokens and more, and their orders."""
    base = n_tokens + 2
    if base ** len(index.levels) >= 2**64:
        raise NotCompilableError(
            f"{len(index.levels)}-grams of {n_tokens} tokens do not fit 64 bits"
        )
    keys = index.levels[0].last.astype(np.uint64) + np.uint64(1)
    kept_keys, kept_columns, orders = [], [], []
    for order, level in enumerate(index.levels[1:], start=2):
        keys = keys[level.prefix] * np.uint64(base) + level.last.astype(np.uint64) + np.uint64(1)
        features = level.column >= 0
        if features.any():
            orders.append(order)
        kept_keys.append(keys[features])
        kept_columns.append(level.column[features])
    if not kept_keys:
        return base, np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.int64), orders
    return base, np.concatenate(kept_keys), np.concatenate(kept_columns), orders


def linear_form(classifier: Any, probe: Callable[[], Any]) -> Linear:
    """Return the linear scores and the link that a fitted classifier comes down to.

    Parameters
    ----------
    classifier : estimator
        Fitted.
    probe : callable
        Returns features to try links on, for a classifier that does not name its link.

    Raises
    ------
    NotCompilableError
        It has no linear scores, or no link gives its probabilities.
    """
    name = type(classifier).__name__
    n_classes = len(classifier.classes_)
    if hasattr(classifier, "calibrated_classifiers_"):
        return _calibrated(classifier, n_classes)
    if hasattr(classifier, "coef_") and hasattr(classifier, "intercept_"):
        coef = np.atleast_2d(np.asarray(classifier.coef_, dtype=np.float64))
        intercept = np.broadcast_to(
            np.asarray(classifier.intercept_, dtype=np.float64).ravel(), (len(coef),)
        )
    elif hasattr(classifier, "feature_log_prob_"):
        coef = np.asarray(classifier.feature_log_prob_, dtype=np.float64)
        # ComplementNB has priors but does not use them with two classes and more.
        uses_prior = not hasattr(classifier, "first_order_polynomials_") and name != "ComplementNB"
        prior = getattr(classifier, "class_log_prior_", None)
        intercept = (
            np.asarray(prior, dtype=np.float64)
            if uses_prior and prior is not None
            else np.zeros(len(coef))
        )
    else:
        raise NotCompilableError(
            f"classifier {name} cannot be compiled: it has neither coef_ and intercept_ "
            "nor feature_log_prob_"
        )
    if not hasattr(classifier, "predict_proba"):
        raise NotCompilableError(
            f"classifier {name} gives no probabilities: wrap it in CalibratedClassifierCV "
            "(method=sigmoid, ensemble=False)"
        )
    candidates = _candidates(coef, intercept.copy(), n_classes)
    named = getattr(classifier, "link_", None)
    if named is not None:
        candidates = [candidate for candidate in candidates if candidate.link == named]
    if named is None or not candidates:
        X = probe()
        expected = classifier.predict_proba(X)
        candidates = [
            candidate
            for candidate in candidates
            if np.abs(
                link(candidate.link, np.asarray(X @ candidate.coef.T) + candidate.intercept)
                - expected
            ).max()
            <= TOLERANCE
        ]
    if not candidates:
        raise NotCompilableError(
            f"classifier {name} cannot be compiled: its probabilities are none of "
            f"{', '.join(LINKS)} of its linear scores"
        )
    return candidates[0]


def _candidates(coef: Floats, intercept: Floats, n_classes: int) -> list[Linear]:
    """Return the readings of linear scores that give as many probabilities as classes."""
    if len(coef) == 1 and n_classes == 2:
        return [Linear(coef, intercept, "sigmoid")]
    if len(coef) != n_classes:
        return []
    if n_classes == 2:
        # The softmax of two scores is the sigmoid of their difference.
        return [
            Linear(coef[1:] - coef[:1], intercept[1:] - intercept[:1], "sigmoid"),
            Linear(coef, intercept, "ovr_sigmoid_normalized"),
        ]
    return [
        Linear(coef, intercept, "softmax"),
        Linear(coef, intercept, "ovr_sigmoid_normalized"),
    ]


def _calibrated(classifier: Any, n_classes: int) -> Linear:
    """Fold Platt's slope and offset into the weights: calibration is affine in the score."""
    parts = classifier.calibrated_classifiers_
    inner = parts[0].estimator
    if len(parts) != 1 or not hasattr(inner, "coef_") or parts[0].method != "sigmoid":
        raise NotCompilableError(
            "CalibratedClassifierCV cannot be compiled unless it is one linear model with one "
            "sigmoid: use ensemble=False and method=sigmoid around a linear classifier"
        )
    coef = np.atleast_2d(np.asarray(inner.coef_, dtype=np.float64))
    intercept = np.broadcast_to(np.asarray(inner.intercept_, dtype=np.float64), (len(coef),))
    slope = -np.array([calibrator.a_ for calibrator in parts[0].calibrators])
    offset = -np.array([calibrator.b_ for calibrator in parts[0].calibrators])
    return Linear(
        coef * slope[:, None],
        intercept * slope + offset,
        "sigmoid" if n_classes == 2 else "ovr_sigmoid_normalized",
    )
