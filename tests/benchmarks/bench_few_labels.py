"""Few labels and much text: labels alone, with texts without label, and scikit-learn beside them.

    python tests/benchmarks/bench_few_labels.py [--pool FILE] [--labels 100,1000] [--samples 5] [--json]
    python tests/benchmarks/bench_few_labels.py --data sentences
    python tests/benchmarks/bench_few_labels.py --simulate

For each number of labels so many samples of the training texts are drawn; the other training texts,
and those of ``--pool``, have no label. All judge the same held-out texts: the 5,000 test rows of
``data=reviews``, or the sentences that ``data=rotten_tomatoes`` tests on. Nothing here learns from a
test row, but the defaults of vectorizer and classifier were once chosen by cross-validation over all of
these texts, and films have reviews on both sides: columns can be compared, and none is a clean estimate.

Beside the accuracies (median and range over samples) stands the expected calibration error.
``--simulate`` lets known labels answer in a person's place, and counts the random labels that give
what chosen ones do.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.semi_supervised import SelfTrainingClassifier

from sentiment import config
from sentiment.data.pool import read_texts
from sentiment.data.split import Split
from sentiment.data.splits import Splits
from sentiment.evaluation.metrics import evaluate
from sentiment.labelling.simulation import simulate
from sentiment.training.pipeline import build_pipeline
from sentiment.training.recipe import Recipe
from sentiment.training.run import load
from sentiment.training.semi import self_train

WORDS = {"reviews": [], "sentences": ["data=rotten_tomatoes", "experiment=sentences"]}
SHARE = 0.4  # of the pool, that one round of scikit-learn's self-training labels: as ours


class Bench:
    """All texts with their features, made once: samples differ in which rows have a label."""

    def __init__(self, data: str, pool: str | None) -> None:
        self.cfg = config.compose([*WORDS[data], "data.val_size=0"])
        self.splits = load(self.cfg).splits
        self.train, self.test = self.splits.train, self.splits.test
        known = {*self.train.texts, *self.test.texts}
        more = read_texts(pool, text_column="text") if pool else []
        self.pool = [text for text in dict.fromkeys(more) if text not in known]
        self.texts = [*self.train.texts, *self.pool]
        self.vectorizer = build_pipeline(self.cfg)[0]
        self.X = self.vectorizer.fit_transform(self.texts)
        self.X_test = self.vectorizer.transform(self.test.texts)
        self.stock = TfidfVectorizer()
        self.X_stock = self.stock.fit_transform(self.texts)
        self.X_stock_test = self.stock.transform(self.test.texts)

    def sample(self, n: int, seed: int) -> list[int]:
        """Draw rows to have a label, as many of each class."""
        random, labels = np.random.default_rng(seed), np.array(self.train.labels)
        each = n // len(self.splits.classes)
        drawn = [
            random.choice(np.flatnonzero(labels == c), each, False) for c in self.splits.classes
        ]
        return sorted(np.concatenate(drawn).tolist())

    def methods(self, rows: list[int], seed: int) -> Iterator[tuple[str, dict[str, float]]]:
        """Yield what each method reaches with these labels."""
        few = self.train.take(rows)
        rest = np.setdiff1d(np.arange(len(self.texts)), rows)
        labels = np.array(few.labels)

        alone = build_pipeline(self.cfg).fit(few.texts, few.labels)
        yield "labels alone", self._judge(alone[-1].classes_, alone.predict_proba(self.test.texts))

        pipeline = build_pipeline(self.cfg)
        pipeline.steps[0] = ("vectorizer", self.vectorizer)
        features = {"train": self.X[rows], "unlabelled": self.X[rest], "test": self.X_test}
        splits: Splits = replace(
            self.splits, train=few, val=Split([], []), unlabelled=[self.texts[i] for i in rest]
        )
        fitted, verdict = self_train(pipeline, features, splits, Recipe(), seed=seed)
        print(f"  {verdict}", file=sys.stderr)
        found = fitted.classifier.predict_proba(fitted.features["test"])
        yield "texts without label too", self._judge(fitted.classes, found)

        simple = TfidfVectorizer()
        model = LogisticRegression(max_iter=1000).fit(simple.fit_transform(few.texts), labels)
        found = model.predict_proba(simple.transform(self.test.texts))
        yield "scikit-learn: tf-idf, logistic regression", self._judge(model.classes_, found)

        codes = np.full(len(self.texts), -1)
        codes[rows] = np.searchsorted(self.splits.classes, labels)
        for name, how in (
            ("scikit-learn: SelfTrainingClassifier", {}),
            (
                "scikit-learn: SelfTrainingClassifier, surest 40 % once",
                {"criterion": "k_best", "k_best": int(SHARE * len(rest)), "max_iter": 1},
            ),
        ):
            taught = SelfTrainingClassifier(LogisticRegression(max_iter=1000), **how)
            taught.fit(self.X_stock, codes)
            yield name, self._judge(self.splits.classes, taught.predict_proba(self.X_stock_test))

    def _judge(self, classes: Any, probabilities: Any) -> dict[str, float]:
        figures = evaluate(
            self.test.labels, np.asarray(probabilities, np.float64), [str(c) for c in classes],
            positive_label=None, seed=0,
        )  # fmt: skip
        return {"accuracy": figures["accuracy"], "ece": figures["ece"]}


def spread(values: list[float]) -> dict[str, float]:
    """Return median, mean and range."""
    return {
        "median": statistics.median(values), "mean": statistics.fmean(values),
        "low": min(values), "high": max(values),
    }  # fmt: skip


def few_labels(bench: Bench, numbers: list[int], samples: int) -> dict[str, Any]:
    """Return each method's figures by number of labels."""
    table: dict[str, Any] = {}
    for n in numbers:
        found: dict[str, dict[str, list[float]]] = {}
        for seed in range(samples if n < len(bench.train) else 1):
            for name, figures in bench.methods(bench.sample(n, seed), seed):
                print(f"{n} labels, sample {seed}: {name}: {figures}", file=sys.stderr, flush=True)
                for key, value in figures.items():
                    found.setdefault(name, {}).setdefault(key, []).append(value)
        table[f"{n} labels"] = {
            name: {key: spread(values) for key, values in each.items()}
            for name, each in found.items()
        }
    return table


