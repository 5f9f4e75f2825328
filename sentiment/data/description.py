"""What each split holds, in figures."""

from __future__ import annotations

from collections import Counter
from typing import Any

from sentiment.data.splits import Splits


def describe(splits: Splits) -> dict[str, dict[str, Any]]:
    """Return rows, labels, lengths and fingerprint of each split that holds rows.

    Parameters
    ----------
    splits : Splits
    """
    return {
        name: {
            "rows": len(split),
            "labels": dict(sorted(Counter(split.labels).items())),
            "median_characters": _median([len(text) for text in split.texts]),
            "longest_characters": max(map(len, split.texts), default=0),
            "fingerprint": split.fingerprint(),
        }
        for name, split in splits.parts().items()
        if len(split)
    }


def _median(numbers: list[int]) -> int:
    return sorted(numbers)[len(numbers) // 2]
