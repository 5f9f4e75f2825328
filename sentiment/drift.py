"""What a model sees and says now, against what it saw and said when it was made.

`Counts` of texts are plain sums, so counts of several workers, buckets or files add up; `compare`
turns them into signals. Everything is measured against the reference that the scorer holds:
histograms over held-out texts, and in how many training texts each word stood.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentiment.errors import ModelError, UsageError, nearest
from sentiment.scorer import Predictions, Scorer
from sentiment.scorer.view import NgramView
from sentiment.text import Tokenizer

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Counts = NDArray[np.void]

SIGNALS: Mapping[str, tuple[float, str]] = {
    "score": (0.2, "stability index (PSI) of the score"),
    "labels": (0.15, "largest change of a label's share"),
    "unknown": (0.05, "rise of the unknown-token share"),
    "length": (0.2, "stability index (PSI) of the length"),
    "low_confidence": (0.10, "rise of the share of unsure answers"),
    "words": (0.05, "share of word use that moved"),
    "estimated_accuracy": (0.05, "fall of the estimated accuracy"),
    "observed_accuracy": (0.05, "fall of the accuracy in feedback"),
}
"""Signal: its default limit, and what its value is. A value above the limit is drift."""

ASSUMPTIONS = (
    "The estimate is the accuracy that reference texts of the same confidence had (confidence-based "
    "performance estimation). It holds as long as a text of this kind, given this confidence, still "
    "has the label that such a text had in training; it cannot see labels change their meaning, and "
    "texts unlike any in training are beyond it."
)
MINIMUM_TEXTS = 200
MINIMUM_ANSWERS = 50

WORD_FIELDS = ("word_texts", "word_tokens", "words")
"""The fields of counts that `Reference.count_words` fills."""

_HISTOGRAMS = ("score", "confidence", "length", "unknown_share")
_NEEDED = {"name", "n", "labels", "tokens", "unknown", "mean_confidence", "accuracy", "right"}
_NEEDED |= {*_HISTOGRAMS}
# One bin of the index holds a tenth of the reference or more, the usual deciles.
_BIN_SHARE = 0.1
# A word moved when its log-odds changed by so many standard errors (a chance of one in a million
# for each word) and its use by half or more.
_Z = 5.0
_FACTOR = 1.5
# Weight of the training frequencies as a prior, in word occurrences; keeps rare words from winning.
_PRIOR = 500.0
# Weight of a confidence itself against what came of it in the reference, in texts.
_BELIEF = 5.0


@dataclass(frozen=True, slots=True)
class Signal:
    """One way in which what is seen differs from the reference.

    Attributes
    ----------
    name : str
        A key of `SIGNALS`.
    value : float or None
        How much; None when it cannot be told.
    limit : float
        More than this is drift.
    drifted : bool or None
        None with too few texts, or without a value.
    meaning : str
        What the value is.
    """

    name: str
    value: float | None
    limit: float
    drifted: bool | None
    meaning: str


@dataclass(frozen=True, slots=True)
class MovedWord:
    """A word that is used more or less than in training.

    Attributes
    ----------
    word : str
    share, expected : float
        Share of the texts that hold it, and what training texts of this length would show.
    log_odds : float
        Change of the log-odds of its use; above 0 it is used more.
    z : float
        The same in standard errors.
    weight : float
        Its part of the Jensen-Shannon divergence (bits); words are ranked by it.
    """

    word: str
    share: float
    expected: float
    log_odds: float
    z: float
    weight: float


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Accuracy as far as it can be told.

    Attributes
    ----------
    estimated, low, high : float or None
        Estimate without labels and its 95 % interval (sampling error only).
    reference_estimated : float
        The same estimate over the reference texts.
    reference_observed : float or None
        Their true accuracy, where their labels were known.
    """

    estimated: float | None
    low: float | None
    high: float | None
    reference_estimated: float
    reference_observed: float | None


