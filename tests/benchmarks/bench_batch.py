"""A file of texts to a Parquet file: ours on all cores beside scikit-learn in one process.

    python tests/benchmarks/bench_batch.py --texts FILE.parquet [--work DIR] [--json]

The model is that of ``bench_scorer.py``. Both read the Parquet file and write one.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from bench_scorer import arguments, prepare, report  # type: ignore[import-not-found]

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


def main() -> None:
    options = arguments(__doc__)
    scorer_dir, pipeline_file = prepare(options.work)
    if not options.texts:
        sys.exit("give --texts FILE.parquet")
    target = options.work / "out.parquet"
    ours = [sys.executable, "-m", "sentiment", "predict", "--input", options.texts]
    ours += ["--output", str(target), "--force", "--model", str(scorer_dir)]
    theirs = [sys.executable, "-c", PEER, str(pipeline_file), options.texts, str(target)]
    seconds = {}
    for name, words in (("ours", ours), ("scikit-learn", theirs)):
        begin = time.perf_counter()
        subprocess.run(words, check=True, stderr=subprocess.DEVNULL)
        seconds[name] = time.perf_counter() - begin
        Path(target).unlink()
    report(
        {
            "file to file, ours, s": seconds["ours"],
            "file to file, scikit-learn, s": seconds["scikit-learn"],
            "times faster": seconds["scikit-learn"] / seconds["ours"],
        },
        options.json,
    )


if __name__ == "__main__":
    main()
