"""Find turned labels beside cleanlab, on the same out-of-fold probabilities; and copies of texts.

    uv run --with cleanlab python tests/benchmarks/bench_labels.py [--turned 0.05] [--json]

A share of the 25,000 embedded labels is turned, drawn with a fixed seed. Told are the precision of the
first 1,000 suspects of each, the time from texts to suspects as a multiple of a whole training (both in
this process), and for copies, one of ten words of 1,000 texts replaced, recall and seconds.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from typing import Any

import numpy as np

from sentiment import config
from sentiment.data.leaks import find_copies
from sentiment.data.split import Split
from sentiment.data.splits import Splits
from sentiment.evaluation.suspects import find_doubts
from sentiment.training.pipeline import build_pipeline
from sentiment.training.run import load
from sentiment.training.suspects import find_suspects, out_of_fold

FIRST = 1000


def turned(share: float) -> tuple[Split, set[int]]:
    """Return all embedded rows with a share of the labels turned, and which."""
    splits = load(config.compose([])).splits
    parts = (splits.train, splits.val, splits.test)
    texts = [text for part in parts for text in part.texts]
    labels = [label for part in parts for label in part.labels]
    bad = set(random.Random(0).sample(range(len(texts)), int(share * len(texts))))
    other = {"negative": "positive", "positive": "negative"}
    labels = [other[label] if i in bad else label for i, label in enumerate(labels)]
    return Split(texts, labels, rows=list(range(len(texts)))), bad


def precision(rows: Any, bad: set[int]) -> float:
    return float(np.mean([int(row) in bad for row in rows[:FIRST]]))


def measure(share: float) -> dict[str, float]:
    rows, bad = turned(share)
    none = Split([], [])
    splits = Splits("turned", "memory", rows, none, none, ("negative", "positive"), "positive")
    cfg = config.compose([])
    found: dict[str, float] = {}

    begin = time.perf_counter()
    build_pipeline(cfg).fit(rows.texts, rows.labels)
    training = time.perf_counter() - begin
    begin = time.perf_counter()
    suspects = find_suspects(build_pipeline(cfg), splits, seed=1)
    found["times a fit of the default model"] = (time.perf_counter() - begin) / training
    found["precision, sentiment"] = precision([one.row for one in suspects.suspects], bad)
    found["suspects, sentiment"] = len(suspects.suspects)

    codes = np.array([label == "positive" for label in rows.labels], dtype=np.int64)
    probabilities, *_ = out_of_fold(build_pipeline(cfg), rows, codes, ["negative", "positive"], 1)
    begin = time.perf_counter()
    find_doubts(codes, probabilities)
    found["seconds from probabilities, sentiment"] = time.perf_counter() - begin
    try:
        from cleanlab.filter import find_label_issues
    except ImportError:
        print("cleanlab is not installed: uv run --with cleanlab …")
    else:
        begin = time.perf_counter()
        issues = find_label_issues(
            codes, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1
        )
        found["seconds from probabilities, cleanlab"] = time.perf_counter() - begin
        found["precision, cleanlab"] = precision(issues, bad)
        found["suspects, cleanlab"] = len(issues)
    return found | copies(rows.texts)


def copies(texts: list[str]) -> dict[str, float]:
    rng = random.Random(0)
    words = [word for text in texts[:300] for word in text.split()]
    chosen = rng.sample(range(len(texts)), 1000)
    planted = []
    for i in chosen:
        own = texts[i].split()
        for place in rng.sample(range(len(own)), max(1, len(own) // 10)):
            own[place] = rng.choice(words)
        planted.append(" ".join(own))
    begin = time.perf_counter()
    found = find_copies([*texts, *planted])
    seconds = time.perf_counter() - begin
    pairs = set(zip(found.first.tolist(), found.second.tolist(), strict=True))
    hits = sum((i, len(texts) + place) in pairs for place, i in enumerate(chosen))
    return {"copies found": hits / len(chosen), "seconds for copies": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turned", type=float, default=0.05)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure(options.turned)
    if options.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:44} {value:.3f}")


if __name__ == "__main__":
    main()
