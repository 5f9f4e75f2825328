"""Fit the whole default model beside fastText and Vowpal Wabbit with word 3-grams.

    uv run --with fasttext --with vowpalwabbit python tests/benchmarks/bench_peers.py
        [--train FILE --test FILE] [--repeat N] [--json]

Everything from a list of texts to a model that can answer is timed, in a process of its own that
has imported what it needs: for the peers the preparation of the text (lower case, tags and
punctuation cut off as words of their own) and the training file, for ours vocabulary, weights and
calibration. Without files, the two halves of ``bench_train.py`` are used. fastText trains on both
cores, ten epochs; Vowpal Wabbit makes three passes over 2**22 weights; both are the settings that
their users take for reviews, not tuned here.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROWS = ("sentiment", "fasttext", "vowpal wabbit")
_TAG = re.compile(r"<[^>]+>")
_TOKEN = re.compile(r"\w+(?:'\w+)*|[^\w\s]")


def read(path: Path) -> tuple[list[str], list[str]]:
    csv.field_size_limit(1 << 30)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [row["text"] for row in rows], [row["label"] for row in rows]


def prepare(text: str) -> str:
    return " ".join(_TOKEN.findall(_TAG.sub(" ", text.lower())))


Fit = Callable[[list[str], list[str], Path], Callable[[list[str]], list[str]]]


def fit_sentiment() -> Fit:
    from sentiment.config import compose
    from sentiment.training.pipeline import build_pipeline

    pipeline = build_pipeline(compose([]))

    def fit(texts: list[str], labels: list[str], _: Path) -> Callable[[list[str]], list[str]]:
        pipeline.fit(texts, labels)
        return lambda texts: list(pipeline.predict(texts))

    return fit


def fit_fasttext() -> Fit:
    import fasttext

    def fit(texts: list[str], labels: list[str], folder: Path) -> Callable[[list[str]], list[str]]:
        file = folder / "train.txt"
        with file.open("w") as out:
            for text, label in zip(texts, labels, strict=True):
                out.write(f"__label__{label} {prepare(text)}\n")
        model = fasttext.train_supervised(
            str(file), wordNgrams=3, epoch=10, lr=0.5, thread=2, verbose=0
        )
        # The package's own predict fails on numpy 2; what it wraps does not.
        return lambda texts: [
            model.f.predict(prepare(text) + "\n", 1, 0.0, "strict")[0][1].removeprefix("__label__")
            for text in texts
        ]

    return fit


def fit_vowpal_wabbit() -> Fit:
    from vowpalwabbit import Workspace

    def lines(texts: list[str]) -> list[str]:
        # The two characters that mean something to Vowpal Wabbit.
        return ["| " + prepare(text).replace(":", " ").replace("|", " ") for text in texts]

    def fit(texts: list[str], labels: list[str], folder: Path) -> Callable[[list[str]], list[str]]:
        negative, positive = sorted(set(labels))
        file, model = folder / "train.vw", folder / "model.vw"
        with file.open("w") as out:
            for line, label in zip(lines(texts), labels, strict=True):
                out.write(f"{1 if label == positive else -1} {line}\n")
        Workspace(
            f"--data {file} --passes 3 --cache_file {folder / 'cache'} -k --ngram 3 -b 22 "
            f"--loss_function logistic --final_regressor {model} --quiet"
        ).finish()

        def predict(texts: list[str]) -> list[str]:
            workspace = Workspace(f"-t -i {model} --quiet")
            return [positive if workspace.predict(line) > 0 else negative for line in lines(texts)]

        return predict

    return fit


FITS = {
    "sentiment": fit_sentiment,
    "fasttext": fit_fasttext,
    "vowpal wabbit": fit_vowpal_wabbit,
}


def run(name: str, train: Path, test: Path) -> dict[str, float]:
    """Fit once in this process, and measure."""
    fit = FITS[name]()
    texts, labels = read(train)
    # Files often come sorted by label, which no online learner survives.
    order = random.Random(0).sample(range(len(texts)), len(texts))
    texts, labels = [texts[i] for i in order], [labels[i] for i in order]
    held_out, expected = read(test)
    with tempfile.TemporaryDirectory() as folder:
        used, begin = processor_seconds(), time.perf_counter()
        predict = fit(texts, labels, Path(folder))
        seconds, processor = time.perf_counter() - begin, processor_seconds() - used
        answers = predict(held_out)
    right = sum(a == b for a, b in zip(answers, expected, strict=True))
    return {
        "seconds": seconds,
        "processor_seconds": processor,
        "accuracy": right / len(expected),
    }


def processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", type=Path)
    parser.add_argument("--test", type=Path)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one", choices=ROWS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(run(options.one, options.train, options.test)))
        return
    found: dict[str, list[dict[str, float]]] = {name: [] for name in options.rows}
    with tempfile.TemporaryDirectory() as scratch:
        train, test = options.train, options.test
        if train is None:
            from bench_train import halves  # type: ignore[import-not-found]

            train, test = halves(Path(scratch))
        for _ in range(options.repeat):
            for name in options.rows:
                words = ["--one", name, "--train", str(train), "--test", str(test)]
                done = subprocess.run(
                    [sys.executable, __file__, *words],
                    check=True,
                    stdout=subprocess.PIPE,
                    text=True,
                )
                found[name].append(json.loads(done.stdout.splitlines()[-1]))
    result = {
        name: {key: statistics.median(one[key] for one in runs) for key in runs[0]}
        for name, runs in found.items()
    }
    if options.json:
        ours = result["sentiment"]
        faster = {
            name: row["seconds"] / ours["seconds"]
            for name, row in result.items()
            if row is not ours
        }
        print(json.dumps({**result, "times faster": faster}))
        return
    print(f"{'fit':<14} {'wall, s':>8} {'processor, s':>13} {'accuracy':>9}")
    for name, row in result.items():
        print(
            f"{name:<14} {row['seconds']:8.1f} {row['processor_seconds']:13.1f}"
            f" {row['accuracy']:9.4f}"
        )


if __name__ == "__main__":
    main()
