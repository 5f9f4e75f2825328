"""The sliding window that workers share: what is summed, what is taken over, what begins anew."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sentiment.compiler.compile import compile_scorer
from sentiment.drift.reference import Reference
from sentiment.drift.signals import measure
from sentiment.feedback import Answer, Feedback, observed
from sentiment.scorer import Scorer
from sentiment.store import resolve
from serve.claim import Signer, fingerprint
from serve.model import LoadedModel
from serve.ring import BUCKETS, Ring
from serve.window import DriftWindow


def loaded(scorer, name="reviews"):
    return LoadedModel(scorer, name, "1", scorer.digest, scorer.labels, None, {}, Path(), ())


@pytest.fixture(scope="module")
def model(store):
    return loaded(Scorer.load(resolve("champion", store).path))


@pytest.fixture
def monitor(tmp_path, monkeypatch):
    monkeypatch.setattr("serve.window.FRESH_SECONDS", 0.0)

    def make(window=200, directory=tmp_path):
        return DriftWindow(window, {}, directory, tmp_path / "feedback.db", 100)

    return make


def see(monitor, model, texts):
    monitor.add(model, texts, [model.scorer.predict(texts)], own=True)
    monitor.flush()


def test_workers_are_summed_and_the_oldest_texts_leave(monitor, model, streams):
    first, second = monitor(), monitor()
    first.swapped(model)
    second.swapped(model)
    see(first, model, streams.german[:400])
    see(second, model, streams.movies[:150])
    see(first, model, streams.movies[150:300])
    drift = first.compare()
    assert 200 <= drift.n <= 240
    assert drift.drifted is False  # the German texts have left, whoever saw them
    assert second.compare().n == drift.n


def test_single_predictions_and_batches_count_alike(monitor, model, streams):
    one, many = monitor(directory=None), monitor(directory=None)
    for some in (one, many):
        some.swapped(model)
    texts = streams.movies[:120]
    for text in texts:
        one.add_one(model, text, model.scorer.predict_one(text), own=True)
    see(many, model, texts)
    a, b = one.compare(), many.compare()
    assert a.n == b.n == 120
    assert a.labels == b.labels
    assert a.histograms == b.histograms
    assert a.accuracy.estimated == pytest.approx(b.accuracy.estimated)


WORKER = """
import json, sys
from pathlib import Path
from sentiment.drift.reference import Reference
from sentiment.scorer import Scorer
from serve.ring import Ring

reference = Reference(Scorer.load(Path(sys.argv[1])))
ring = Ring(reference, 20, Path(sys.argv[2]), "drift")
for counts, part in ring.places(json.loads(sys.stdin.readline())):
    reference.count_words(counts, part)
