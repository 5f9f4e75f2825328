"""Drift as numbers, offline: what is drift, what is not, and which words are named."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from sentiment.drift.reference import Reference
from sentiment.drift.signals import (
    MINIMUM_TEXTS,
    SIGNALS,
    measure,
    parse_limits,
    stability_index,
    wilson,
)
from sentiment.drift.words import NewWords
from sentiment.errors import ModelError, UsageError
from sentiment.feedback import Answer, Feedback, place_of
from sentiment.scorer import Scorer
from sentiment.store import resolve


@pytest.fixture(scope="module")
def scorer(store):
    return Scorer.load(resolve("champion", store).path)


@pytest.fixture(scope="module")
def reference(scorer):
    return Reference(scorer)


def drift_of(reference, scorer, texts, **options):
    counts = reference.zeros()
    reference.add(counts, texts, scorer.predict(texts))
    return measure(reference, counts, **options)


def drifted(drift):
    return {signal.name for signal in drift.signals if signal.drifted}


def words(moved):
    return {word.word for word in moved}


def test_held_out_reviews_in_any_portion_are_no_drift(reference, scorer, streams):
    for start in range(0, 3000, 500):
        drift = drift_of(reference, scorer, streams.movies[start : start + 500])
        assert drift.drifted is False, (start, drift.signals)
        assert not drift.less
        assert len(drift.more) <= 2  # a film that five of them are about


@pytest.mark.parametrize(
    ("kind", "signals", "more", "less"),
    [
        ("product", {"score", "words"}, {"battery", "price"}, {"movie", "film"}),
        ("german", {"score", "unknown", "words"}, {"die", "der"}, {"the", "and"}),
        ("shuffled", {"score"}, set(), set()),
    ],
)
def test_other_texts_are_drift_and_the_right_words_are_named(
    reference, scorer, streams, kind, signals, more, less
):
    drift = drift_of(reference, scorer, getattr(streams, kind))
    assert drift.drifted
    assert signals <= drifted(drift)
    assert more <= words(drift.more)
    assert less <= words(drift.less)
    if kind == "shuffled":  # the same words, so none has moved
        assert not drift.more
        assert not drift.less
    assert drift.accuracy.high < drift.accuracy.reference_estimated


def test_short_texts_move_no_words_only_their_length(reference, scorer, streams):
    beginnings = [" ".join(text.split()[:40]) for text in streams.movies[:600]]
    drift = drift_of(reference, scorer, beginnings)
    assert "length" in drifted(drift)
    assert "words" not in drifted(drift)
    assert not {"the", "and", "of"} & (words(drift.more) | words(drift.less))


def test_the_estimate_is_near_the_truth_where_its_assumptions_hold(reference, scorer, streams):
    texts = streams.movies
    drift = drift_of(reference, scorer, texts)
    found = scorer.predict(texts).labels
    truth = np.mean(
        [given == streams.labels[text] for given, text in zip(found, texts, strict=True)]
    )
    assert abs(drift.accuracy.estimated - truth) < 0.03
    assert drift.accuracy.low < drift.accuracy.estimated < drift.accuracy.high
    assert abs(drift.accuracy.reference_observed - truth) < 0.03


def test_parts_add_up_to_the_whole(reference, scorer, streams):
    texts = streams.movies[:300]
    whole = reference.zeros()
    reference.add(whole, texts, scorer.predict(texts))
    parts = np.zeros(3, dtype=reference.dtype)
    for part in range(3):
        some = texts[part::3]
        reference.add(parts[part], some, scorer.predict(some))
    for name in reference.dtype.names:
        assert np.allclose(parts[name].sum(axis=0), whole[name]), name
    assert whole["labels"].sum() == whole["score"].sum() == whole["word_texts"] == 300


def test_too_few_texts_say_nothing(reference, scorer, streams):
    assert measure(reference, reference.zeros()).drifted is None
    few = drift_of(reference, scorer, streams.german[: MINIMUM_TEXTS - 1])
    assert few.drifted is None
    assert few.signals[0].value > 1
    assert json.loads(json.dumps(few.document(), allow_nan=False))["drift"] is None


def test_wrong_answers_are_a_fall_of_observed_accuracy(reference, scorer, streams):
    texts = streams.movies[:300]
    for observed, said in (((45, 50), False), ((25, 50), True), ((24, 49), None), ((0, 0), None)):
        drift = drift_of(reference, scorer, texts, observed=observed)
        (signal,) = (s for s in drift.signals if s.name == "observed_accuracy")
        assert signal.drifted is said, observed


def test_limits_are_read_and_checked(reference, scorer, streams):
    assert parse_limits("") == {}
    limits = parse_limits("score=0.4, words=0.1")
    assert limits == {"score": 0.4, "words": 0.1}
    drift = drift_of(reference, scorer, streams.product, limits=dict.fromkeys(SIGNALS, 100.0))
    assert drift.drifted is False
    with pytest.raises(UsageError, match="did you mean 'score'"):
        parse_limits("scores=1")
    for wrong in ("score", "score=x", "score=-1", "score=nan"):
        with pytest.raises(UsageError, match="limit"):
            parse_limits(wrong)


def test_words_that_the_model_does_not_know(reference, scorer, streams):
    found = NewWords(reference)
    found.add(streams.german)
    top = dict(found.top())
    assert {"ich", "und"} & set(top) or {"leider", "funktioniert"} & set(top)
    assert not set(top) & set(reference.word_view.tokens)
    rare = NewWords(reference)
    rare.add([*streams.movies[:300], "xyzzy plugh"])
    assert "xyzzy" not in dict(rare.top(1000))


def test_a_model_without_reference_says_so(scorer):
    bare = Scorer.__new__(Scorer)
    bare.__dict__ |= {**scorer.__dict__, "document": {**scorer.document, "reference": None}}
    with pytest.raises(ModelError, match="no reference"):
        Reference(bare)
    older = {key: value for key, value in scorer.document["reference"].items() if key != "right"}
    bare.__dict__ |= {"document": {**scorer.document, "reference": older}}
    with pytest.raises(ModelError, match="lacks right: another version"):
        Reference(bare)


def test_stability_index_is_about_its_expected_value_under_chance():
    generator = np.random.default_rng(0)
    shares = generator.dirichlet(np.full(34, 0.7))
    found = [
        stability_index(generator.multinomial(2500, shares), generator.multinomial(1000, shares))
        for _ in range(300)
    ]
    index, expected = np.mean(found, axis=0)
    assert index == pytest.approx(expected, rel=0.2)
    assert max(value for value, _ in found) < 0.06


@pytest.mark.parametrize(
    ("reference", "seen"),
    [
        ([95, 5, 0], [0, 0, 100]),
        ([10, 0, 0], [0, 0, 10]),
        ([1, 1, 98], [50, 50, 0]),
        ([0, 0, 1000], [1000, 0, 0]),
        ([3, 94, 3], [50, 0, 50]),
    ],
)
def test_stability_index_sees_a_shift_when_one_bin_holds_nearly_everything(reference, seen):
    reference, seen = np.array(reference), np.array(seen)
    assert stability_index(reference, seen)[0] > 1
    assert stability_index(reference, reference)[0] == 0


def test_wilson_interval_agrees_with_published_figures():
    # Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    for right, n, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        assert wilson(right, n, 1.959964) == pytest.approx((low, high), abs=5e-5)


def command(store, *words):
    return subprocess.run(
        [sys.executable, "-m", "sentiment", "monitor", *map(str, words)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "SENTIMENT_OUTPUT_DIR": str(store), "COLUMNS": "120"},
    )


def test_monitor_reads_a_text_from_each_file_of_class_folders(store, streams, tmp_path, cli):
    for number, text in enumerate(streams.product[:40]):
        folder = tmp_path / ("a" if number % 2 else "b")
        folder.mkdir(exist_ok=True)
        (folder / f"{number}.txt").write_text(f"{text}\nand a line")
    words = ("monitor", "-i", tmp_path, "--model", "champion", "--output-dir", store, "--json")
    answer = cli(*words)
    assert json.loads(answer.out)["texts"] == 40, answer.err
    assert json.loads(cli(*words, "--format", "lines").out)["texts"] == 80


def test_monitor_gives_the_same_numbers_as_json_table_and_page(
    store, reference, scorer, streams, tmp_path
):
    file = tmp_path / "texts.jsonl"
    file.write_text("".join(json.dumps({"body": text}) + "\n" for text in streams.product))
    options = ("--input", file, "--text-column", "body", "--model", "champion")
    page = tmp_path / "report.html"
    done = command(store, *options, "--json", "--html", page, "--fail-on-drift")
    assert done.returncode == 1, done.stderr
    document = json.loads(done.stdout)
    expected = drift_of(reference, scorer, streams.product).document()
    for name, signal in expected["signals"].items():
        assert document["signals"][name] == {**signal, "value": pytest.approx(signal["value"])}
    assert {"battery", "price"} <= {word["word"] for word in document["words"]["more"]}
    assert document["drift"] is True
    html = page.read_text(encoding="utf-8")
    assert "<script" not in html
    assert "http" not in html
    assert html.count("<svg") == 4
    for word in document["words"]["more"] + document["new_words"]:
        assert f"<td>{word['word']}</td>" in html
    table = command(store, *options)
    assert table.returncode == 0
    assert "texts.jsonl: drift in 600 texts" in table.stdout
    assert re.search(r"used less: .*\bmovie\b", table.stdout)


def test_monitor_reads_what_feedback_says(scorer, streams, tmp_path):
    file = tmp_path / "texts.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in streams.movies[:300]))
    store = tmp_path / "outputs"
    feedback = Feedback(place_of(store))
    feedback.add(
        [
            Answer(f"id{n}", scorer.digest[:32], "positive", 0.9, 1.0, label, None, 2.0)
            for n, label in enumerate(["positive"] * 25 + ["negative"] * 25)
        ]
    )
    feedback.close()
    done = command(store, "--input", file, "--model", scorer.path, "--json")
    document = json.loads(done.stdout)
    signal = document["signals"]["observed_accuracy"]
    usual = drift_of(Reference(scorer), scorer, streams.movies[:300]).accuracy.reference_observed
    assert signal["value"] == pytest.approx(usual - 0.5, abs=1e-4)
    assert signal["drift"] is True
    assert (document["accuracy"]["observed"], document["accuracy"]["answers"]) == (0.5, 50)
    page = tmp_path / "page.html"
    shown = command(store, "--input", file, "--model", scorer.path, "--html", page).stdout
    assert re.search(r"accuracy, observed in 50 answers +50\.0% +\d+\.\d%", shown)
    assert "<td>observed in 50 answers</td><td class=n>50.0%</td>" in page.read_text()


def test_monitor_refuses_in_one_line(store, tmp_path):
    file = tmp_path / "texts.csv"
    file.write_text("text\nA film.\n")
    for words_, said in (
        (("--input", tmp_path / "nofile.csv"), "nofile.csv"),
        (("--input", file, "--text-column", "body"), "body"),
        (("--input", file, "--limits", "skore=1"), "did you mean 'score'"),
        (("--input", file, "--html", tmp_path / "no/where.html"), "where.html"),
    ):
        done = command(store, *words_)
        assert done.returncode == 2, done
        assert said in done.stderr
        assert "Traceback" not in done.stderr
    too_few = command(store, "--input", file, "--fail-on-drift")
    assert too_few.returncode == 0
    assert "too few texts" in too_few.stdout