@dataclass(frozen=True, slots=True)
class Drift:
    """The outcome of `compare`; `document` gives it as JSON values."""

    n: int
    reference_name: str
    reference_n: int
    signals: tuple[Signal, ...]
    labels: Mapping[str, tuple[float | None, float]]
    unknown: tuple[float | None, float]
    low_confidence: tuple[float | None, float]
    low_confidence_below: float
    mean_length: tuple[float | None, float]
    accuracy: Accuracy
    histograms: Mapping[str, Mapping[str, list[Any]]]
    word_texts: int
    more: tuple[MovedWord, ...]
    less: tuple[MovedWord, ...]

    @property
    def drifted(self) -> bool | None:
        """Whether any signal is above its limit; None when none can be told."""
        known = [signal.drifted for signal in self.signals if signal.drifted is not None]
        return any(known) if known else None

    def document(self) -> dict[str, Any]:
        """Return everything as JSON values; pairs are window and reference."""

        def pair(values: tuple[float | None, float]) -> dict[str, float | None]:
            return {"window": values[0], "reference": values[1]}

        return {
            "drift": self.drifted,
            "texts": self.n,
            "minimum_texts": MINIMUM_TEXTS,
            "reference": {"name": self.reference_name, "texts": self.reference_n},
            "signals": {
                signal.name: {
                    "value": signal.value,
                    "limit": signal.limit,
                    "drift": signal.drifted,
                    "meaning": signal.meaning,
                }
                for signal in self.signals
            },
            "labels": {label: pair(shares) for label, shares in self.labels.items()},
            "unknown_tokens": pair(self.unknown),
            "low_confidence": {
                "below": self.low_confidence_below,
                **pair(self.low_confidence),
            },
            "mean_length": pair(self.mean_length),
            "accuracy": {**asdict(self.accuracy), "assumptions": ASSUMPTIONS},
            "words": {
                "texts": self.word_texts,
                "more": [asdict(word) for word in self.more],
                "less": [asdict(word) for word in self.less],
            },
            "histograms": {name: dict(parts) for name, parts in self.histograms.items()},
        }


class Reference:
    """What a model's own reference says, ready to count and compare against.

    Parameters
    ----------
    scorer : Scorer

    Raises
    ------
    ModelError
        The model was compiled without reference texts.
    """

    def __init__(self, scorer: Scorer) -> None:
        document = scorer.document["reference"]
        if not document:
            raise ModelError(
                f"the model {scorer.digest[:12]} holds no reference: it was compiled without "
                "held-out texts; train it with a validation or test split"
            )
        missing = sorted(_NEEDED - document.keys())
        if missing:
            raise ModelError(
                f"the model {scorer.digest[:12]}: its reference lacks {', '.join(missing)}: another "
                "version of sentiment compiled it; train it again"
            )
        self.name = str(document["name"])
        self.n = int(document["n"])
        self.document: Mapping[str, Any] = document
        self.labels = scorer.labels
        self.edges = {name: np.asarray(document[name]["edges"]) for name in _HISTOGRAMS}
        self.low_confidence_below, self._low_bins = self._low_confidence()
        self.word_view: NgramView | None = None
        self.word_length: float | None = None  # tokens of a usual text, where the view's are known
        for number, view in enumerate(scorer.views):
            if isinstance(view, NgramView) and view.spec.analyzer == "word":
                self.word_view = view
                self.n_documents = int(scorer.document["views"][number]["n_documents"])
                if number == 0:
                    self.word_length = document["tokens"] / self.n
                break
        n_words = self.word_view.n_tokens if self.word_view else 0
        self.dtype = np.dtype(
            [
                ("labels", "i8", (len(self.labels),)),
                *((name, "i8", (len(self.edges[name]) + 1,)) for name in _HISTOGRAMS),
                ("tokens", "i8"),
                ("unknown", "i8"),
                ("confidence_sum", "f8"),
                ("variance_sum", "f8"),  # of right answers, were the confidences exact
                ("word_texts", "i8"),
                ("word_tokens", "i8"),
                ("words", "u4", (n_words,)),
            ]
        )

    def _low_confidence(self) -> tuple[float, int]:
        """Return the edge nearest to a fifth of the way from guessing to sure, and its place."""
        wanted = (1 + 0.2 * (len(self.labels) - 1)) / len(self.labels)
        place = int(np.abs(self.edges["confidence"] - wanted).argmin())
        return float(self.edges["confidence"][place]), place

    def zeros(self) -> Counts:
        """Return counts of nothing."""
        return np.zeros((), dtype=self.dtype)

    def count(
        self,
        counts: Counts,
        labels: Sequence[str],
        scores: Floats,
        confidence: Floats,
        n_tokens: Ints,
        n_unknown: Ints,
    ) -> None:
        """Add predictions to counts, in place.

        Parameters
        ----------
        counts : Counts
            From `zeros`, or an element of an array of `dtype`.
        labels : sequence of str
            The n labels given.
        scores : float64[n]
            The second label's score of two, or the winning one of more (`one_score`).
        confidence : float64[n]
        n_tokens, n_unknown : int64[n]
        """
        tally = Counter(labels)
        counts["labels"] += np.array([tally[label] for label in self.labels])
        values = {
            "score": scores,
            "confidence": confidence,
            "length": n_tokens,
            "unknown_share": n_unknown / np.maximum(n_tokens, 1),
        }
        for name, of_texts in values.items():
            edges = self.edges[name]
            places = np.searchsorted(edges, of_texts, side="right")
            counts[name] += np.bincount(places, minlength=len(edges) + 1)
        counts["tokens"] += n_tokens.sum()
        counts["unknown"] += n_unknown.sum()
        counts["confidence_sum"] += confidence.sum()
        counts["variance_sum"] += (confidence * (1 - confidence)).sum()

    def count_words(self, counts: Counts, texts: Sequence[str]) -> None:
        """Add to counts in how many of the texts each known word stands, in place."""
        view = self.word_view
        if view is None or not len(texts):
            return
        parts = [view.token_ids(text).astype(np.int64) for text in texts]
        distinct = np.concatenate([np.unique(part) for part in parts])
        known = distinct[(distinct >= 1) & (distinct <= view.n_tokens)]
        ids, found = np.unique(known, return_counts=True)
        counts["words"][ids - 1] += found.astype(np.uint32)
        counts["word_texts"] += len(texts)
        counts["word_tokens"] += sum(map(len, parts))

    def add(self, counts: Counts, texts: Sequence[str], predictions: Predictions) -> None:
        """Add texts and what the model said of them to counts, in place."""
        self.count(
            counts,
            predictions.labels,
            one_score(predictions.scores),
            predictions.confidence,
            predictions.n_tokens,
            predictions.n_unknown,
        )
        self.count_words(counts, texts)


