"""Short hashes of texts: which rows a run has seen, without the rows."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FILE_NAME = "seen_rows.npy"
"""What a run logs: the sorted hashes of its training and validation rows."""

Hashes = NDArray[np.uint64]


def row_hashes(texts: Sequence[str]) -> Hashes:
    """Return the first eight bytes of each text's SHA-256.

    Two of a million different texts agree with a probability of 3e-8.

    Parameters
    ----------
    texts : sequence of str
    """
    raw = b"".join(
        hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8] for text in texts
    )
    return np.frombuffer(raw, dtype="<u8").astype(np.uint64)


def of_digests(digests: Sequence[str]) -> Hashes:
    """Return the same from SHA-256 digests in hexadecimal."""
    raw = bytes.fromhex("".join(digest[:16] for digest in digests))
    return np.frombuffer(raw, dtype="<u8").astype(np.uint64)


def write_hashes(hashes: Hashes, file: Path) -> None:
    """Write sorted hashes."""
    np.save(file, hashes)


def read_hashes(file: Path) -> Hashes | None:
    """Read what `write_hashes` wrote; None when it is cut off or something else."""
    try:
        found = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found if isinstance(found, np.ndarray) and found.dtype == np.uint64 else None