print("counted", flush=True)
sys.stdin.readline()
"""


def test_a_successor_takes_over_what_a_dead_worker_counted(model, store, streams, tmp_path):
    reference = Reference(model.scorer)
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(resolve("champion", store).path), str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write(json.dumps(streams.movies[:50]) + "\n")
        worker.stdin.flush()
        assert worker.stdout.readline() == "counted\n"
        living = Ring(reference, 20, tmp_path, "drift")
        assert len(list(tmp_path.glob("*.ring"))) == 2
        worker.kill()
    successor = Ring(reference, 20, tmp_path, "drift")
    assert len(list(tmp_path.glob("*.ring"))) == 2  # the dead one's, and not a third
    whole = reference.zeros()
    living.total(whole, ["word_texts"], 1000)
    assert whole["word_texts"] == 50
    for counts, part in successor.places(streams.movies[50:60]):
        reference.count_words(counts, part)
    whole = reference.zeros()
    living.total(whole, ["word_texts"], 1000)
    assert whole["word_texts"] == 60


def test_the_window_holds_its_number_of_texts_and_hardly_more(model, streams):
    reference = Reference(model.scorer)
    ring = Ring(reference, 20)
    for n in range(1, 60):
        for counts, part in ring.places(streams.movies[n * 10 : n * 10 + 10]):
            counts["word_texts"] += len(part)
        whole = reference.zeros()
        ring.total(whole, ["word_texts"], 20 * BUCKETS)
        assert min(n * 10, 20 * BUCKETS) <= whole["word_texts"] < 20 * BUCKETS + 20


def test_another_model_begins_anew_and_the_same_one_does_not(monitor, model, streams, tmp_path):
    some = monitor()
    some.swapped(model)
    see(some, model, streams.movies[:100])
    some.swapped(replace(model, version="2"))  # only promoted: the same weights
    assert some.compare().n == 100
    other = loaded(three_classes())
    some.add(model, streams.movies[:5], [model.scorer.predict(streams.movies[:5])], own=True)
    some.swapped(other)
    assert some.compare().n == 0  # what the last model said late does not count for this one
    see(some, other, ["a red apple", "a blue sea"])
    assert some.compare().n == 2
    assert {path.name.split("-")[1] for path in tmp_path.glob("*.ring")} == {other.digest[:16]}


def three_classes(**options):
    from sklearn.linear_model import LogisticRegression

    from sentiment.vectorizers import HashingVectorizer, TfidfVectorizer

    generator = np.random.default_rng(0)
    words = {"red": "apple tomato cherry", "blue": "sea sky jeans", "green": "grass leaf frog"}
    texts, labels = [], []
    for label, own in words.items():
        for _ in range(200):
            texts.append(" ".join([label, *generator.choice(own.split(), 3), "a", "the"]))
            labels.append(label)
    hashing = options.pop("hashing", False)
    vectorizer = HashingVectorizer(n_features=1024) if hashing else TfidfVectorizer()
    classifier = LogisticRegression().fit(vectorizer.fit_transform(texts), labels)
    options = {"reference_texts": texts, "reference_labels": labels, **options}
    return compile_scorer(vectorizer, classifier, **options).scorer


def test_more_classes_and_models_without_vocabulary_work_too():
    for scorer in (three_classes(), three_classes(hashing=True)):
        reference = Reference(scorer)
        assert reference.low_confidence_below == pytest.approx(0.45)
        texts = ["red apple cherry", "blue sea sky", "green frog leaf"] * 100
        counts = reference.zeros()
        reference.add(counts, texts, scorer.predict(texts))
        drift = measure(reference, counts)
        assert {label: here for label, (here, _) in drift.labels.items()} == pytest.approx(
            {"blue": 1 / 3, "green": 1 / 3, "red": 1 / 3}
        )
        assert (drift.word_texts == 0) == (reference.word_view is None)


def test_a_model_without_reference_is_served_and_says_why_there_is_no_drift(monitor):
    some = monitor()
    bare = loaded(three_classes(reference_texts=(), reference_labels=None))
    some.swapped(bare)
    see(some, bare, ["a red apple"])
    document = some.document()
    assert document["drift"] is None
    assert "without reference" in document["reason"]
    assert [metric.name for metric in some.collect()] == []


def test_ids_are_signed_and_tell_what_was_said():
    signer, other = Signer(b"k" * 32), Signer(b"j" * 32)
    digest = "ab" * 32
    first, second = (signer.sign(digest, "très bien", 0.75, "A film.") for _ in range(2))
    assert first != second
    claim = signer.read(first)
    assert claim[:3] == (digest[:32], "très bien", 0.75)
    assert claim.fingerprint == fingerprint("A film.")
    assert other.read(first) is None
    for place in range(len(first)):
        for letter in "AQgw":
            forged = first[:place] + letter + first[place + 1 :]
            assert forged == first or signer.read(forged) is None
    for wrong in ("", "A", first + "=", first[:-1], first + "A", "é" * 92, first + "\n"):
        assert signer.read(wrong) is None


def test_answers_count_once_and_the_last_ones_are_looked_at(tmp_path):
    path = tmp_path / "deep" / "feedback.db"
    assert observed(path, "ab" * 32, 10) == (0, 0)
    store = Feedback(path)
    assert path.stat().st_mode & 0o077 == 0

    def answer(number, label, digest="ab" * 16):
        return Answer(f"id{number}", digest, "good", 0.9, 1.0, label, None, 2.0)

    assert store.add([answer(1, "good"), answer(2, "bad"), answer(1, "bad")]) == [True, True, False]
    assert store.add([answer(3, "good"), answer(4, "good", "cd" * 16)]) == [True, True]
    assert observed(path, "ab" * 32, 10) == (2, 3)
    assert observed(path, "ab" * 32, 2) == (1, 2)
    assert observed(path, "cd" * 32, 2) == (1, 1)
    store.close()
