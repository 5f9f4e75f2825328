"""`sentiment train` as a whole process against the script that people usually write.

    uv run python tests/benchmarks/bench_train.py [--train FILE --test FILE] [--repeat N] [--json]

Without files, the embedded reviews are cut into two halves in blocks of 250 neighbours, so that
reviews of one film stand on one side, as in the official split. Both processes are timed from
start to exit, imports, tracking in a fresh SQLite database and the logged model included; the
median of the repeats is shown. What remains of ours is mostly imports: scikit-learn and MLflow.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

USUAL = """
import sys
import mlflow, mlflow.sklearn
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.pipeline import Pipeline

train, test = pd.read_csv(sys.argv[1]), pd.read_csv(sys.argv[2])
mlflow.set_tracking_uri("sqlite:///usual.db")
with mlflow.start_run():
    pipeline = Pipeline([
        ("tfidf", TfidfVectorizer(ngram_range=(1, 2))),
        ("model", LogisticRegression(max_iter=1000)),
    ])
    pipeline.fit(train["text"], train["label"])
    predicted = pipeline.predict(test["text"])
    accuracy = accuracy_score(test["label"], predicted)
    mlflow.log_metrics({
        "accuracy": accuracy,
        "f1": f1_score(test["label"], predicted, pos_label="positive"),
    })
    mlflow.sklearn.log_model(pipeline, name="model", input_example=test["text"].head(1).tolist())
print(accuracy)
"""


def halves(folder: Path) -> tuple[Path, Path]:
    """Write the embedded reviews as two CSV files of 12,500 rows."""
    import polars as pl

    from sentiment.data.splits import load_splits

    splits = load_splits(
        source="embedded", name="reviews", subset="imdb", label_names=["negative", "positive"],
        val_size=0.0, test_size=2 / 25000,
    )  # fmt: skip
    texts = splits.train.texts + splits.test.texts
    labels = splits.train.labels + splits.test.labels
    frame = pl.DataFrame({"text": texts, "label": labels}).with_row_index()
    odd = pl.col("index") // 250 % 2 == 1
    paths = folder / "train.csv", folder / "test.csv"
    for path, side in zip(paths, (~odd, odd), strict=True):
        frame.filter(side).drop("index").write_csv(path)
    return paths


def processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def timed(words: list[str], folder: Path) -> tuple[float, float, str]:
    """Return wall seconds, processor seconds and what the process printed."""
    begin, used = time.perf_counter(), processor_seconds()
    done = subprocess.run(
        words, cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr)
    return time.perf_counter() - begin, processor_seconds() - used, done.stdout


def main() -> None:
    # As on a usual machine, the first process keeps the bytecode for those that follow.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", type=Path)
    parser.add_argument("--test", type=Path)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {"usual script": [], "sentiment train": []}
    processor: dict[str, list[float]] = {"usual script": [], "sentiment train": []}
    accuracy: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        train, test = options.train, options.test
        if train is None:
            train, test = halves(Path(scratch))
        for repeat in range(options.repeat):
            folder = Path(scratch) / str(repeat)
            folder.mkdir()
            took, used, said = timed([sys.executable, "-c", USUAL, str(train), str(test)], folder)
            seconds["usual script"].append(took)
            processor["usual script"].append(used)
            accuracy["usual script"] = float(said.split()[-1])
            took, used, said = timed(
                [
                    sys.executable, "-m", "sentiment", "train", "--json", "data=files",
                    f"data.train={train.resolve()}", f"data.test={test.resolve()}", "data.val_size=0",
                ],
                folder,
            )  # fmt: skip
            seconds["sentiment train"].append(took)
            processor["sentiment train"].append(used)
            document = json.loads(said)
            accuracy["sentiment train"] = document["metrics"]["test_accuracy"]
    median = {name: statistics.median(values) for name, values in seconds.items()}
    work = {name: statistics.median(values) for name, values in processor.items()}
    result = {
        "seconds": median,
        "processor_seconds": work,
        "accuracy": accuracy,
        "ratio": median["usual script"] / median["sentiment train"],
        "points": 100 * (accuracy["sentiment train"] - accuracy["usual script"]),
        "stages": document["timings"],
    }
    if options.json:
        print(json.dumps(result))
        return
    for name, value in median.items():
        print(
            f"{name:<16} {value:6.1f} s ({work[name]:.1f} s of processor)   accuracy {accuracy[name]:.4f}"
        )
    print(f"{result['ratio']:.1f} times faster, {result['points']:+.1f} points")
    print(
        "stages:", ", ".join(f"{name} {value:.1f} s" for name, value in document["timings"].items())
    )


if __name__ == "__main__":
    main()
