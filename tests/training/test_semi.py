"""Texts without label: read, learned from where they help, left out where they do not."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from support.reviews import shuffled

from sentiment import config, load
from sentiment.data.corrections import Further, with_corrections
from sentiment.data.loading import load as load_data
from sentiment.errors import DataError, UsageError
from sentiment.training.pipeline import build_pipeline
from sentiment.training.recipe import Recipe
from sentiment.training.run import train
from sentiment.training.self_trainer import surest
from sentiment.training.semi import self_train
from sentiment.training.weighing import Weighing

LABELLED, POOL, TEST = slice(0, 100), slice(100, 2100), slice(2100, 2900)


def write(path, rows, *, labels=True):
    lines = [json.dumps({"text": text, "label": label if labels else None}) for text, label in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made, rows = tmp_path_factory.mktemp("semi"), shuffled(5)
    write(made / "train.jsonl", rows[LABELLED])
    write(made / "test.jsonl", rows[TEST])
    # Some of them are known: three test texts, two training texts, one twice, one empty.
    pool = [*rows[POOL], *rows[2100:2103], *rows[:2], rows[100], (" ", "")]
    write(made / "pool.jsonl", pool, labels=False)
    return made


def words(folder, *more):
    return [
        "data=files", f"data.train={folder}/train.jsonl", f"data.test={folder}/test.jsonl",
        "data.val_size=0", "vectorizer.ngram_range=[1,1]",
        "semi.dimensions=30", "semi.folds=3", f"output_dir={folder}/out", *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def data(folder):
    cfg = config.compose(words(folder, f"data.unlabelled={folder}/pool.jsonl"))
    return load_data(config.to_dict(cfg)["data"], 42)


def test_what_is_no_new_text_is_counted_and_left_out(data):
    assert len(data.splits.unlabelled) == 2000
    report = data.splits.report
    assert report["unlabelled_held_out"] == 3
    assert report["unlabelled_labelled"] == 2
    assert report["unlabelled_repeated"] == 1
    assert report["unlabelled_empty"] == 1
    assert not set(data.splits.unlabelled) & {*data.splits.train.texts, *data.splits.test.texts}
    without = replace(data.splits, unlabelled=[])
    assert without.fingerprint() != data.splits.fingerprint()
    assert len(data.splits.seen()) == len(without.seen()) + 2000


@pytest.mark.slow
def test_reviews_without_label_make_a_better_model_that_compiles(folder):
    alone = train(config.compose(words(folder)), draw=False)
    more = train(config.compose(words(folder, f"data.unlabelled={folder}/pool.jsonl")), draw=False)
    decision = more.data["semi"]
    assert decision["kept"]
    assert decision["n_judged"] == 100
    assert decision["rounds"] >= 1
    # In pairs on 800 test reviews, 100 labels: several points.
    assert more.metrics["test_accuracy"] > alone.metrics["test_accuracy"] + 0.02
    assert more.metrics["test_log_loss"] < alone.metrics["test_log_loss"]
    scorer = load(more.model)  # the same artifact; training has held it against the pipeline
    assert scorer.labels == ("negative", "positive") or list(scorer.labels) == [
        "negative",
        "positive",
    ]


def test_texts_that_mislead_are_left_out_and_the_model_is_that_of_the_labels(tmp_path):
    # Labels follow one word; the unlabelled texts hold it in company that says the contrary.
    rows = [
        (f"{('fine', 'poor')[i % 2]} film number {i} word{i % 7}", "ab"[i % 2]) for i in range(60)
    ]
    write(tmp_path / "train.jsonl", rows)
    write(tmp_path / "test.jsonl", rows[:20])
    pool = [
        (f"fine poor word{i % 7} word{i % 5} film {i} {'fine' * (i % 2)}", "") for i in range(400)
    ]
    write(tmp_path / "pool.jsonl", pool, labels=False)
    cfg = config.compose(words(tmp_path, f"data.unlabelled={tmp_path}/pool.jsonl"))
    splits = load_data(config.to_dict(cfg)["data"], 42).splits

    def features(pipeline):
        X = pipeline[0].fit_transform([*splits.train.texts, *splits.unlabelled])
        n = len(splits.train)
        return {
            "train": X[:n],
            "unlabelled": X[n:],
            "test": pipeline[0].transform(splits.test.texts),
        }

    pipeline = build_pipeline(cfg)
    fitted, decision = self_train(
        pipeline, features(pipeline), splits, Recipe(), Weighing(), seed=1
    )
    alone = build_pipeline(cfg).fit(splits.train.texts, splits.train.labels)
    if decision.kept:
        assert decision.log_loss <= decision.log_loss_alone
        pytest.fail(f"they helped: {decision}")
    assert "labels alone are better" in str(decision)
    np.testing.assert_allclose(
        fitted.classifier.predict_proba(fitted.features["test"]),
        alone.predict_proba(splits.test.texts),
    )


def test_what_the_model_labels_is_divided_as_the_labels_are():
    rng = np.random.default_rng(0)
    scores = rng.normal([2.0, 0.0, 0.0], size=(1000, 3))  # a model that has drifted to the first
    rows, classes = surest(scores, np.array([0.5, 0.25, 0.25]), 0.2)
    counts = np.bincount(classes)
    assert counts[0] == 100
    assert counts[1] == counts[2] == 50
    assert len(set(rows)) == len(rows)
    none, _ = surest(scores[:3], np.array([0.5, 0.25, 0.25]), 0.1)
    assert len(none) == 0


@pytest.mark.parametrize("pool", [1, 3])
def test_a_tiny_pool_and_soft_labels_work(folder, tmp_path, pool):
    write(tmp_path / "pool.jsonl", shuffled(5)[3000 : 3000 + pool], labels=False)
    cfg = config.compose(
        words(folder, f"data.unlabelled={tmp_path}/pool.jsonl", "semi.labels=soft", "semi.share=1")
    )
    splits = load_data(config.to_dict(cfg)["data"], 42).splits
    pipeline = build_pipeline(cfg)
    X = pipeline[0].fit_transform([*splits.train.texts, *splits.unlabelled])
    fitted, _ = self_train(
        pipeline,
        {"train": X[:100], "unlabelled": X[100:]},
        splits,
        Recipe(dimensions=30, share=1, labels="soft"),
        Weighing(),
        seed=1,
    )
    assert fitted.classes == ["negative", "positive"]


def test_rows_without_label_are_the_pool_when_asked(tmp_path):
    rows = shuffled(5)
    write(tmp_path / "test.jsonl", rows[TEST])
    bare = [json.dumps({"text": text}) for text, _ in rows[POOL][:50]]
    path = write(tmp_path / "train.jsonl", rows[LABELLED])
    path.write_text(path.read_text() + "\n".join(bare) + "\n")
    cfg = config.compose(words(tmp_path, "data.unlabelled=rows"))
    splits = load_data(config.to_dict(cfg)["data"], 42).splits
    assert len(splits.train) == 100
    assert len(splits.unlabelled) == 50
    assert splits.report["missing_labels_train"] == 0
    # A correction labels one of them: it is no longer without.
    write(tmp_path / "more.jsonl", [(splits.unlabelled[0], "positive")])
    corrected = with_corrections(splits, Further(str(tmp_path / "more.jsonl")))
    assert len(corrected.unlabelled) == 49
    assert len(corrected.train) == 101


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (["semi.share=0"], "semi.share=0"),
        (["semi.rounds=0"], "semi.rounds=0"),
        (["semi.weight=-1"], "semi.weight=-1"),
        (["semi.keep=never"], "better, always"),
        (["semi.labels=warm"], "hard, soft"),
        (["cv=3"], "data.unlabelled=null"),
        (["model=naive_bayes"], "model=nbsvm or model=logreg"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(folder, more, reason):
    cfg = config.compose(words(folder, f"data.unlabelled={folder}/pool.jsonl", *more))
    with pytest.raises(UsageError, match=reason):
        train(cfg, draw=False)


def test_a_pool_that_is_missing_or_all_known_says_so(folder):
    for file, reason in (("no.jsonl", "no.jsonl"), ("train.jsonl", "100 are training texts")):
        cfg = config.compose(words(folder, f"data.unlabelled={folder}/{file}"))
        with pytest.raises(DataError, match=reason):
            load_data(config.to_dict(cfg)["data"], 42)
