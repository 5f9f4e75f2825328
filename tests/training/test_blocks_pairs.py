"""Every vectorizer and every classifier of the configs learns in blocks what it learns in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from omegaconf import OmegaConf
from sklearn.pipeline import FeatureUnion
from sklearn.svm import LinearSVC
from support.grids import combined
from support.reviews import shuffled

from sentiment import config
from sentiment.data.hashes import row_hashes
from sentiment.errors import UsageError
from sentiment.evaluation.decisions import Rule
from sentiment.text.engine import Threads
from sentiment.training import folds, run, weighing
from sentiment.training.cache import FeatureCache
from sentiment.training.fitting import fit, vectorize
from sentiment.training.judging import compiled_form, judge
from sentiment.training.pipeline import build_pipeline
from sentiment.vectorizers.making import Sizes


def shipped(group: str) -> list[str]:
    """The names of a group's configs, but for those that only the user can make whole."""
    found = []
    for file in sorted((config.CONFIG_DIR / group).glob("*.yaml")):
        if not OmegaConf.is_missing(OmegaConf.load(file), "_target_"):
            found.append(file.stem)
    return found


VECTORIZERS, MODELS = shipped("vectorizer"), shipped("model")
# What the configs' comments name beside.
FURTHER = [
    ("tfidf", "naive_bayes", "model._target_=sklearn.naive_bayes.ComplementNB"),
    ("tfidf", "logreg", "model.solver=saga", "model.max_iter=20"),
    ("tfidf", "logreg", "model.class_weight=balanced"),
    ("tfidf", "sgd", "model.class_weight=balanced", "model.average=true"),
    ("tfidf", "sgd", "data.balance=under"),
    ("blend", "nbsvm", "vectorizer.transformer_weights=null"),
]
PAIRS = [(vectorizer, model) for vectorizer in VECTORIZERS for model in MODELS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("pairs")
    rows = [(text[:250], label) for text, label in shuffled()[:160]]
    # Three classes: every solver of more than two goes its own way.
    three = [(text, "neutral" if i % 3 == 0 else label) for i, (text, label) in enumerate(rows)]
    for name, each in (("two", rows), ("three", three)):
        pl.DataFrame(each, schema=["text", "label"], orient="row").write_parquet(
            root / f"{name}.parquet"
        )
    return root


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Small blocks, so that there are several."""
    monkeypatch.setattr(Sizes, "within", lambda *_: Sizes(9_000, 9_000))


def words(folder: Path, pair: tuple[str, ...], name: str = "two") -> list[str]:
    vectorizer, model, *more = pair
    return [
        "data=files", f"data.train={folder}/{name}.parquet", f"vectorizer={vectorizer}",
        f"model={model}", f"output_dir={folder}/outputs", "data.split=hash",
        *(["vectorizer.n_features=5000"] if vectorizer == "hashing" else []), *more,
    ]  # fmt: skip


def load(cfg):
    data = run.load(cfg)
    return data if cfg.cv is None else folds.pooled(data)


def learned(given: list[str], folder: Path, told=lambda *_: None):
    cfg = config.compose(given)
    data = load(cfg)
    pipeline = build_pipeline(cfg)
    weighed = weighing.weigh(
        pipeline[-1], config.to_dict(cfg)["model"].get("class_weight"), cfg.data.balance, data, 0
    )
    cache = FeatureCache(folder / "cache", 10**9)
    features = vectorize(pipeline, data, cache, Threads(), lambda *_: None, memory=0)
    if data.in_blocks:
        assert features["train"].n_blocks > 3
    held = None
    if cfg.cv is not None:
        held = folds.out_of_fold(
            pipeline, features["train"], data, cache, told,
            n_folds=cfg.cv, weighing=weighed, seed=0,
        )  # fmt: skip
    fitted = fit(pipeline, features, data, cache, told, weighing=weighed, passes=1, seed=0)
    return data, fitted, held


def views(vectorizer) -> list:
    if not isinstance(vectorizer, FeatureUnion):
        return [vectorizer]
    return [each for _, part in vectorizer.transformer_list for each in views(part)]


def needs_the_matrix(classifier) -> bool:
    """Whether LIBLINEAR is in it, which copies the matrix."""
    parts = [classifier, *classifier.get_params(deep=True).values()]
    return any(isinstance(part, LinearSVC) for part in parts)


def check_same_model(here, there) -> None:
    for one, other in zip(views(here.vectorizer), views(there.vectorizer), strict=True):
        if hasattr(one, "index_"):
            assert other.index_.ngrams() == one.index_.ngrams()
            np.testing.assert_array_equal(
                other.index_.document_frequency(), one.index_.document_frequency()
            )
    for name in ("coef_", "intercept_", "feature_log_prob_", "class_log_prior_"):
        if hasattr(here.classifier, name):
            np.testing.assert_allclose(
                getattr(there.classifier, name),
                getattr(here.classifier, name),
                rtol=1e-6,
                atol=1e-6,
            )
    assert there.classes == here.classes


def every_pair() -> Iterator[Any]:
    """All pairs, of two and of three classes; slow, but for the default and each config once."""
    once = [pair.values for pair in combined(VECTORIZERS, MODELS) if not pair.marks]
    for name in ("two", "three"):
        for pair in [*PAIRS, *FURTHER]:
            quick = name == "two" and pair in [("tfidf", "nbsvm"), *once, *FURTHER]
            marks = () if quick else pytest.mark.slow
            yield pytest.param(pair, name, id="-".join([name, *pair]), marks=marks)


@pytest.mark.parametrize(("pair", "name"), list(every_pair()))
def test_every_pair_gives_the_same_model(folder, pair, name):
    given = words(folder, pair, name)
    blocks = [*given, "data.memory=0"]
    if needs_the_matrix(build_pipeline(config.compose(given))[-1]):
        with pytest.raises(UsageError, match=r"blocks cannot: .*model=nbsvm model\.beta=0"):
            load(config.compose(blocks))
        return
    data, here, _ = learned(given, folder)
    in_blocks, there, _ = learned(blocks, folder)
    assert in_blocks.in_blocks
    assert not data.in_blocks
    assert in_blocks.train_labels == data.train_labels
    check_same_model(here, there)
    test = data.splits.test
    assert in_blocks.splits.test.texts == test.texts
    np.testing.assert_allclose(
        there.probabilities("test", test.texts), here.probabilities("test", test.texts), atol=1e-6
    )


@pytest.mark.parametrize(
    "model",
    ["nbsvm", *(pytest.param(name, marks=pytest.mark.slow) for name in ("naive_bayes", "sgd"))],
)
def test_folds_are_those_of_memory(folder, model):
    """Validation rows are among them, and nothing of a fold is left behind."""
    given = [*words(folder, ("tfidf", model)), "cv=3", "data.val_size=0.2"]
    _, _, here = learned(given, folder)
    data, _, there = learned([*given, "data.memory=0"], folder)
    assert data.in_blocks
    assert there.labels == here.labels
    for one, other in zip(here.folds, there.folds, strict=True):
        np.testing.assert_array_equal(other, one)
    np.testing.assert_allclose(there.probabilities, here.probabilities, atol=1e-6)
    assert not list((folder / "cache").glob("*-rows*"))


@pytest.mark.parametrize(
    ("model", "step", "classes"),
    [
        pytest.param("nbsvm", "products", "two", marks=pytest.mark.slow),
        pytest.param("logreg", "products", "two", marks=pytest.mark.slow),
        ("logreg model.solver=newton-cg", "steps", "two"),
        ("naive_bayes", "sums", "two"),
        ("sgd", "passes", "three"),
    ],
)
def test_how_far_a_fit_is_can_be_told(folder, capfd, model, step, classes):
    """Passes that descent prints to standard output are told, and not printed."""
    steps: dict[str, list[tuple[int, int]]] = {}
    given = [*words(folder, ("tfidf", *model.split()), classes), "data.memory=0", "cv=2"]
    learned(given, folder, lambda name, done, of: steps.setdefault(name, []).append((done, of)))
    assert list(steps) == [
        f"fold {n} of 2, {each}" for n in (1, 2) for each in ("rows", step)
    ] + [step]  # fmt: skip
    for name, told in steps.items():
        counts, (done, of) = [done for done, _ in told], told[-1]
        assert len(told) > 2
        assert counts == sorted(counts)
        if name.endswith("products"):  # about so many
            assert 0 < done <= of
        else:
            assert done == of
    assert capfd.readouterr().out == ""


def test_passes_that_are_asked_for_are_printed_too(folder, capfd):
    given = [*words(folder, ("tfidf", "sgd")), "data.memory=0", "+model.verbose=1"]
    told = []
    learned(given, folder, lambda *step: told.append(step))
    assert capfd.readouterr().out.count("-- Epoch") == len([1 for _, done, _ in told if done]) - 1
    assert told[-1][1] == told[-1][2]


@pytest.mark.parametrize("memory", [[], ["data.memory=0"]])
def test_what_is_learned_in_single_precision_compiles(folder, memory):
    """Its answers in single precision would differ from the compiled ones by more than is allowed."""
    given = [*words(folder, ("blend_characters", "logreg")), *memory]
    cfg = config.compose(given)
    data, fitted, _ = learned(given, folder)
    judged = judge(fitted, data.splits, Rule(**config.to_dict(cfg)["decision"]), seed=0)
    compiled = compiled_form(fitted, data.splits, judged, dtype="float32", prune=0.0)
    found = compiled.scorer.predict(data.splits.test.texts).probabilities
    np.testing.assert_allclose(found, judged.probabilities["test"], atol=3e-7)


def test_rows_that_folds_add_are_rows_that_are_known(folder):
    known = {}
    for name, rows in (("first", 20), ("second", 20), ("short", 10)):
        frame = pl.DataFrame(
            [(f"{name} {n}: good", "positive") for n in range(rows)]
            + [(f"{name} {n}: bad", "negative") for n in range(rows)],
            schema=["text", "label"], orient="row",
        )  # fmt: skip
        frame.write_parquet(folder / f"{name}.parquet")
        for memory in ("null", "0"):
            cfg = config.compose(
                [
                    *words(folder, ("tfidf", "nbsvm")), f"data.val={folder}/{name}.parquet",
                    "cv=3", f"data.memory={memory}",
                ]
            )  # fmt: skip
            splits = load(cfg).splits
            known[name, memory] = splits.fingerprint()
            assert set(splits.seen()) >= set(row_hashes(frame["text"].to_list()))
    assert len(set(known.values())) == len(known)