def one_score(scores: Floats) -> Floats:
    """Return one score per text from scores [n, 1 or labels]: the reference's choice."""
    return scores[:, 0] if scores.shape[1] == 1 else scores.max(axis=1)


def compare(
    reference: Reference,
    counts: Counts,
    limits: Mapping[str, float] | None = None,
    *,
    observed: tuple[int, int] | None = None,
    top: int = 15,
) -> Drift:
    """Compare counts with the reference.

    Parameters
    ----------
    reference : Reference
    counts : Counts
    limits : mapping, optional
        Signal to limit, for those that differ from `SIGNALS`.
    observed : (int, int), optional
        Right answers and all answers of feedback.
    top : int
        Words to name in each direction.

    Notes
    -----
    The population stability index of the score and of the length is taken over bins that hold a
    tenth of the reference each; sampling alone makes it about ``(bins - 1) (1/n + 1/m)``, which is
    added to the limit.
    """
    document = reference.document
    n = int(counts["labels"].sum())
    limits = {**{name: limit for name, (limit, _) in SIGNALS.items()}, **(limits or {})}

    def share(value: Any, whole: Any) -> float | None:
        return float(value) / float(whole) if whole else None

    labels = {
        label: (share(seen, n), float(document["labels"][label]))
        for label, seen in zip(reference.labels, counts["labels"].tolist(), strict=True)
    }
    unknown = (
        share(counts["unknown"], counts["tokens"]),
        document["unknown"] / max(document["tokens"], 1),
    )
    low = reference._low_bins + 1
    low_confidence = (
        share(counts["confidence"][:low].sum(), n),
        sum(document["confidence"]["counts"][:low]) / reference.n,
    )
    accuracy = _accuracy(reference, counts, n)
    moved_share, more, less = _moved_words(reference, counts, top)

    values: dict[str, float | None] = dict.fromkeys(SIGNALS)
    allowance = dict.fromkeys(SIGNALS, 0.0)
    if n:
        for name in ("score", "length"):
            values[name], allowance[name] = stability_index(
                np.asarray(document[name]["counts"]), counts[name]
            )
        values["labels"] = max(
            abs(seen - usual) for seen, usual in labels.values() if seen is not None
        )
    if unknown[0] is not None and reference.word_view is not None:
        values["unknown"] = unknown[0] - unknown[1]
    if low_confidence[0] is not None:
        values["low_confidence"] = low_confidence[0] - low_confidence[1]
    values["words"] = moved_share
    if accuracy.estimated is not None:
        values["estimated_accuracy"] = accuracy.reference_estimated - accuracy.estimated
    enough = dict.fromkeys(SIGNALS, n >= MINIMUM_TEXTS)
    enough["words"] = int(counts["word_texts"]) >= MINIMUM_TEXTS
    right, answers = observed or (0, 0)
    usual = accuracy.reference_observed
    if answers:
        # Without known labels in the reference, its estimate is what was promised.
        usual = accuracy.reference_estimated if usual is None else usual
        values["observed_accuracy"] = usual - right / answers
        # The fall counts once even the upper end of the interval is that far down.
        allowance["observed_accuracy"] = wilson(right, answers)[1] - right / answers
        enough["observed_accuracy"] = answers >= MINIMUM_ANSWERS
    signals = tuple(
        Signal(
            name,
            values[name],
            limits[name],
            None
            if values[name] is None or not enough[name]
            else bool(values[name] > limits[name] + allowance[name]),  # type: ignore[operator]
            meaning,
        )
        for name, (_, meaning) in SIGNALS.items()
    )
    return Drift(
        n=n,
        reference_name=reference.name,
        reference_n=reference.n,
        signals=signals,
        labels=labels,
        unknown=unknown,
        low_confidence=low_confidence,
        low_confidence_below=reference.low_confidence_below,
        mean_length=(share(counts["tokens"], n), document["tokens"] / reference.n),
        accuracy=accuracy,
        histograms={
            name: {
                "edges": document[name]["edges"],
                "window": counts[name].tolist(),
                "reference": document[name]["counts"],
            }
            for name in _HISTOGRAMS
        },
        word_texts=int(counts["word_texts"]),
        more=more,
        less=less,
    )


