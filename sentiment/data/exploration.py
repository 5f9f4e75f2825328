"""What labelled text is like: words that tell classes apart, kinds of characters, odd texts, drift."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sentiment.data.split import Split
from sentiment.text.corpus import learn
from sentiment.text.spec import TAG, TextSpec

_SPEC = TextSpec(token_pattern="apostrophe", strip_html=True)
_FEWEST = 2  # texts that hold a word that is told of
_CHARACTERS = 2_000_000  # of which kinds are counted
_SURE = 0.01

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class WordCounts:
    """In how many texts of each group each word stands.

    Attributes
    ----------
    words : list of str
    counts : int64[groups, words]
    texts : int64[groups]
    lengths : int64[rows]
        Words of each text.
    """

    words: list[str]
    counts: Ints
    texts: Ints
    lengths: Ints


def count_words(texts: Sequence[str], groups: Ints, n_groups: int) -> WordCounts:
    """Count the texts of each group that hold each word.

    Parameters
    ----------
    texts : sequence of str
    groups : int64[rows]
        The group of each text, from 0.
    n_groups : int
    """
    corpus, words, _, _ = learn(texts, _SPEC, _FEWEST)
    owners = corpus.texts()
    keep = corpus.ids >= 0
    keys = np.unique(owners[keep].astype(np.int64) * max(len(words), 1) + corpus.ids[keep])
    owner, word = keys // max(len(words), 1), keys % max(len(words), 1)
    counts = np.bincount(groups[owner] * len(words) + word, minlength=n_groups * len(words))
    return WordCounts(
        words,
        counts.reshape(n_groups, len(words)),
        np.bincount(groups, minlength=n_groups),
        corpus.per_text - 1,
    )


@dataclass(frozen=True)
class Telling:
    """A word that stands in other shares of texts here than elsewhere.

    Attributes
    ----------
    word : str
    here, there : float
        Shares of the texts.
    z : float
        The difference in standard errors.
    """

    word: str
    here: float
    there: float
    z: float


def telling_words(
    found: WordCounts, group: int, most: int, *, against: int | None = None
) -> list[Telling]:
    """Return the words that stand more often in the texts of a group, the surest first.

    Parameters
    ----------
    found : WordCounts
    group : int
    most : int
    against : int, optional
        The group to compare with; by default all others together.

    References
    ----------
    The two-proportion z-test with pooled variance.
    """
    here, n_here = found.counts[group], int(found.texts[group])
    if against is None:
        there, n_there = found.counts.sum(axis=0) - here, int(found.texts.sum()) - n_here
    else:
        there, n_there = found.counts[against], int(found.texts[against])
    if not n_here or not n_there or not len(found.words):
        return []
    pooled = (here + there) / (n_here + n_there)
    error = np.sqrt(np.maximum(pooled * (1 - pooled), 1e-12) * (1 / n_here + 1 / n_there))
    z = (here / n_here - there / n_there) / error
    order = np.lexsort((np.arange(len(z)), -z))[:most]
    return [
        Telling(found.words[i], float(here[i] / n_here), float(there[i] / n_there), float(z[i]))
        for i in order
        if z[i] > 0
    ]


def beyond_chance(n_words: int) -> float:
    """Return the z beyond which one of so many words differs by more than chance, one in a hundred times.

    References
    ----------
    Bonferroni's correction, two-sided.
    """
    from scipy.stats import norm

    return float(norm.isf(_SURE / 2 / max(n_words, 1)))


@dataclass(frozen=True)
class Shift:
    """How a held-out split differs from the training rows.

    Attributes
    ----------
    part : str
    labels_p, lengths_p : float or None
        p-values of "drawn from the same": chi-squared of the labels, Kolmogorov-Smirnov of the
        lengths in words. None where there are too few rows.
    words : list of Telling
        Those more frequent there, then those more frequent in training, beyond chance.
    """

    part: str
    labels_p: float | None
    lengths_p: float | None
    more: list[Telling]
    less: list[Telling]


def shift(
    part: str, number: int, split: Split, train: Split, found: WordCounts, groups: Ints
) -> Shift:
    """Hold a split against the training rows.

    Parameters
    ----------
    part : str
    number : int
        Its group in `found`; the training rows are group 0.
    split, train : Split
    found : WordCounts
    groups : int64[rows]
        The group of every text of `found`.
    """
    from scipy.stats import chi2_contingency, ks_2samp

    a, b = Counter(train.labels), Counter(split.labels)
    names = [name for name in {**a, **b} if a[name] + b[name]]
    labels_p = lengths_p = None
    if len(names) > 1 and len(train) and len(split):
        labels_p = float(chi2_contingency([[c[name] for name in names] for c in (a, b)])[1])
        lengths_p = float(
            ks_2samp(
                found.lengths[groups == 0], found.lengths[groups == number], mode="asymp"
            ).pvalue
        )
    least = beyond_chance(len(found.words))
    more = [w for w in telling_words(found, number, 10, against=0) if w.z > least]
    less = [w for w in telling_words(found, 0, 10, against=number) if w.z > least]
    return Shift(part, labels_p, lengths_p, more, less)


def character_kinds(texts: Sequence[str]) -> tuple[dict[str, int], int]:
    """Count characters by script (letters) or kind, the most frequent first.

    Parameters
    ----------
    texts : sequence of str
        Of many, evenly spaced ones are read, about two million characters.

    Returns
    -------
    kinds : dict of str to int
    read : int
        Texts that were read.
    """
    total = sum(map(len, texts))
    step = max(1, -(-total // _CHARACTERS))
    chosen = texts[::step]
    kinds: Counter[str] = Counter()
    for character, count in Counter("".join(chosen)).items():
        kinds[_kind(character)] += count
    return dict(kinds.most_common()), len(chosen)


def _kind(character: str) -> str:
    category = unicodedata.category(character)
    if category[0] == "L":
        name = unicodedata.name(character, "other").split()[0].capitalize()
        return f"letters: {'Chinese' if name == 'Cjk' else name}"
    if category in ("So", "Sk") or 0x1F000 <= ord(character) < 0x20000:
        return "symbols and emoji"
    words = {
        "M": "combining marks",
        "N": "digits",
        "P": "punctuation",
        "S": "symbols",
        "Z": "blanks",
    }
    if character in "\t\n\r":
        return "blanks"
    return words.get(category[0], "control and unassigned")


_ODD: dict[str, Callable[[str], object]] = {
    "one word": lambda text: len(text.split()) == 1,
    "no letter": lambda text: not any(map(str.isalpha, text)),
    "more than 20,000 characters": lambda text: len(text) > 20_000,
    "HTML tags": TAG.search,
    "addresses (URLs)": re.compile(r"https?://|www\.", re.IGNORECASE).search,
    "only capitals": lambda text: len(text) > 20 and text.isupper(),
    "replacement characters (\ufffd)": lambda text: "\ufffd" in text,
    "UTF-8 read as Latin-1": re.compile("\u00c3[\u0080-\u00bf]|\u00e2\u20ac").search,
    "control characters": re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]").search,
    "a character 10 times in a row": re.compile(r"([^\s\d._=*-])\1{9}").search,
}


def odd_texts(texts: Sequence[str]) -> list[tuple[str, int, str]]:
    """Return what is odd about texts: what, how many, and the first of them.

    Parameters
    ----------
    texts : sequence of str
    """
    found = []
    for what, test in _ODD.items():
        hits = [place for place, text in enumerate(texts) if test(text)]
        if hits:
            found.append((what, len(hits), texts[hits[0]]))
    return found
