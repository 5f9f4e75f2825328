"""``sentiment predict "text"`` as a whole process beside Python with joblib, and a quick training.

    python tests/benchmarks/bench_cli.py [--work DIR] [--json]

The model is that of ``bench_scorer.py``. Medians of five runs, with the bytecode kept from the
first as usual; where it may not be, both processes compile all that they import at every start. The
quick training stands beside ``import sklearn.linear_model, mlflow``.
"""

from __future__ import annotations

import os
import subprocess
import sys

from bench_scorer import arguments, median, prepare, report  # type: ignore[import-not-found]

PEER = (
    "import sys, joblib; pipeline = joblib.load(sys.argv[1]); "
    "print(pipeline.predict_proba([sys.argv[2]]))"
)
TEXT = "A wonderful film with a plot that never bores."


def main() -> None:
    # As on a usual machine, the first process keeps the bytecode for those that follow.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    options = arguments(__doc__)
    scorer_dir, pipeline_file = prepare(options.work)

    def run(*words: object) -> float:
        return median(
            lambda: subprocess.run(
                [sys.executable, *map(str, words)], check=True, capture_output=True
            )
        )

    ours = run("-m", "sentiment", "predict", TEXT, "--model", scorer_dir)
    theirs = run("-c", PEER, pipeline_file, TEXT)
    quick = run("-m", "sentiment", "train", "experiment=quick", f"output_dir={options.work}/quick")
    imports = run("-c", "import sklearn.linear_model, mlflow")
    report(
        {
            "sentiment predict, s": ours,
            "python with joblib, s": theirs,
            "times faster": theirs / ours,
            "sentiment --help, s": run("-m", "sentiment", "--help"),
            "sentiment train experiment=quick, s": quick,
            "its imports alone, s": imports,
            "quick training over imports": quick / imports,
        },
        options.json,
    )


if __name__ == "__main__":
    main()
