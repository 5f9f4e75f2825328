"""A file of texts to a Parquet file: ours on all cores beside scikit-learn in one process.

    python tests/benchmarks/bench_batch.py [--texts FILE.parquet] [--work DIR] [--rows N] [--json]

The model is that of ``bench_scorer.py``; without a file, the 25,000 reviews twice. Both read the
Parquet file and write one. Then ours scores short lines (JSONL to JSONL), 100,000 of them and
``--rows`` (a million; 0 leaves it out), for the largest memory of any of its processes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
from bench_scorer import prepare, read_texts, report  # type: ignore[import-not-found]

PEER = """
import sys, joblib, pandas as pd
pipeline = joblib.load(sys.argv[1])
table = pd.read_parquet(sys.argv[2])
probabilities = pipeline.predict_proba(table["text"])
table["label"] = pipeline.classes_[probabilities.argmax(axis=1)]
for number, label in enumerate(pipeline.classes_):
    table[f"probability_{label}"] = probabilities[:, number]
table.to_parquet(sys.argv[3])
"""


def peak_megabytes(words: list[str]) -> float:
    """Run a command and return the largest private memory that any of its processes had, in MB."""
    command = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    parent, peak = psutil.Process(command.pid), 0
    while command.poll() is None:
        try:
            for process in [parent, *parent.children(recursive=True)]:
                peak = max(peak, process.memory_full_info().uss)
        except psutil.NoSuchProcess:
            pass
        time.sleep(0.02)  # the most is needed for moments, while it starts and while it ends
    if command.returncode:
        raise SystemExit(f"{words[:4]} ended with {command.returncode}")
    return peak / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", help="Parquet file with a column 'text'")
    parser.add_argument("--work", type=Path, default=Path("outputs/bench"))
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    scorer_dir, pipeline_file = prepare(options.work)
    source = options.texts
    if source is None:
        import pandas as pd

        source = str(options.work / "reviews.parquet")
        pd.DataFrame({"text": read_texts(None, 25_000) * 2}).to_parquet(source)
    target = options.work / "out.parquet"

    def predict(file: Path | str, output: Path) -> list[str]:
        words = [sys.executable, "-m", "sentiment", "predict", "--input", str(file)]
        return [*words, "--output", str(output), "--force", "--model", str(scorer_dir)]

    seconds = {}
    theirs = [sys.executable, "-c", PEER, str(pipeline_file), source, str(target)]
    for name, words in (("ours", predict(source, target)), ("scikit-learn", theirs)):
        begin = time.perf_counter()
        subprocess.run(words, check=True, stderr=subprocess.DEVNULL)
        seconds[name] = time.perf_counter() - begin
        target.unlink()
    figures = {
        "file to file, ours, s": seconds["ours"],
        "file to file, scikit-learn, s": seconds["scikit-learn"],
        "times faster": seconds["scikit-learn"] / seconds["ours"],
    }
    sentences = [text[:80] for text in read_texts(None, 25_000)]
    for rows in (100_000, options.rows) if options.rows else ():
        lines, answers = options.work / "lines.jsonl", options.work / "answers.jsonl"
        with lines.open("w") as file:
            for number in range(rows):
                text = sentences[number % len(sentences)]
                file.write(json.dumps({"id": number, "text": text}) + "\n")
        figures[f"memory of a process, {rows:,} rows, MB"] = peak_megabytes(predict(lines, answers))
        with answers.open("rb") as file:
            assert sum(1 for _ in file) == rows
        lines.unlink()
        answers.unlink()
    report(figures, options.json)


if __name__ == "__main__":
    main()
