"""A column of a Spark data frame through a model: `sentiment.spark.score` beside MLflow's UDF, by the core.

    uv run --extra spark python tests/benchmarks/bench_spark.py --texts 25000
    uv run --extra spark python tests/benchmarks/bench_spark.py --workers 1    # a busy machine, one core

Both score the same logged model in one Spark session on a standalone master with workers of one core each,
in pairs, over the embedded reviews; answers are compared. Starting Spark and the first, unmeasured scoring
are left out.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support.clusters import spark_master
from support.reviews import shuffled


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=25_000)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    import mlflow
    from pyspark.sql import functions as sf

    import sentiment
    from sentiment.spark import score, session
    from sentiment.tracking.address import tracking_uri

    with tempfile.TemporaryDirectory(prefix="bench-spark-") as scratch:
        trained = sentiment.train(["data.sample_size=5000"], output_dir=scratch)
        mlflow.set_tracking_uri(tracking_uri(Path(scratch)))
        rows = [(text, number) for number, (text, _) in enumerate(shuffled())]
        rows = (rows * -(-asked.texts // len(rows)))[: asked.texts]
        with (
            spark_master(asked.workers, Path(scratch) / "spark") as address,
            session(address) as spark,
        ):
            frame = spark.createDataFrame(rows, "text string, n long")
            frame = frame.repartition(4 * asked.workers).cache()
            frame.count()
            kind = "label string, confidence double, probability_negative double, probability_positive double"
            udf = mlflow.pyfunc.spark_udf(
                spark, f"runs:/{trained.run_id}/model", result_type=kind, env_manager="local"
            )
            # MLflow names a single column by its place; the model wants its name.
            ways = {
                "sentiment": score(frame, output_dir=scratch),
                "mlflow": frame.withColumn("sentiment", udf(sf.struct("text"))),
            }
            answers = {
                name: {
                    row["n"]: (row["sentiment"]["label"], row["sentiment"]["confidence"])
                    for row in way.limit(2000).select("n", "sentiment").collect()
                }
                for name, way in ways.items()
            }
            both = answers["sentiment"].keys() & answers["mlflow"].keys()
            same = all(answers["sentiment"][n] == answers["mlflow"][n] for n in both)
            times: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(asked.pairs):
                for name, way in ways.items():
                    begin = time.perf_counter()
                    way.write.format("noop").mode("overwrite").save()
                    times[name].append(time.perf_counter() - begin)
    print(f"{len(both)} answers compared, {'equal' if same else 'DIFFERENT'}")
    for name, seconds in times.items():
        print(
            f"{name:10} {asked.texts / statistics.median(seconds) / asked.workers:8,.0f} texts/s and core"
        )
    ratios = [b / a for a, b in zip(times["sentiment"], times["mlflow"], strict=True)]
    print(f"ratio of pairs, median: {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
