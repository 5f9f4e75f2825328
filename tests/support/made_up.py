"""Made-up reviews that words tell apart, mostly: rows of one distribution, as many as are asked for."""

from __future__ import annotations

import random
from pathlib import Path

GOOD = ["warm", "clever", "moving", "funny", "tender", "bright", "honest", "superb", "gripping"]
BAD = ["dull", "clumsy", "tedious", "bland", "noisy", "hollow", "lazy", "awful", "lifeless"]
PLAIN = ["the", "film", "its", "plot", "a", "scene", "with", "actors", "and", "music", "camera"]


def add_reviews(file: Path, first: int, last: int) -> None:
    """Add rows to a CSV; one in ten carries the other label. A row is the same in every file."""
    lines = [] if first else ["text,label"]
    for number in range(first, last):
        rng = random.Random(number)
        label = number % 2
        words = rng.choices(PLAIN, k=12) + rng.choices(GOOD if label else BAD, k=2)
        rng.shuffle(words)
        said = 1 - label if rng.random() < 0.1 else label
        lines.append(f"{' '.join(words)} {number},{'positive' if said else 'negative'}")
    with file.open("a") as target:
        target.write("\n".join(lines) + "\n")
