"""A file that grows, week after week: how often the gate refuses an equal model, and a worse one.

    python tests/benchmarks/bench_gate.py [WORLDS]

Each world draws 2,000 of the embedded sentences, trains a champion, and grows the file by a tenth five
times. Each time the same config is trained on it and taken through the default gate, and so is a
model of the same file with a tenth of all labels turned. Equal models should be refused in at most
5 % of cases, turned ones always.
"""

from __future__ import annotations

import json
import logging
import random
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from sentiment import config
from sentiment.data.splits import load_splits
from sentiment.registry.contest import Contender
from sentiment.registry.gate import GateResult, judge, load_rules
from sentiment.scorer import Scorer
from sentiment.training.run import train

START, WEEKS = 2000, 5


def contender(file: Path, out: Path, name: str) -> Contender:
    """Train on a file, and return what the gate sees of the run."""
    words = [
        "data=files", f"data.train={file}", "data.positive_label=positive",
        "model=logreg", f"output_dir={out}",
    ]  # fmt: skip
    result = train(config.compose(words), overrides=words, draw=False)
    stored = Path(result.model)
    info = json.loads((stored / "info.json").read_text())
    artifacts = next(out.rglob(f"{result.run_id}/artifacts"))

    def run_file(wanted: str) -> Path | None:
        return artifacts / wanted if (artifacts / wanted).exists() else None

    scorer = Scorer.load(stored / "scorer")
    fingerprint = info["data"]["test_fingerprint"]
    return Contender(name, lambda: scorer, result.metrics, fingerprint, run_file)


def write(file: Path, rows: list[tuple[str, str]]) -> Path:
    pl.DataFrame(rows, schema=["text", "label"], orient="row").write_csv(file)
    return file


def turned(rows: list[tuple[str, str]], rng: random.Random) -> list[tuple[str, str]]:
    """Turn a tenth of the labels."""
    other = {"positive": "negative", "negative": "positive"}
    return [(text, other[label] if rng.random() < 0.1 else label) for text, label in rows]


def world(seed: int, everything: list[tuple[str, str]]) -> list[tuple[GateResult, GateResult]]:
    """Return what the gate said each week of an equal and of a turned model."""
    rng = random.Random(seed)
    rows = rng.sample(everything, len(everything))
    rules, said = load_rules("default"), []
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        size = START
        champion = contender(write(folder / "0.csv", rows[:size]), folder / "out", "week 0")
        for week in range(1, WEEKS + 1):
            size = round(size * 1.1)
            now = rng.sample(rows[:size], size)
            equal = contender(write(folder / f"{week}.csv", now), folder / "out", f"week {week}")
            bad = write(folder / f"{week}-turned.csv", turned(now, rng))
            worse = contender(bad, folder / "out", f"week {week}, turned")
            verdicts = [judge(rules, "default", model, champion) for model in (equal, worse)]
            said.append((verdicts[0], verdicts[1]))
            if verdicts[0].passed:
                champion = equal
    return said


def main() -> None:
    logging.disable(logging.WARNING)
    worlds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    whole = load_splits(
        source="embedded", name="rt", subset="rotten_tomatoes",
        label_names=["negative", "positive"],
    )  # fmt: skip
    everything = [
        pair
        for part in (whole.train, whole.val, whole.test)
        for pair in zip(part.texts, part.labels, strict=True)
    ]
    said = [verdict for seed in range(worlds) for verdict in world(seed, everything)]
    for name, index in (("equal", 0), ("turned", 1)):
        refused = [pair[index] for pair in said if not pair[index].passed]
        reasons = {check.name for result in refused for check in result.checks if not check.passed}
        by_test = sum(
            any(check.name == "significance" and not check.passed for check in result.checks)
            for result in refused
        )
        print(
            f"{name}: {len(refused)} of {len(said)} refused ({', '.join(sorted(reasons)) or '-'}); "
            f"{by_test} by the paired test"
        )


if __name__ == "__main__":
    main()