def stability_index(reference: Ints, seen: Ints) -> tuple[float, float]:
    """Return the population stability index of two histograms, and what chance makes of it.

    Parameters
    ----------
    reference, seen : int64[bins]
        Counts in the same bins; neighbours are merged until each holds a tenth of the reference.

    Returns
    -------
    index : float
        ``sum((q - p) log(q / p))``; below 0.1 is usually called stable, above 0.2 a shift.
    expected : float
        Its mean when both are samples of the same distribution.
    """
    group = np.zeros(len(reference), dtype=np.int64)
    held, number = 0, 0
    left = int(reference.sum())
    for place, count in enumerate(reference.tolist()):
        group[place] = number
        held += count
        left -= count
        # What is left must make a group of its own.
        if min(held, left) >= _BIN_SHARE * reference.sum():
            held, number = 0, number + 1
    p = np.bincount(group, reference)
    q = np.bincount(group, seen)
    expected = (len(p) - 1) * (1 / max(p.sum(), 1) + 1 / max(q.sum(), 1))
    p = (p + 0.5) / (p.sum() + 0.5 * len(p))
    q = (q + 0.5) / (q.sum() + 0.5 * len(q))
    return float(((q - p) * np.log(q / p)).sum()), float(expected)


def wilson(right: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Return Wilson's interval of a share (Wilson 1927), by default of 95 %."""
    share = right / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * float(np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)))
    return middle - half, middle + half


def _accuracy(reference: Reference, counts: Counts, n: int) -> Accuracy:
    """Estimate accuracy without labels: see `ASSUMPTIONS`."""
    document = reference.document
    observed = document["accuracy"]
    if document["right"] is None:  # the model's own probabilities have to be believed
        usual = float(document["mean_confidence"])
        right, variance = float(counts["confidence_sum"]), float(counts["variance_sum"])
    else:
        edges = reference.edges["confidence"]
        middle = np.clip(np.concatenate([edges[:1], (edges[1:] + edges[:-1]) / 2, [1.0]]), 0, 1)
        of_reference = np.asarray(document["confidence"]["counts"])
        # Where few reference texts had such a confidence, it is believed itself.
        rate = (np.asarray(document["right"]) + _BELIEF * middle) / (of_reference + _BELIEF)
        usual = float(of_reference @ rate) / reference.n
        right = float(counts["confidence"] @ rate)
        variance = float(counts["confidence"] @ (rate * (1 - rate)))
    if not n:
        return Accuracy(None, None, None, usual, observed)
    half = 1.96 * variance**0.5 / n
    estimated = right / n
    return Accuracy(
        estimated, max(0.0, estimated - half), min(1.0, estimated + half), usual, observed
    )


