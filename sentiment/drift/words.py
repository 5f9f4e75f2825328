"""Words that are seen more or less often than before, and words never seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sentiment.drift.reference import Counts, Reference
from sentiment.text.spec import Tokenizer

# A word moved when its log-odds changed by so many standard errors (a chance of one in a million
# for each word) and its use by half or more.
_Z = 5.0


_FACTOR = 1.5


# Weight of the training frequencies as a prior, in word occurrences; keeps rare words from winning.
_PRIOR = 500.0


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


def moved_words(
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
