"""One positive in twenty: what a tuned threshold gains over 0.5, beside weighed and balanced classes.

    python tests/benchmarks/bench_rare.py [--seeds 5] [--json]

Each seed draws 10,000 of the embedded reviews for training and 2,600 others for the test, both with one
positive in twenty. Thresholds are tuned on out-of-fold training rows; the test rows are only counted.
F1 is that of the positive class; ranges are over seeds.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support.reviews import shuffled

from sentiment import config
from sentiment.training.run import train

SHARE = 0.05
WAYS = {
    "likeliest label": [],
    "threshold tuned for f1": ["decision=threshold", "decision.tuned_on=folds"],
    "class_weight=balanced": ["model.class_weight=balanced"],
    "data.balance=over": ["data.balance=over"],
    "data.balance=under": ["data.balance=under"],
}


def rare(rows: list[tuple[str, str]], n: int, rng: random.Random) -> list[tuple[str, str]]:
    """Draw rows of which few are positive."""
    few = [row for row in rows if row[1] == "positive"]
    many = [row for row in rows if row[1] == "negative"]
    drawn = rng.sample(few, round(n * SHARE)) + rng.sample(many, n - round(n * SHARE))
    rng.shuffle(drawn)
    return drawn


def measure(seed: int) -> dict[str, dict[str, float]]:
    """Return the test figures of each way."""
    # Each text once: none of the test's is trained on.
    rows, rng = list(dict(shuffled()).items()), random.Random(seed)
    rng.shuffle(rows)
    with TemporaryDirectory(prefix="bench-rare-") as scratch:
        here = Path(scratch)
        for name, part, n in (("train", rows[:19_500], 10_000), ("test", rows[19_500:], 2600)):
            drawn = rare(part, n, rng)
            frame = pl.DataFrame(drawn, schema=["text", "label"], orient="row")
            frame.write_parquet(here / f"{name}.parquet")
        base = [
            "data=files", f"data.train={here}/train.parquet", f"data.test={here}/test.parquet",
            "data.positive_label=positive", f"output_dir={here}/out",
        ]  # fmt: skip
        found = {}
        for name, words in WAYS.items():
            metrics = train(config.compose([*base, *words]), draw=False).metrics
            keys = ("f1_score", "precision", "recall", "balanced_accuracy", "ece")
            found[name] = {key: metrics[f"test_{key}"] for key in keys}
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    runs = [measure(seed) for seed in range(asked.seeds)]
    summary = {
        way: {
            key: {
                "median": statistics.median(run[way][key] for run in runs),
                "range": [min(run[way][key] for run in runs), max(run[way][key] for run in runs)],
            }
            for key in runs[0][way]
        }
        for way in WAYS
    }
    gains = [
        run["threshold tuned for f1"]["f1_score"] - run["likeliest label"]["f1_score"]
        for run in runs
    ]
    if asked.json:
        print(json.dumps({"ways": summary, "gain_of_the_threshold": gains}))
        return
    for way, figures in summary.items():
        line = "  ".join(
            f"{key} {value['median']:.3f} ({value['range'][0]:.3f}-{value['range'][1]:.3f})"
            for key, value in figures.items()
        )
        print(f"{way:24} {line}")
    print(f"F1 of the threshold less that of 0.5: {', '.join(f'{gain:+.3f}' for gain in gains)}")


if __name__ == "__main__":
    main()
