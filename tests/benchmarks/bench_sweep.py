"""A sweep of jobs that share their features, against as many separate trainings.

Whole processes, in turn on the same machine: one training after another without a feature cache,
then sweeps of one job and of many in a fresh output directory. What an added job costs is the
slope between the two sweeps.

    python tests/benchmarks/bench_sweep.py [--jobs 12] [--trainings 12] [--json] [OVERRIDE ...]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def run(*words: str) -> float:
    """Run ``sentiment`` in its own process and return seconds of wall time."""
    begin = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "sentiment", *words],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - begin


def main() -> None:
    # As on a usual machine, the first process keeps the bytecode for those that follow.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=12, help="jobs of the long sweep")
    parser.add_argument(
        "--trainings", type=int, default=12, help="separate trainings to time; scaled to --jobs"
    )
    parser.add_argument("--json", action="store_true", dest="as_json")
    parser.add_argument("overrides", nargs="*", help="e.g. data.sample_size=5000 model=logreg")
    options = parser.parse_args()
    values = [f"{0.1 * 1.4**i:.4g}" for i in range(options.jobs)]
    with tempfile.TemporaryDirectory(prefix="sentiment-bench-") as folder:
        alone = [
            run(
                "train", f"model.C={value}", "cache.max_gb=0",
                f"output_dir={Path(folder) / 'separate'}", *options.overrides,
            )
            for value in values[: options.trainings]
        ]  # fmt: skip

        def sweep(name: str, chosen: list[str]) -> float:
            return run(
                "sweep", f"model.C={','.join(chosen)}", f"output_dir={Path(folder) / name}",
                *options.overrides,
            )  # fmt: skip

        one, many = sweep("one", values[:1]), sweep("many", values)
    training = statistics.median(alone)
    added = (many - one) / (options.jobs - 1)
    separate = sum(alone) * options.jobs / len(alone)
    result = {
        "jobs": options.jobs,
        "training_alone_s": training,
        "separate_s": separate,
        "sweep_of_1_s": one,
        "sweep_s": many,
        "added_job_s": added,
        "added_job_share": added / training,
        "sweep_against_separate": separate / many,
    }
    if options.as_json:
        print(json.dumps(result))
        return
    print(f"one training alone (median of {len(alone)})   {training:8.1f} s")
    print(f"{options.jobs} separate trainings              {separate:8.1f} s")
    print(f"sweep of {options.jobs} jobs                   {many:8.1f} s")
    print(f"an added job                        {added:8.1f} s")
    print(f"an added job / a training alone     {added / training:8.2f}   (goal: <= 0.25)")
    print(f"separate trainings / sweep          {separate / many:8.1f}x")


if __name__ == "__main__":
    main()
