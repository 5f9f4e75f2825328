"""Small real models: fitted here once, compiled, stored."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from sklearn.linear_model import LogisticRegression

from sentiment import store
from sentiment.compiler.compile import CompiledScorer, compile_scorer
from sentiment.scorer import Scorer
from sentiment.vectorizers import TfidfVectorizer

GOOD = ["good", "great", "wonderful", "excellent", "loved", "moving", "brilliant", "fun"]
BAD = ["bad", "awful", "terrible", "boring", "hated", "dull", "worst", "waste"]
PLAIN = [
    "the",
    "a",
    "film",
    "movie",
    "it",
    "is",
    "was",
    "of",
    "and",
    "plot",
    "actor",
    "scene",
    "music",
    "I",
    "this",
    "that",
    "don't",
    "café",
    "naïve",
    "İstanbul",
    "東京",
    "½",
    "10",
    "very",
    "not",
    "all",
    "who",
    "made",
    "time",
    "story",
    "in",
    "ЁЖИК",
    "ending<br",
    "/>start",
]


def make_texts(n: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Make texts up whose words tell their label most of the time."""
    chance = random.Random(seed)
    texts, labels = [], []
    for _ in range(n):
        label = chance.choice(["negative", "positive"])
        strong = GOOD if label == "positive" else BAD
        other = BAD if label == "positive" else GOOD
        words = [
            chance.choice(
                strong if chance.random() < 0.25 else other if chance.random() < 0.1 else PLAIN
            )
            for _ in range(chance.randint(0, 40))
        ]
        texts.append(" ".join(words) + chance.choice(["", ".", "!", "\n"]))
        labels.append(label)
    return texts, labels


@pytest.fixture(scope="session")
def texts() -> list[str]:
    return make_texts(120, seed=1)[0]


@pytest.fixture(scope="session")
def compiled() -> CompiledScorer:
    train, labels = make_texts(300)
    held_out, held_out_labels = make_texts(120, seed=1)
    vectorizer = TfidfVectorizer(ngram_range=(1, 3), sublinear_tf=True, strip_html=True)
    classifier = LogisticRegression(C=10).fit(vectorizer.fit_transform(train), labels)
    return compile_scorer(
        vectorizer,
        classifier,
        positive_label="positive",
        reference_texts=held_out,
        reference_labels=held_out_labels,
    )


@pytest.fixture(scope="session")
def output_dir(compiled: CompiledScorer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one model, which is the latest."""
    directory = tmp_path_factory.mktemp("outputs")
    stored = store.save_model(compiled, {"run_id": "r1", "metrics": {}}, directory)
    store.set_pointer(directory, "latest", stored.digest, run_id="r1", source="train")
    return directory


@pytest.fixture(scope="session")
def scorer(output_dir: Path) -> Scorer:
    stored = store.resolve("latest", output_dir)
    return Scorer.load(stored.path, digest=stored.digest)