def _moved_words(
    reference: Reference, counts: Counts, top: int
) -> tuple[float | None, tuple[MovedWord, ...], tuple[MovedWord, ...]]:
    """Return how much of word use moved, and the words that made most of it.

    The number of texts that hold a word is compared with what training texts of the same length
    would show. Log-odds have an informative Dirichlet prior, the training frequencies (Monroe,
    Colaresi and Quinn 2008, "Fightin' Words"), so that rare words need evidence. Of the words that
    moved beyond chance, half the sum of absolute changes of their share of all use is the signal.
    """
    view = reference.word_view
    n = int(counts["word_texts"])
    if view is None or not n:
        return None, (), ()
    seen = counts["words"].astype(np.float64)
    n_documents = reference.n_documents
    # A word that stands in a share p of the texts stands nowhere in one of length 1 with
    # probability (1 - p) ** (1 / length).
    p = np.minimum(view.document_frequency / n_documents, 1 - 0.5 / n_documents)
    length = float(counts["word_tokens"]) / n
    ratio = length / reference.word_length if reference.word_length else 1.0
    expected = -np.expm1(np.log1p(-p) * ratio)
    usual = expected * n_documents
    uses, usual_uses = seen.sum(), usual.sum()
    if not uses or not usual_uses:
        return (1.0 if usual_uses else None), (), ()
    prior = usual / usual_uses * _PRIOR
    first, second = seen + prior, usual + prior
    log_odds = np.log(first / (uses + _PRIOR - first)) - np.log(
        second / (usual_uses + _PRIOR - second)
    )
    z = log_odds / np.sqrt(1 / first + 1 / second)
    moved = (np.abs(z) >= _Z) & (np.abs(log_odds) >= np.log(_FACTOR))
    a, b = seen / uses, usual / usual_uses
    middle = (a + b) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = (
            np.where(a > 0, a * np.log2(a / middle), 0)
            + np.where(b > 0, b * np.log2(b / middle), 0)
        ) / 2

    def named(chosen: NDArray[np.bool_]) -> tuple[MovedWord, ...]:
        places = np.flatnonzero(chosen)
        places = places[np.argsort(-weight[places], kind="stable")[:top]]
        return tuple(
            MovedWord(
                view.tokens[place],
                float(seen[place] / n),
                float(expected[place]),
                float(log_odds[place]),
                float(z[place]),
                float(weight[place]),
            )
            for place in places.tolist()
        )

    share = float(np.abs(a - b)[moved].sum() / 2)
    return share, named(moved & (z > 0)), named(moved & (z < 0))


class NewWords:
    """Counts in how many texts words stand that the model does not know.

    Offline only: a service would have to keep what its users wrote.

    Parameters
    ----------
    reference : Reference
    """

    _KEEP = 200_000

    def __init__(self, reference: Reference) -> None:
        view = reference.word_view
        self._tokenize = Tokenizer(view.spec) if view else None
        self._known = frozenset(view.tokens) if view else frozenset()
        self._found: Counter[str] = Counter()
        self._n = 0

    def add(self, texts: Sequence[str]) -> None:
        """Count the unknown words of some texts."""
        if self._tokenize is None:
            return
        self._n += len(texts)
        for text in texts:
            self._found.update(set(self._tokenize(text)) - self._known)
        if len(self._found) > self._KEEP:
            self._found = Counter({w: count for w, count in self._found.items() if count > 1})

    def top(self, n: int = 15) -> list[tuple[str, float]]:
        """Return the n most frequent as (word, share of texts); one in 200 texts at least."""
        least = max(3, self._n / 200)
        ranked = sorted(self._found.items(), key=lambda item: (-item[1], item[0]))
        return [(word, count / self._n) for word, count in ranked[:n] if count >= least]


def parse_limits(text: str) -> dict[str, float]:
    """Read limits such as ``score=0.4,words=0.1``.

    Raises
    ------
    UsageError
        An unknown signal, or a limit that is no number.
    """
    limits: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = part.partition("=")
        if name not in SIGNALS:
            raise UsageError(
                f"unknown signal {name!r}{nearest(name, SIGNALS)} (signals: {', '.join(SIGNALS)})"
            )
        try:
            limits[name] = float(value)
        except ValueError:
            raise UsageError(f"limit {part!r}: give a number, e.g. {name}=0.3") from None
        if not limits[name] >= 0:
            raise UsageError(f"limit {part!r}: must not be negative")
    return limits
