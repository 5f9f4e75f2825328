"""What a model saw when it was made: the histograms that its artifact carries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentiment.errors import ModelError
from sentiment.scorer import Predictions, Scorer
from sentiment.scorer.view import NgramView

Floats = NDArray[np.float64]


Ints = NDArray[np.int64]


Counts = NDArray[np.void]


WORD_FIELDS = ("word_texts", "word_tokens", "words")
"""The fields of counts that `Reference.count_words` fills."""


_HISTOGRAMS = ("score", "confidence", "length", "unknown_share")


_NEEDED = {"name", "n", "labels", "tokens", "unknown", "mean_confidence", "accuracy", "right"}


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
        try:
            self._take(scorer, document)
        except (KeyError, TypeError, ValueError, IndexError, ArithmeticError) as error:
            raise ModelError(
                f"the model {scorer.digest[:12]}: its reference is not usable ({error}); "
                "train it again"
            ) from None

    def _take(self, scorer: Scorer, document: Mapping[str, Any]) -> None:
        self.name = str(document["name"])
        self.n = int(document["n"])
        self.document: Mapping[str, Any] = document
        self.labels = scorer.labels
        self.edges = {name: np.asarray(document[name]["edges"]) for name in _HISTOGRAMS}
        self._decision = scorer.decision
        self.answered: int | None = None  # of the n texts, by a model that withholds some
        if scorer.decision.withholds and "answered" in document:
            self.answered = int(document["answered"])
            if not 0 <= self.answered <= self.n:
                raise ValueError(f"it answered {self.answered} of {self.n} texts")
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
                ("own", "i8"),  # texts on which the model's rule decided whether to answer
                ("answered", "i8"),  # of those
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
        own: NDArray[np.bool_] | None = None,
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
        own : bool[n], optional
            Where the model's own rule decided whether to answer, and no request's; by default
            everywhere.
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
        sure = ~self._decision.unsure(confidence)
        counts["own"] += len(sure) if own is None else own.sum()
        counts["answered"] += (sure if own is None else sure & own).sum()
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
