"""What a model sees and says now, against what it saw and said when it was made.

`Counts` of texts are plain sums, so counts of several workers, buckets or files add up; `measure`
turns them into signals. Everything is measured against the reference that the scorer holds:
histograms over held-out texts, and in how many training texts each word stood.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from sentiment.drift.coverage import Coverage, CoverageState, measure_coverage
from sentiment.drift.reference import _HISTOGRAMS, _NEEDED, Counts, Ints, Reference
from sentiment.drift.words import MovedWord, moved_words
from sentiment.errors import UsageError, nearest

SIGNALS: Mapping[str, tuple[float, str]] = {
    "score": (0.2, "stability index (PSI) of the score"),
    "labels": (0.15, "largest change of a label's share"),
    "unknown": (0.05, "rise of the unknown-token share"),
    "length": (0.2, "stability index (PSI) of the length"),
    "low_confidence": (0.10, "rise of the share of unsure answers"),
    "coverage": (0.05, "change of the share answered"),
    "words": (0.05, "share of word use that moved"),
    "estimated_accuracy": (0.05, "fall of the estimated accuracy"),
    "observed_accuracy": (0.05, "fall of the accuracy in feedback"),
}
"""Signal: its default limit, and what its value is. A value above the limit is drift.

``coverage`` is only of models that withhold unsure answers.
"""

ASSUMPTIONS = (
    "The estimate is the accuracy that reference texts of the same confidence had (confidence-based "
    "performance estimation). It holds as long as a text of this kind, given this confidence, still "
    "has the label that such a text had in training; it cannot see labels change their meaning, and "
    "texts unlike any in training are beyond it."
)
MINIMUM_TEXTS = 200
MINIMUM_ANSWERS = 50


_NEEDED |= {*_HISTOGRAMS}
# One bin of the index holds a tenth of the reference or more, the usual deciles.
_BIN_SHARE = 0.1
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
    observed : float or None
        The share of `answers` that were right, None without any.
    answers : int
        Of feedback.
    """

    estimated: float | None
    low: float | None
    high: float | None
    reference_estimated: float
    reference_observed: float | None
    observed: float | None = None
    answers: int = 0


@dataclass(frozen=True, slots=True)
class Drift:
    """The outcome of `measure`; `document` gives it as JSON values."""

    n: int
    reference_name: str
    reference_n: int
    signals: tuple[Signal, ...]
    labels: Mapping[str, tuple[float | None, float]]
    unknown: tuple[float | None, float]
    low_confidence: tuple[float | None, float]
    low_confidence_below: float
    mean_length: tuple[float | None, float]
    coverage: Coverage | None
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
            **({} if self.coverage is None else {"coverage": self.coverage.document()}),
            "accuracy": {**asdict(self.accuracy), "assumptions": ASSUMPTIONS},
            "words": {
                "texts": self.word_texts,
                "more": [asdict(word) for word in self.more],
                "less": [asdict(word) for word in self.less],
            },
            "histograms": {name: dict(parts) for name, parts in self.histograms.items()},
        }


def measure(
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
    added to the limit. The share answered drifts where it leaves its band: what chance makes of the
    reference's share, widened by the limit on both sides.
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
    right, answers = observed or (0, 0)
    accuracy = replace(
        _accuracy(reference, counts, n), observed=share(right, answers), answers=answers
    )
    moved_share, more, less = moved_words(reference, counts, top)
    coverage = measure_coverage(reference, counts, limits["coverage"], MINIMUM_TEXTS)

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
    usual = accuracy.reference_observed
    if answers:
        # Without known labels in the reference, its estimate is what was promised.
        usual = accuracy.reference_estimated if usual is None else usual
        values["observed_accuracy"] = usual - right / answers
        # The fall counts once even the upper end of the interval is that far down.
        allowance["observed_accuracy"] = wilson(right, answers)[1] - right / answers
        enough["observed_accuracy"] = answers >= MINIMUM_ANSWERS
    drifted = {
        name: None
        if value is None or not enough[name]
        else bool(value > limits[name] + allowance[name])
        for name, value in values.items()
    }
    if coverage is None:
        del values["coverage"]
    else:
        values["coverage"] = coverage.change
        drifted["coverage"] = (
            None if coverage.state is None else coverage.state is not CoverageState.INSIDE
        )
    signals = tuple(
        Signal(name, value, limits[name], drifted[name], SIGNALS[name][1])
        for name, value in values.items()
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
        coverage=coverage,
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
    group = _merged(reference.tolist())
    p = np.bincount(group, reference)
    q = np.bincount(group, seen)
    expected = (len(p) - 1) * (1 / max(p.sum(), 1) + 1 / max(q.sum(), 1))
    p = (p + 0.5) / (p.sum() + 0.5 * len(p))
    q = (q + 0.5) / (q.sum() + 0.5 * len(q))
    return float(((q - p) * np.log(q / p)).sum()), float(expected)


def _merged(counts: Sequence[int]) -> list[int]:
    """Return each bin's group: neighbours are merged, the smallest first, while one is too small.

    Two groups remain in any case: with one there would be nothing to compare.
    """
    groups = [[place] for place in range(len(counts))]
    held = list(counts)
    enough = _BIN_SHARE * sum(counts)
    while len(groups) > 2 and min(held) < enough:
        place = held.index(min(held))
        beside = [other for other in (place - 1, place + 1) if 0 <= other < len(groups)]
        left = min(place, min(beside, key=held.__getitem__))
        groups[left : left + 2] = [groups[left] + groups[left + 1]]
        held[left : left + 2] = [held[left] + held[left + 1]]
    return [number for number, group in enumerate(groups) for _ in group]


def wilson(right: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Return the interval of a share, by default of 95 %.

    Parameters
    ----------
    right, n : int
    z : float
        Quantile of the normal distribution.

    References
    ----------
    Wilson, Journal of the American Statistical Association 22, 1927.
    """
    share = right / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * float(np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)))
    return max(middle - half, 0.0), min(middle + half, 1.0)


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
