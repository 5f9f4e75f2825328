"""The compiled model: load a scorer directory, verify it, and score texts with numpy alone."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sentiment.errors import ModelError
from sentiment.scorer.container import Tensors, map_tensors
from sentiment.scorer.view import HashView, NgramView, View, contributions
from sentiment.text import MANY_CHARACTERS

if TYPE_CHECKING:
    from sentiment.scorer.explain import ClassFeature, Explanation

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FORMAT = "sentiment-scorer"
FORMAT_VERSION = 1
DOCUMENT_NAME = "scorer.json"
WEIGHTS_NAME = "weights.safetensors"
GOLDEN_TOLERANCE = 1e-9
ABSTAIN = "abstain"
"""The label of an answer whose confidence is below what the caller asked for."""
_VIEWS: dict[str, type[View]] = {"ngrams": NgramView, "hashing": HashView}


class Prediction(NamedTuple):
    """What the model says of one text.

    Attributes
    ----------
    label : str
        The label of the highest score.
    confidence : float
        Its probability.
    probabilities : tuple of float
        One per label, in the order of `Scorer.labels`; they add up to 1.
    scores : tuple of float
        Before the link: one for two classes (the second label's), else one per class.
    n_tokens, n_unknown : int
        Tokens of the text, and how many of them the model does not know.
    """

    label: str
    confidence: float
    probabilities: tuple[float, ...]
    scores: tuple[float, ...]
    n_tokens: int
    n_unknown: int


@dataclass(frozen=True, slots=True)
class Predictions:
    """What the model says of n texts.

    Attributes
    ----------
    labels : list of str
    confidence : float64[n]
    probabilities : float64[n, labels]
    scores : float64[n, 1 or labels]
    n_tokens, n_unknown : int64[n]
    """

    labels: list[str]
    confidence: Floats
    probabilities: Floats
    scores: Floats
    n_tokens: Ints
    n_unknown: Ints

    def __len__(self) -> int:
        return len(self.labels)


class Scorer:
    """A compiled model. Make one with `Scorer.load`; it is safe to use from many threads."""

    def __init__(
        self,
        document: dict[str, Any],
        tensors: Tensors,
        *,
        digest: str,
        size_bytes: int,
        path: Path | None = None,
    ) -> None:
        self.path = path
        self.document = MappingProxyType(document)
        self.labels: tuple[str, ...] = tuple(document["labels"])
        self.positive_label: str | None = document["positive_label"]
        self.digest = digest
        self.size_bytes = size_bytes
        self.n_features = int(document["n_features"])
        self.link = str(document["link"])
        self.intercept: Floats = np.array(document["intercept"], dtype=np.float64)
        self._bias = float(self.intercept[0])
        self.views: list[View] = [
            _VIEWS[view["kind"]](view, tensors, f"view{number}")
            for number, view in enumerate(document["views"])
        ]
        n_scores = 1 if self.link == "sigmoid" else len(self.labels)
        if (
            not self.views
            or self.link not in _LINKS
            or len(self.labels) < 2
            or self.intercept.shape != (n_scores,)
        ):
            raise ValueError("labels, link and intercept do not match")
        for view in self.views:
            if view.values.shape[1:] != (n_scores + (view.norm is not None),):
                raise ValueError("values and scores do not match")

    @classmethod
    def load(cls, path: Path | str, *, digest: str | None = None, verify: bool = True) -> Scorer:
        """Load a scorer directory.

        Parameters
        ----------
        path : Path
            The directory that holds ``scorer.json`` and ``weights.safetensors``.
        digest : str, optional
            What the SHA-256 of ``scorer.json`` must be.
        verify : bool
            Read the whole of the weights to compare their checksum, and answer the golden texts.
            Leave out only when this process's parent has just done it.

        Raises
        ------
        ModelError
            Missing, cut off, altered, foreign, of a newer format, or answering differently here.
        """
        path = Path(path)
        found, document = read_document(path)
        if digest is not None and found != digest:
            raise ModelError(
                f"{path}: the model is {found[:12]}, not {digest[:12]} as asked for: "
                "it was altered or replaced; fetch or train it again"
            )
        tensors, data = map_tensors(path / WEIGHTS_NAME)
        try:
            _check_weights(path, document, data, verify=verify)
            scorer = cls(
                document,
                tensors,
                digest=found,
                size_bytes=len(data) + (path / DOCUMENT_NAME).stat().st_size,
                path=path,
            )
            if verify:
                scorer.check_golden()
        except (
            KeyError,
            ValueError,
            TypeError,
            IndexError,
            AttributeError,
            OverflowError,
        ) as error:
            text = " ".join(str(error).split())[:200]
            raise ModelError(f"{path}: not a usable scorer ({text}); train it again") from None
        return scorer

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the place to load from: another process maps the same file."""
        if self.path is None:
            raise TypeError("a scorer that was not loaded from a directory cannot be pickled")
        return _load_again, (str(self.path), self.digest)

    def check_golden(self) -> None:
        """Answer the texts whose probabilities were recorded when the model was compiled.

        Raises
        ------
        ModelError
            An answer differs: this Python or numpy reads texts differently.
        """
        golden = self.document["golden"]
        answers = self.predict([case["text"] for case in golden]).probabilities
        for case, answer in zip(golden, answers, strict=True):
            recorded = case["probabilities"]
            same = len(recorded) == len(answer) and np.allclose(
                answer, recorded, rtol=0, atol=GOLDEN_TOLERANCE
            )
            if not same:
                raise ModelError(
                    f"the model {self.digest[:12]} answers a recorded text with "
                    f"{answer.tolist()}, not {recorded}: compile it again with this version"
                )

    def predict(
        self, texts: Sequence[str], each: Callable[..., Iterable[Any]] = map
    ) -> Predictions:
        """Score texts.

        Parameters
        ----------
        texts : sequence of str
        each : callable
            Applies a function to a list, in order: `sentiment.corpus.parallel` does it in threads.

        Returns
        -------
        Predictions
            One entry per text, in order.
        """
        scores = np.empty((len(texts), len(self.intercept)))
        n_tokens = np.empty(len(texts), dtype=np.int64)
        n_unknown = np.empty(len(texts), dtype=np.int64)
        parts = [slice(0, len(texts))] if len(texts) else []
        if sum(map(len, texts)) >= MANY_CHARACTERS:
            from sentiment.corpus import cut_blocks  # not needed by who scores a few texts

            parts = cut_blocks(texts)
        scored = each(self._score, [texts[part] for part in parts])
        for part, (score, tokens, unknown) in zip(parts, scored, strict=True):
            scores[part], n_tokens[part], n_unknown[part] = score, tokens, unknown
        probabilities = _LINKS[self.link](scores)
        best = best_class(scores)
        names = self.labels
        return Predictions(
            [names[number] for number in best.tolist()],
            probabilities[np.arange(len(texts)), best],
            probabilities,
            scores,
            n_tokens,
            n_unknown,
        )

    def _score(self, texts: Sequence[str]) -> tuple[Floats, Ints, Ints]:
        scores = np.tile(self.intercept, (len(texts), 1))
        n_tokens: Ints | None = None
        for view in self.views:
            found, tokens, unknown = view.count(texts)
            added = contributions(view, found, len(texts))
            for number in range(scores.shape[1]):
                scores[:, number] += np.bincount(found.texts, added[:, number], len(texts))
            if n_tokens is None:  # the first view speaks for the text
                n_tokens, n_unknown = tokens, unknown
        assert n_tokens is not None
        return scores, n_tokens, n_unknown

    def predict_one(self, text: str) -> Prediction:
        """Score one text: the numbers of `predict`, with as little overhead as possible."""
        if len(self.intercept) > 1:
            return self._predict_one_of_many(text)
        score, n_tokens, n_unknown = self._bias, -1, 0
        for view in self.views:
            added, tokens, unknown = view.score_one(text)
            score += added.item()
            if n_tokens < 0:
                n_tokens, n_unknown = tokens, unknown
        # exp of minus the absolute value cannot overflow.
        small = math.exp(-abs(score))
        likely, unlikely = 1.0 / (1.0 + small), small / (1.0 + small)
        if score > 0:
            return Prediction(
                self.labels[1], likely, (unlikely, likely), (score,), n_tokens, n_unknown
            )
        return Prediction(self.labels[0], likely, (likely, unlikely), (score,), n_tokens, n_unknown)

    def _predict_one_of_many(self, text: str) -> Prediction:
        scores, n_tokens, n_unknown = self.intercept, -1, 0
        for view in self.views:
            added, tokens, unknown = view.score_one(text)
            scores = scores + added
            if n_tokens < 0:
                n_tokens, n_unknown = tokens, unknown
        probabilities = _LINKS[self.link](scores[None])[0].tolist()
        best = int(scores.argmax())
        return Prediction(
            self.labels[best],
            probabilities[best],
            tuple(probabilities),
            tuple(scores.tolist()),
            n_tokens,
            n_unknown,
        )

    def explain(self, text: str, top: int | None = None) -> Explanation:
        """Return what each n-gram of a text adds to each score.

        Parameters
        ----------
        text : str
        top : int, optional
            Keep only that many n-grams, the strongest; by default all.
        """
        from sentiment.scorer.explain import explain

        return explain(self, text, top)

    def top_features(self, n: int = 20) -> dict[str, list[ClassFeature]]:
        """Return the n n-grams that speak strongest for each label."""
        from sentiment.scorer.explain import top_features

        return top_features(self, n)


def _load_again(path: str, digest: str) -> Scorer:
    return Scorer.load(path, digest=digest, verify=False)


def _check_weights(path: Path, document: dict[str, Any], data: memoryview, *, verify: bool) -> None:
    described = document["weights"]
    same = len(data) == described["size"]
    if same and verify:
        same = hashlib.sha256(data).hexdigest() == described["sha256"]
    if not same:
        raise ModelError(
            f"{path}: {WEIGHTS_NAME} is not the one that {DOCUMENT_NAME} describes: "
            "it is cut off or altered; fetch or train it again"
        )


def read_document(path: Path) -> tuple[str, dict[str, Any]]:
    """Read and check ``scorer.json``; return its SHA-256 and its content.

    Raises
    ------
    ModelError
        It is missing, not JSON, of another program or a newer format, or fails its own checksum.
    """
    file = path / DOCUMENT_NAME
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise ModelError(
            f"{path}: not a scorer directory: {DOCUMENT_NAME} cannot be read ({error.strerror})"
        ) from None
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        raise ModelError(f"{file}: not JSON: cut off or altered; fetch or train it again") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ModelError(f"{file}: not a model of this program (no format {FORMAT!r})")
    version = document.get("format_version")
    if type(version) is not int or not 1 <= version <= FORMAT_VERSION:
        raise ModelError(
            f"{file}: format version {version!r}, but this program reads up to {FORMAT_VERSION}: "
            "upgrade sentiment"
        )
    checksum = document.pop("checksum", None)
    try:
        fresh = hashlib.sha256(dump_document(document)).hexdigest()
    except (ValueError, RecursionError):
        fresh = None
    if checksum != fresh:
        raise ModelError(f"{file}: altered: it fails its own checksum; fetch or train it again")
    return hashlib.sha256(raw).hexdigest(), document


def dump_document(document: dict[str, Any]) -> bytes:
    """Return a document's one canonical form: sorted keys, no spaces, ASCII."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def best_class(scores: Floats) -> Ints:
    """Return the number of the winning class per row, scikit-learn's choice in a tie."""
    if scores.shape[1] == 1:
        return (scores[:, 0] > 0).astype(np.int64)
    best: Ints = scores.argmax(axis=1).astype(np.int64, copy=False)
    return best


def _sigmoid(scores: Floats) -> Floats:
    # exp of minus the absolute value cannot overflow.
    small = np.exp(-np.abs(scores))
    result: Floats = np.where(scores >= 0, 1.0, small) / (1.0 + small)
    return result


def _binary(scores: Floats) -> Floats:
    return np.concatenate([_sigmoid(-scores), _sigmoid(scores)], axis=1)


def _softmax(scores: Floats) -> Floats:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True, initial=-math.inf))
    result: Floats = powers / powers.sum(axis=1, keepdims=True)
    return result


def _ovr_sigmoid_normalized(scores: Floats) -> Floats:
    each = _sigmoid(scores)
    total = each.sum(axis=1, keepdims=True)
    # When every class underflows to zero they are equally likely, as in scikit-learn.
    result: Floats = np.where(total > 0, each, 1.0) / np.where(total > 0, total, each.shape[1])
    return result


_LINKS = {
    "sigmoid": _binary,
    "softmax": _softmax,
    "ovr_sigmoid_normalized": _ovr_sigmoid_normalized,
}
LINKS = tuple(_LINKS)


def link(name: str, scores: Floats) -> Floats:
    """Turn scores into probabilities, float64 [n, labels]."""
    return _LINKS[name](scores)