def chosen_labels(splits: Splits, samples: int, most: int, batch: int) -> dict[str, Any]:
    """Return how good chosen labels are, and how many random ones give the same."""
    rows = [*zip(splits.train.texts, splits.train.labels, strict=True)]
    ends, saved = [], []
    for seed in range(samples):
        chosen = list(simulate(rows, "diverse", batch=batch, seed=seed, most=most))
        random = list(simulate(rows, "random", batch=batch, seed=seed, most=4 * most))
        goal = chosen[-1][1]
        enough = next((n for n, accuracy in random if accuracy >= goal), 4 * most)
        ends.append(goal)
        saved.append(1 - most / enough)
        print(f"seed {seed}: {most} chosen {goal:.4f}, as {enough} random", file=sys.stderr)
    return {f"{most} chosen labels": {"accuracy": spread(ends), "labels saved": spread(saved)}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=WORDS, default="reviews")
    parser.add_argument("--pool", metavar="FILE", help="further texts without label")
    parser.add_argument("--labels", default="100,200,1000,2000")
    parser.add_argument("--samples", type=int, default=5)
    parser.add_argument("--simulate", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.simulate:
        splits = load(config.compose([*WORDS[options.data], "data.val_size=0"])).splits
        found = chosen_labels(splits, options.samples, most=1000, batch=100)
    else:
        bench = Bench(options.data, options.pool)
        found = few_labels(bench, [int(n) for n in options.labels.split(",")], options.samples)
    if options.json:
        print(json.dumps(found))
        return
    for n, methods in found.items():
        print(n)
        for name, figures in methods.items():
            each = figures if "median" not in figures else {"": figures}
            told = (
                f"{key} {f['median']:.4f} ({f['low']:.4f} to {f['high']:.4f}), mean {f['mean']:.4f}"
                for key, f in each.items()
            )
            print(f"  {name:56} {'; '.join(told)}")


if __name__ == "__main__":
    main()
