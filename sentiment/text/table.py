"""A static hash table over 64-bit keys: one probe per key, in a handful of numpy operations.

Hash and displace (Belazzougui, Botelho and Dietzfelbinger 2009): the top bits of a mixed key name
a bucket, the next 32 bits are its hash; every bucket stores one displacement, chosen when the
table is built, so that ``hash + displacement`` leads to a slot that no other key has. A lookup is
two gathers, the first from a small array that stays in the cache, and needs no loop over probes.
"""

from __future__ import annotations

import itertools
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

_LOAD = 0.9
_BUCKET_SIZE = 3.0
_TRIES = 5_000

_PART = (
    1 << 22
)  # keys that are sorted at a time: a large vocabulary takes little more than its table

U64 = NDArray[np.uint64]
# The jobs of a sweep share vocabularies, of up to three views each: theirs need building once.
_built: deque[tuple[int, Table, NDArray[np.signedinteger[Any]]]] = deque(maxlen=3)
_HALF = np.uint64(32)


class Table:
    """A built table; ``keys`` and ``displacements`` may be memory maps.

    Attributes
    ----------
    keys : uint64[slots]
        The key in each slot, 0 where the slot is empty. Real keys are never 0.
    displacements : uint32[buckets]
        What to add to the hash of a key; as many as a power of two.
    multiplier : int
        Odd 64-bit mixer of the keys.
    """

    __slots__ = (
        "_bucket_shift",
        "_hash_shift",
        "_multiplier",
        "_n_slots",
        "displacements",
        "keys",
        "multiplier",
    )

    def __init__(self, keys: U64, displacements: NDArray[np.uint32], multiplier: int) -> None:
        self.keys = keys
        self.displacements = displacements
        self.multiplier = multiplier
        bucket_bits = len(displacements).bit_length() - 1
        if not (len(keys) and len(displacements) == 1 << bucket_bits and 1 <= bucket_bits <= 32):
            raise ValueError("a table needs slots and a power of two of buckets")
        # Numpy integers once, not a conversion in every call.
        self._multiplier = np.uint64(multiplier)
        self._bucket_shift = np.uint64(64 - bucket_bits)
        self._hash_shift = np.uint64(32 - bucket_bits)
        self._n_slots = np.uint64(len(keys))

    def find(self, keys: U64) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the slot of each key, and whether the key is really there."""
        mixed = keys * self._multiplier
        buckets = (mixed >> self._bucket_shift).view(np.int64)
        mixed >>= self._hash_shift
        # The 32 bits below the bucket's, moved round by the bucket's displacement ...
        hashed = mixed.astype(np.uint32)
        hashed += self.displacements.take(buckets)
        # ... and stretched over the table: no division, any number of slots.
        np.multiply(hashed, self._n_slots, out=mixed)
        mixed >>= _HALF
        slots = mixed.view(np.int64)
        return slots, self.keys.take(slots) == keys


def build_table(keys: U64, seed: int = 0) -> tuple[Table, NDArray[np.signedinteger[Any]]]:
    """Place distinct non-zero keys so that each is found in one probe.

    Parameters
    ----------
    keys : uint64[n]
        Distinct, none of them 0.
    seed : int
        The same keys and seed give the same table.

    Returns
    -------
    table : Table
    slots : int32[n], or int64[n] where there are too many
        Where each key stands, in ``[0, len(table.keys))``.

    Raises
    ------
    ValueError
        Keys repeat, or 0 is among them.
    """
    keys = np.ascontiguousarray(keys, dtype=np.uint64)
    for by, table, slots in list(_built):  # other threads append
        if by == seed and len(slots) == len(keys) and np.array_equal(table.keys[slots], keys):
            return table, slots
    n = len(keys)
    ordered = np.sort(keys)
    if n and (ordered[0] == 0 or (ordered[1:] == ordered[:-1]).any()):
        raise ValueError("keys must be distinct and not 0")
    del ordered
    # Two buckets at least: a shift by all 64 bits is undefined.
    bucket_bits = max(1, int(np.ceil(np.log2(max(n, 1) / _BUCKET_SIZE))))
    n_slots = int(n / _LOAD) + 2
    generator = np.random.Generator(np.random.PCG64(seed))
    placed = None
    while placed is None:
        multiplier = int(generator.integers(0, 2**63)) * 2 + 1
        placed = _place(keys * np.uint64(multiplier), bucket_bits, n_slots, generator)
    displacements, slots = placed
    stored = np.zeros(n_slots, dtype=np.uint64)
    stored[slots] = keys
    for array in (stored, displacements, slots):
        array.flags.writeable = False
    table = Table(stored, displacements, multiplier)
    _built.append((seed, table, slots))
    return table, slots


def _place(
    mixed: U64, bucket_bits: int, n_slots: int, generator: np.random.Generator
) -> tuple[NDArray[np.uint32], NDArray[np.signedinteger[Any]]] | None:
    """Find every bucket's displacement, largest buckets first; None when this mixer fails."""
    bucket_shift, hash_shift = np.uint64(64 - bucket_bits), np.uint64(32 - bucket_bits)
    sizes, by_bucket = _deal(mixed, bucket_bits)
    starts = np.cumsum(sizes) - sizes
    displacements = np.zeros(1 << bucket_bits, dtype=np.uint32)
    taken = np.zeros(n_slots, dtype=np.bool_)
    # Places in 32 bits where they fit.
    place: type[np.signedinteger[Any]] = np.int32 if n_slots < 2**31 else np.int64
    owner = np.zeros(n_slots, dtype=place)

    def slots_of(hashes: NDArray[np.uint32]) -> NDArray[np.int64]:
        return ((hashes * np.uint64(n_slots)) >> np.uint64(32)).view(np.int64)

    for size in range(int(sizes.max(initial=0)), 0, -1):
        waiting = np.flatnonzero(sizes == size)
        for _ in range(_TRIES):
            if not len(waiting):
                break
            shift = generator.integers(0, 2**32, size=len(waiting), dtype=np.uint32)
            places = starts[waiting][:, None] + np.arange(size)
            wanted = slots_of(by_bucket[places] + shift[:, None])
            free = np.flatnonzero(~taken[wanted].any(axis=1))
            wanted = wanted[free]
            # Every member of every candidate signs its slot; the last one stays. A candidate
            # all of whose signatures stand has its slots to itself; the others try again.
            signature = places[free].astype(owner.dtype)
            owner[wanted] = signature
            won = (owner[wanted] == signature).all(axis=1)
            taken[wanted[won]] = True
            winners = free[won]
            displacements[waiting[winners]] = shift[winners]
            waiting = np.delete(waiting, winners)
        if len(waiting):
            return None
    del taken, owner, by_bucket
    slots = np.empty(len(mixed), dtype=place)
    for first in range(0, len(mixed), _PART):
        part = mixed[first : first + _PART]
        hashed = (part >> hash_shift).astype(np.uint32)
        hashed += displacements[(part >> bucket_shift).view(np.int64)]
        slots[first : first + _PART] = slots_of(hashed)
    return displacements, slots


def _deal(mixed: U64, bucket_bits: int) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    """Return how many keys each bucket has, and the hashes of all, bucket by bucket."""
    buckets = np.empty(len(mixed), np.uint32)
    sizes = np.zeros(1 << bucket_bits, np.int64)
    for first in range(0, len(mixed), _PART):
        part = (mixed[first : first + _PART] >> np.uint64(64 - bucket_bits)).view(np.int64)
        buckets[first : first + _PART] = part
        sizes += np.bincount(part, minlength=len(sizes))
    by_bucket = np.empty(len(mixed), np.uint32)
    n_parts = -(-len(mixed) // _PART)
    cuts = [(part << bucket_bits) // max(n_parts, 1) for part in range(n_parts + 1)]
    at = 0
    for low, high in itertools.pairwise(cuts):
        here = np.flatnonzero((buckets >= low) & (buckets < high)) if n_parts > 1 else slice(None)
        keys = mixed[here][np.argsort(buckets[here], kind="stable")]
        by_bucket[at : at + len(keys)] = keys >> np.uint64(32 - bucket_bits)
        at += len(keys)
    return sizes, by_bucket
