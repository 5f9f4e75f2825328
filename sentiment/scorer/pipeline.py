"""A model that does not compile, behind the doors of one that does: slower, and it needs scikit-learn.

The file is in skops format. Types are built only when they stand on the list here or when who loads
has named them (`trust`, ``SENTIMENT_TRUSTED_TYPES``); what the file says of itself is never trusted.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sentiment.errors import DISTRIBUTION, ModelError
from sentiment.scorer.document import DOCUMENT_NAME, PIPELINE_NAME, check_weights
from sentiment.scorer.model import Scorer
from sentiment.scorer.prediction import Floats, Prediction, Predictions

if TYPE_CHECKING:
    from sentiment.scorer.explain import ClassFeature
    from sentiment.scorer.explanation import Explanation

TRUSTED_VARIABLE = "SENTIMENT_TRUSTED_TYPES"
# Beside what skops itself trusts (numpy, and scikit-learn's public estimators): parts of these
# estimators, and the classes that our own packages define.
_TYPES = frozenset(
    [
        "scipy.sparse._csr.csr_array",
        "scipy.sparse._csr.csr_matrix",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.feature_selection._univariate_selection.chi2",
        "sklearn.feature_selection._univariate_selection.f_classif",
        "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
        "sklearn.gaussian_process.kernels.ConstantKernel",
        "sklearn.gaussian_process.kernels.Product",
        "sklearn.gaussian_process.kernels.RBF",
        "sklearn.metrics._dist_metrics.EuclideanDistance64",
        "sklearn.neighbors._ball_tree.BallTree",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "sklearn.tree._tree.Tree",
        "sklearn.utils._bunch.Bunch",
    ]
)
_PACKAGES = ("sentiment.models.", "sentiment.text.", "sentiment.vectorizers.")
_BLOCK = 1000  # texts whose features are held at once
_LEAST = 1e-12  # a tree is sure: its logarithm must stay a number
_MOST_WORDS = 300  # that an explanation leaves out one by one
_WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")


class PipelineScorer(Scorer):
    """A fitted vectorizer and classifier with a `Scorer`'s methods.

    Parameters
    ----------
    document : dict
        Content of ``scorer.json``.
    pipeline : Pipeline
        Two steps; the last has ``predict_proba`` and ``classes_``.
    digest : str
    size_bytes : int
    path : Path, optional
    """

    compiled = False
    # Sums of many trees or layers: another processor adds them up in another order.
    golden_tolerance = 1e-6

    def __init__(
        self,
        document: dict[str, Any],
        pipeline: Any,
        *,
        digest: str,
        size_bytes: int,
        path: Path | None = None,
    ) -> None:
        self._describe(document, digest, size_bytes, path)
        self.views = []  # it has no weights to show
        self.pipeline = pipeline
        self._before, self._classifier = pipeline[:-1], pipeline[-1]
        if [str(label) for label in self._classifier.classes_] != list(self.labels):
            raise ValueError("labels and classes do not match")

    def predict(
        self, texts: Iterable[str], each: Callable[..., Iterable[Any]] = map
    ) -> Predictions:
        """Score texts; see `Scorer.predict`. Its estimators have threads of their own.

        ``scores`` are log-odds of two classes, else logarithms of the probabilities; a text is
        wholly unknown when the vectorizer finds nothing in it.
        """
        if isinstance(texts, str):
            raise TypeError("give a list of texts, not one text")
        texts = texts if isinstance(texts, list) else list(texts)
        parts = [np.empty((0, len(self.labels)))]
        nothing = [np.empty(0, dtype=bool)]
        blocks = [texts[begin : begin + _BLOCK] for begin in range(0, len(texts), _BLOCK)]
        scored: Iterable[Any] = map(self._score_block, blocks)
        if self.follow is not None and len(blocks) > 1:
            scored = self.follow(scored, list(map(len, blocks)))
        for probabilities_of_block, empty in scored:
            parts.append(probabilities_of_block)
            nothing.append(empty)
        probabilities = np.concatenate(parts)
        logs = np.log(np.maximum(probabilities, _LEAST))
        scores = logs[:, 1:] - logs[:, :1] if len(self.labels) == 2 else logs
        n_tokens = np.array([len(_WORD.findall(text)) for text in texts], dtype=np.int64)
        n_unknown = np.where(np.concatenate(nothing), n_tokens, 0)
        return self._predictions(probabilities, scores, n_tokens, n_unknown)

    def _score_block(self, texts: Sequence[str]) -> tuple[Floats, NDArray[np.bool_]]:
        """Return probabilities, and of which texts nothing is known."""
        found = self._before.transform(texts)
        probabilities = np.asarray(self._classifier.predict_proba(found), np.float64)
        return probabilities, np.asarray(abs(found).sum(axis=1)).ravel() == 0

    def predict_one(self, text: str) -> Prediction:
        """Score one text."""
        return self.predict_each([text])[0]

    def predict_each(self, texts: Sequence[str]) -> list[Prediction]:
        """Score a few texts together."""
        found = self.predict(list(texts))
        return [
            Prediction(label, confidence, tuple(row), tuple(scores), tokens, unknown)
            for label, confidence, row, scores, tokens, unknown in zip(
                found.labels,
                found.confidence.tolist(),
                found.probabilities.tolist(),
                found.scores.tolist(),
                found.n_tokens.tolist(),
                found.n_unknown.tolist(),
                strict=True,
            )
        ]

    def explain(self, text: str, top: int | None = None) -> Explanation:
        """Return what each word changes: the score less that of the text without the word.

        ``intercept`` is the score of an empty text; ``rest`` makes the sum exact: words that `top`
        left out, and what words say only together.

        Parameters
        ----------
        text : str
        top : int, optional
            Keep only that many words, the strongest; by default all.
        """
        from sentiment.scorer.explanation import Contribution, Explanation

        places: dict[str, list[tuple[int, int]]] = {}
        for match in _WORD.finditer(text):
            places.setdefault(match.group().lower(), []).append(match.span())
        words = list(places)[:_MOST_WORDS]
        found = self.predict([text, "", *(_without(text, places[word]) for word in words)])
        score, empty = found.scores[0], found.scores[1]
        changes = score - found.scores[2:]
        items = [
            Contribution(word, len(places[word]), tuple(change), tuple(places[word]))
            for word, change in zip(words, changes.tolist(), strict=True)
            if any(change)
        ]
        items.sort(key=lambda item: (-max(map(abs, item.scores)), item.ngram))
        kept = items if top is None else items[:top]
        told: Floats = np.array([item.scores for item in kept]).reshape(-1, len(score)).sum(axis=0)
        return Explanation(
            found.labels[0],
            dict(zip(self.labels, found.probabilities[0].tolist(), strict=True)),
            kept,
            tuple((score - empty - told).tolist()),
            tuple(empty.tolist()),
            tuple(score.tolist()),
            self.labels[1:] if len(score) == 1 else self.labels,
            text,
        )

    def top_features(self, n: int = 20) -> dict[str, list[ClassFeature]]:
        """Return nothing: no feature has one weight here."""
        return {}


def open_pipeline(
    path: Path, document: dict[str, Any], digest: str, *, verify: bool
) -> PipelineScorer:
    """Load the directory of a pipeline whose ``scorer.json`` has been read; see `Scorer.load`."""
    file = path / PIPELINE_NAME
    try:
        data = file.read_bytes()  # once: what is checked is what is loaded
    except OSError as error:
        raise ModelError(f"{file}: cannot be read ({error})") from None
    check_weights(path, document, memoryview(data), verify=verify)
    size = len(data) + (path / DOCUMENT_NAME).stat().st_size
    pipeline = load_pipeline(file, data)
    return PipelineScorer(document, pipeline, digest=digest, size_bytes=size, path=path)


def trust(names: Iterable[str]) -> None:
    """Trust these types from now on, in this process and those that it starts.

    Parameters
    ----------
    names : iterable of str
        ``package.module.Class`` each.
    """
    known = _named_by_user()
    os.environ[TRUSTED_VARIABLE] = ",".join(
        [*known, *(name for name in names if name not in known)]
    )


def untrusted_types(source: Path | bytes) -> list[str]:
    """Return the types in a skops file that neither the list nor who loads it trusts."""
    import skops.io

    # Where version 0.1 kept what is in `sentiment.text` now.
    sys.modules.setdefault("sentiment.ngrams", import_module("sentiment.text.ngrams"))
    named = (
        skops.io.get_untrusted_types(data=source)
        if isinstance(source, bytes)
        else skops.io.get_untrusted_types(file=source)
    )
    by_user = _named_by_user()
    return sorted(name for name in set(named) if name not in by_user and not _is_trusted(name))


def load_pipeline(path: Path, data: bytes) -> Any:
    """Make a pipeline of the bytes of a file in skops format.

    Raises
    ------
    ModelError
        It is damaged, holds a type that is not trusted, or scikit-learn or skops is missing.
    """
    try:
        import skops.io
    except ImportError as error:
        raise ModelError(
            f"{path}: this model does not compile, and without scikit-learn and skops "
            f"({error.name} is missing) it cannot be used: pip install {DISTRIBUTION}, or take the "
            "training image"
        ) from None
    try:
        unknown = untrusted_types(data)
        named = skops.io.get_untrusted_types(data=data)
        pipeline = None if unknown else skops.io.loads(data, trusted=named)
    except Exception as error:  # skops has no error class of its own for damaged files
        text = " ".join(str(error).split())[:200]
        raise ModelError(f"{path}: not a whole skops file ({text})") from None
    if unknown:
        raise ModelError(
            f"{path}: holds types that are not trusted: {', '.join(unknown)}; if you trust them: "
            f"{TRUSTED_VARIABLE}={','.join(unknown)}"
        )
    return pipeline


def _named_by_user() -> list[str]:
    return [name for name in os.environ.get(TRUSTED_VARIABLE, "").split(",") if name]


def _is_trusted(name: str) -> bool:
    if name in _TYPES:
        return True
    module, _, attribute = name.rpartition(".")
    if not f"{module}.".startswith((*_PACKAGES, "sentiment.ngrams.")):
        return False
    try:
        found = getattr(import_module(module), attribute, None)
    except ImportError:
        return False
    # What a module has only imported is not its own.
    return isinstance(found, type) and found.__module__.startswith(_PACKAGES)


def _without(text: str, spans: Sequence[tuple[int, int]]) -> str:
    parts, done = [], 0
    for start, end in spans:
        parts.append(text[done:start])
        done = end
    return "".join([*parts, text[done:]])
