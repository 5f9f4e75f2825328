"""What features in blocks are made with: texts dealt into blocks, an engine, and sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.pipeline import FeatureUnion

from sentiment.text.corpus import thread_count
from sentiment.text.engine import Engine

Int32 = npt.NDArray[np.int32]
Progress = Callable[[str, int, int], None]
"""Told a step, and how many of its parts are done, of how many (0: not known)."""

# What a task takes: measured, with a margin, by tests/benchmarks/bench_scale.py.
_BYTES_PER_CHARACTER = 5
_BYTES_PER_OCCURRENCE = 16  # of an n-gram in a text
_BYTES_PER_NGRAM = 44
_WORD = 5.5  # characters, with what stands before the next


@dataclass(frozen=True)
class Sizes:
    """How much a task takes at a time.

    Attributes
    ----------
    characters : int
        Of a block; the matrix is cut where blocks are.
    ngrams : int
        N-grams of all blocks that are merged at a time, and values that are transposed.
    """

    characters: int = 16 << 20
    ngrams: int = 8 << 20

    @classmethod
    def within(cls, memory: int, vectorizer: Any) -> Sizes:
        """Return the sizes that keep all threads together within so many bytes.

        Parameters
        ----------
        memory : int
        vectorizer : CountVectorizer, TfidfVectorizer, HashingVectorizer or a union of them
            The more n-grams a character begins, the smaller are blocks.
        """
        each = memory // (thread_count() + 1)  # one more waits for its turn

        def share(unit: float, most: int) -> int:
            return max(1 << 20, min(most, int(each / unit)))

        of_text = _BYTES_PER_CHARACTER + _BYTES_PER_OCCURRENCE * _per_character(vectorizer)
        return cls(share(of_text, cls.characters), share(_BYTES_PER_NGRAM, cls.ngrams))


LARGEST = Sizes()


def _per_character(vectorizer: Any) -> float:
    """Return about how many n-grams a character begins: in all views, as they stand side by side."""
    if isinstance(vectorizer, FeatureUnion):
        return sum(_per_character(view) for _, view in vectorizer.transformer_list)
    orders = max(vectorizer.ngram_range)  # the shorter ones are counted too
    return float(orders) / (_WORD if vectorizer.analyzer == "word" else 1.0)


@dataclass(frozen=True)
class Block:
    """Texts of one block, and its number."""

    number: int
    texts: list[str]


@dataclass(frozen=True)
class Making:
    """What the features of all views of a vectorizer are made with.

    Attributes
    ----------
    texts : callable
        Returns all texts, some at a time.
    engine : Engine
    progress : callable
    sizes : Sizes
    n_texts : int
        How many there are; 0 is not known.
    """

    texts: Callable[[], Iterable[list[str]]]
    engine: Engine
    progress: Progress
    sizes: Sizes
    n_texts: int

    def blocks(self) -> Iterator[Block]:
        """Deal the texts into blocks; they end where the texts say."""
        return _blocks(self.texts(), self.sizes.characters)

    def expected(self, lengths: list[int]) -> int:
        """Return how many blocks there are likely to be, from the first ones' texts, or 0."""
        n = self.n_texts
        return max(len(lengths), round(len(lengths) * n / sum(lengths))) if n else 0

    def of_view(self, name: str) -> Making:
        """Return the same for one of several views, whose steps are told by its name."""
        return replace(
            self, progress=lambda step, done, of: self.progress(f"{name} {step}", done, of)
        )


def _blocks(texts: Iterable[list[str]], characters_each: int) -> Iterator[Block]:
    held: list[str] = []
    characters = number = 0
    for piece in texts:
        for text in piece:
            held.append(text)
            characters += len(text)
            if characters >= characters_each:
                yield Block(number, held)
                held, characters, number = [], 0, number + 1
    if held:
        yield Block(number, held)
