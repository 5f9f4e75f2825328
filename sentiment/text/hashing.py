"""The n-gram hash: the same for every machine and version."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from sentiment.text.spec import TextSpec

# The n-gram hash. A token is its UTF-8 bytes (their 16-byte BLAKE2b digest when there are more than
# 64), padded with zeros to whole little-endian 64-bit words:
#     h = SEED; for each word w up to the last that is not zero: h = mix(h ^ w)
#     h = mix(h ^ number of bytes of the token itself)
# and an n-gram is its prefix's hash and its last token's hash:
#     combine(p, t) = mix(p * ODD + t)
# with mix the finalizer of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), all modulo 2**64.
_SEED = np.uint64(0x9E3779B97F4A7C15)


_ODD = np.uint64(0xD6E8FEB86659FD93)


_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)


_MIX_2 = np.uint64(0x94D049BB133111EB)


_LONG_TOKEN = 64


def _mix(h: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    h = (h ^ (h >> np.uint64(30))) * _MIX_1
    h = (h ^ (h >> np.uint64(27))) * _MIX_2
    return h ^ (h >> np.uint64(31))


def hash_tokens(tokens: Sequence[str]) -> npt.NDArray[np.uint64]:
    """Hash each token to 64 bits; the same for every machine and version.

    Parameters
    ----------
    tokens : sequence of str
        Without lone surrogates.

    Returns
    -------
    ndarray of uint64, shape (n_tokens,)
    """
    encoded = [token.encode() for token in tokens]
    lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
    if lengths.max(initial=0) > _LONG_TOKEN:
        encoded = [
            b if len(b) <= _LONG_TOKEN else blake2b(b, digest_size=16).digest() for b in encoded
        ]
    n_words = max(1, (max(map(len, encoded), default=0) + 7) // 8)
    words = np.array(encoded, f"S{8 * n_words}").view("<u8").reshape(len(encoded), n_words)
    hashes = np.full(len(encoded), _SEED, np.uint64)
    for j in range(n_words):
        hashes = np.where(words[:, j:].any(axis=1), _mix(hashes ^ words[:, j]), hashes)
    return _mix(hashes ^ lengths.astype(np.uint64))


def combine_hashes(
    prefix: npt.NDArray[np.uint64], last: npt.NDArray[np.uint64]
) -> npt.NDArray[np.uint64]:
    """Hash n-grams, given the hashes of all but their last tokens and of their last tokens.

    Parameters
    ----------
    prefix, last : ndarray of uint64, shape (n,)

    Returns
    -------
    ndarray of uint64, shape (n,)
    """
    return _mix(prefix * _ODD + last)


def hash_ngrams(
    hashes: npt.NDArray[np.uint64], docs: npt.NDArray[np.int32], spec: TextSpec
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
    """Hash every n-gram of one or many texts.

    Parameters
    ----------
    hashes : ndarray of uint64, shape (n_tokens,)
        `hash_tokens` of the tokens that `Tokenizer` gives, all texts one after the other.
    docs : ndarray of int32, shape (n_tokens,)
        Number of the text that each token belongs to, ascending.
    spec : TextSpec

    Returns
    -------
    starts : ndarray of int64, shape (n_ngrams,)
        Position of each n-gram's first token; n-grams come order by order.
    ngrams : ndarray of uint64, shape (n_ngrams,)
    """
    low, high = spec.ngram_range
    whole_words = spec.analyzer == "char_wb"
    segments = docs.astype(np.int64)
    if whole_words and len(hashes):
        space = hashes == hash_tokens([" "])[0]
        segments[1:] += np.cumsum(space[1:] & space[:-1])  # docs too end and begin with a space
    n = len(hashes)
    starts, ngrams = [], []
    current = hashes
    for k in range(1, min(high, n) + 1):
        if k > 1:
            current = combine_hashes(current[:-1], hashes[k - 1 :])
        counted = segments[: n - k + 1] == segments[k - 1 :]
        if k < low:
            if not whole_words:
                continue
            # scikit-learn counts a padded word that is shorter than the shortest n-gram, once.
            counted[1:] &= segments[: n - k] != segments[1 : n - k + 1]
            counted[: n - k] &= segments[k:] != segments[: n - k]
        at = np.flatnonzero(counted)
        starts.append(at)
        ngrams.append(current[at])
    if not starts:
        return np.empty(0, np.int64), np.empty(0, np.uint64)
    return np.concatenate(starts), np.concatenate(ngrams)


def hash_columns(
    ngrams: npt.NDArray[np.uint64], n_features: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int8]]:
    """Return the column and the sign (1 or -1) that `HashingVectorizer` gives to n-gram hashes.

    The column is ``(hash >> 32) * n_features >> 32``; the sign is minus for an odd hash.

    Parameters
    ----------
    ngrams : ndarray of uint64, shape (n,)
    n_features : int
        Number of columns, below 2**31.
    """
    shift = np.uint64(32)
    columns = ((ngrams >> shift) * np.uint64(n_features) >> shift).astype(np.int32)
    return columns, 1 - 2 * (ngrams & np.uint64(1)).astype(np.int8)
