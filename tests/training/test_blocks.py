"""More text than memory: in blocks the same vocabulary, matrix, weights and model."""

from __future__ import annotations

import json
import mmap
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion
from support.grids import combined
from support.reviews import in_parts, shuffled
from support.waiting import free_port

from sentiment.data.stream import survey
from sentiment.errors import DataError, UsageError
from sentiment.models import NBSVM
from sentiment.models.blocks import fit_logistic, runs
from sentiment.text.engine import Threads, Watched
from sentiment.training import memory
from sentiment.vectorizers import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sentiment.vectorizers.blocks import fit_blocks
from sentiment.vectorizers.making import LARGEST, Sizes

TEXTS = st.lists(
    st.lists(st.sampled_from(["a", "b", "ba", "é", "zz", "c", "The"]), max_size=9).map(" ".join),
    min_size=6,
    max_size=30,
)


def blocked(vectorizer, texts, folder: Path, **words):
    words = {"dtype": "float64", "sizes": Sizes(40, 16), **words}
    pieces = [texts[i : i + 3] for i in range(0, len(texts), 3)]
    return fit_blocks(vectorizer, lambda: pieces, folder, Threads(), lambda *_: None, **words)


def whole(X):
    return sp.vstack([X.block(number) for number in range(X.n_blocks)]).tocsr()


def check_same(a, b):
    assert a.shape == b.shape
    for part in ("indptr", "indices", "data"):
        np.testing.assert_array_equal(getattr(a, part), getattr(b, part))


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    texts=TEXTS,
    n_max=st.integers(1, 3),
    min_df=st.sampled_from([1, 2, 0.2]),
    max_df=st.sampled_from([1.0, 0.7]),
    max_features=st.sampled_from([None, 3, 10]),
    analyzer=st.sampled_from(["word", "char", "char_wb"]),
    kind=st.sampled_from([TfidfVectorizer, CountVectorizer]),
)
def test_vocabulary_and_matrix_are_those_of_memory(
    tmp_path_factory, texts, n_max, min_df, max_df, max_features, analyzer, kind
):
    words = {
        "ngram_range": (1, n_max), "min_df": min_df, "max_df": max_df, "analyzer": analyzer,
        "max_features": max_features, "token_pattern": "letter",
    }  # fmt: skip
    folder = tmp_path_factory.mktemp("blocks")
    here, there = kind(**words), kind(**words)
    try:
        X = here.fit_transform(texts)
    except ValueError as error:
        with pytest.raises(ValueError, match=str(error)[:20].replace("(", ".")):
            blocked(there, texts, folder)
        return
    Y = blocked(there, texts, folder, dtype=X.dtype)
    assert there.index_.ngrams() == here.index_.ngrams()
    np.testing.assert_array_equal(
        there.index_.document_frequency(), here.index_.document_frequency()
    )
    check_same(whole(Y), X)
    across = [Y.column_block(number) for number in range(Y.n_column_blocks)]
    check_same(sp.vstack(across).tocsr(), X.T.tocsr())
    check_same(there.transform(texts), X)
    assert not (folder / "work").exists()


@pytest.fixture(scope="module")
def reviews():
    rows = shuffled()[:400]
    labels = np.array([label for _, label in rows], dtype=object)
    return [text[:600] for text, _ in rows], labels


@pytest.fixture(scope="module")
def vectorizer():
    return TfidfVectorizer(ngram_range=(1, 2), min_df=2, token_pattern="punctuation")


@pytest.mark.parametrize(("loss", "three"), combined(["squared_hinge", "log_loss"], [False, True]))
def test_nbsvm_and_its_calibration_are_those_of_memory(reviews, vectorizer, tmp_path, loss, three):
    texts, labels = reviews
    if three:
        labels = np.where(np.arange(len(labels)) % 3 == 0, "neutral", labels)
    X = vectorizer.fit_transform(texts)
    Y = blocked(vectorizer, texts, tmp_path, dtype="float32", sizes=Sizes(20_000, 9000))
    assert min(Y.n_blocks, Y.n_column_blocks) > 3
    here = NBSVM(C=2.0, loss=loss, random_state=1).fit(X, labels)
    told = []
    Y.engine = Watched(Y.engine, told.append)
    there = NBSVM(C=2.0, loss=loss, random_state=1).fit(Y, labels)
    np.testing.assert_array_equal(there.coef_, here.coef_)
    np.testing.assert_array_equal(there.intercept_, here.intercept_)
    assert there.link_ == here.link_
    # What remains can be told: the number of products is about the expected one.
    each = [len(runs(n, Y.engine)) for n in (Y.n_blocks, Y.n_column_blocks)]
    products = told[-1] / (sum(each) / 2)
    assert 0.3 < products / here.expected_products(len(labels), len(set(labels))) < 1.7


@pytest.mark.parametrize("three", [False, True])
def test_logistic_regression_is_scikit_learns(reviews, vectorizer, tmp_path, three):
    texts, labels = reviews
    if three:
        labels = np.where(np.arange(len(labels)) % 3 == 0, "neutral", labels)
    texts, labels = texts[:150], labels[:150]
    X = vectorizer.fit_transform(texts)
    Y = blocked(vectorizer, texts, tmp_path, sizes=Sizes(20_000, 900))
    for words in ({"class_weight": "balanced"}, {"fit_intercept": False}):
        here = LogisticRegression(**words).fit(X, labels)
        there = fit_logistic(LogisticRegression(**words), Y, labels)
        np.testing.assert_allclose(there.coef_, here.coef_, atol=1e-6)
        np.testing.assert_allclose(there.intercept_, here.intercept_, atol=1e-6)
    with pytest.raises(ValueError, match="solver=lbfgs"):
        fit_logistic(LogisticRegression(solver="liblinear"), Y, labels)


def test_what_is_learned_in_blocks_is_mapped(reviews, vectorizer, tmp_path):
    """The system may take its pages: with tens of millions of n-grams they are gigabytes."""
    texts, _ = reviews
    two = FeatureUnion([("one", clone(vectorizer)), ("other", clone(vectorizer))])
    blocked(two, texts, tmp_path, sizes=Sizes(20_000, 9000))
    for _, view in two.transformer_list:
        arrays = [view.idf_]
        for level in view.index_.levels:
            arrays += [level.prefix, level.last, level.column, level.df]
        assert all(isinstance(owner(array), mmap.mmap) for array in arrays)


def owner(array):
    """Whose memory an array is in."""
    return owner(array.base) if isinstance(array, np.ndarray) else array


def test_hashed_features_come_in_blocks_too(reviews, tmp_path):
    texts, _ = reviews
    hashing = HashingVectorizer(n_features=1000)
    Y = blocked(hashing, texts, tmp_path, sizes=Sizes(20_000, 16))
    check_same(whole(Y), hashing.transform(texts))


@pytest.mark.parametrize(("layout", "views"), combined(["columns", "whole"], [1, 2]))
def test_what_is_done_is_not_done_again(reviews, vectorizer, tmp_path, layout, views):
    """A run that died in the middle is gone on with, to the same matrix."""
    texts, _ = reviews
    words = {"sizes": Sizes(20_000, 9000), "layout": layout, "dtype": "float64"}
    if views == 2:
        other = TfidfVectorizer(analyzer="char", ngram_range=(1, 2), dtype="float32")
        vectorizer = FeatureUnion(
            [("words", vectorizer), ("characters", other)], transformer_weights={"words": 0.3}
        )
    X = vectorizer.fit_transform(texts).astype("float64")

    class Dies(Threads):
        def __init__(self, after):
            self.left = after

        def map(self, function, items, **shared):
            for result in super().map(function, items, **shared):
                self.left -= 1
                if not self.left:
                    raise KeyboardInterrupt
                yield result

    read = 0

    def reading():
        nonlocal read
        read += 1
        yield texts

    def make(folder, engine, told=lambda *_: None):
        made = clone(vectorizer)
        return made, fit_blocks(made, reading, folder, engine, told, **words)

    for after in (3, 15, 25, 35):
        with pytest.raises(KeyboardInterrupt):
            make(tmp_path / "cut", Dies(after))
    check_same(whole(make(tmp_path / "cut", Threads())[1]), X)

    def told(step, done, _of):  # all rows are there, and are put together or transposed
        if step in ("one file", "transpose") and done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "late", Threads(), told)
    read = 0
    made, again = make(tmp_path / "late", Threads())
    assert not read
    check_same(whole(again), X)
    check_same(made.transform(texts).astype("float64"), X)
    if layout == "whole":
        check_same(again.whole(), X)


# -- The choice between memory and blocks -------------------------------------------------------


SETTINGS = {"source": "files", "streaming": False, "split": "hash"}
KINDS = {
    "vectorizer": {"_target_": "x.TfidfVectorizer", "ngram_range": [1, 3]},
    "model": {"_target_": "x.NBSVM"},
    "folds": False,
}


def choose(tmp_path: Path, size: int, **settings):
    file = tmp_path / "a.csv"
    with file.open("wb") as stream:
        stream.truncate(size)  # takes no space
    kinds = {key: settings.pop(key, value) for key, value in KINDS.items()}
    return memory.wants_blocks(
        {**SETTINGS, "train": str(file), **settings}, cache=tmp_path / "cache", **kinds
    )


def test_what_fits_stays_in_memory_and_what_does_not_is_blocked(tmp_path):
    assert not choose(tmp_path, 77_000_000, memory="2GB")
    assert choose(tmp_path, 78_000_000, memory="2GB")
    assert not choose(tmp_path, 177_000_000, memory="4GB")
    assert choose(tmp_path, 10, memory="0")
    assert not choose(tmp_path, 10, memory="1GB")  # little text needs no blocks
    assert not choose(tmp_path, 10)
    assert memory.available() > 10**9


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"memory": "lots"}, "data.memory=lots: give a size such as 4GB"),
        ({"memory": "1GB"}, "is too little: 0.1 GB of text .*data.memory=2GB"),
        ({"memory": "2GB", "split": "random"}, r"data\.split=random draws from all rows"),
        (
            {"memory": "2GB", "model": {"_target_": "x.LinearSVC"}},
            "model=nbsvm, logreg, naive_bayes or sgd",
        ),
        (
            {"memory": "2GB", "model": {"_target_": "x.LogisticRegression", "solver": "liblinear"}},
            "model.solver=liblinear copies all features.*lbfgs or saga",
        ),
        (
            {
                "memory": "2GB",
                "model": {"_target_": "x.LogisticRegression", "solver": "newton-cholesky"},
            },
            "model.solver=newton-cholesky makes a square .*lbfgs or saga",
        ),
        (
            {
                "memory": "2GB",
                "vectorizer": {
                    "_target_": "x.FeatureUnion",
                    "transformer_list": [
                        ["a", {"_target_": "x.TfidfVectorizer"}],
                        ["b", {"_target_": "x.Mine"}],
                    ],
                },
            },
            "Mine keeps its features in memory .*tfidf, char, count or hashing",
        ),
        ({"memory": "2GB", "on_leak": "drop"}, r"data\.on_leak needs all rows"),
        (
            {"memory": "2GB", "group_column": "film", "folds": True},
            r"folds keep the groups of data\.group_column together.*\(cv=null",
        ),
        ({"memory": "2GB", "source": "hub"}, "bounds data=files"),
    ],
)
def test_what_blocks_cannot_do_is_said_before_work(tmp_path, settings, said):
    with pytest.raises(UsageError, match=said):
        choose(tmp_path, 100_000_000, **settings)


def test_tasks_take_less_where_less_is_allowed():
    words = TfidfVectorizer(ngram_range=(1, 3))
    small, large = (Sizes.within(memory.for_tasks(asked), words) for asked in ("2GB", "64GB"))
    assert 1 << 20 <= small.characters < large.characters == LARGEST.characters
    assert 1 << 20 <= small.ngrams < large.ngrams == LARGEST.ngrams


def test_blocks_are_smaller_where_a_text_has_more_ngrams():
    """What a task takes grows with them, not with the text alone."""
    words = TfidfVectorizer(ngram_range=(1, 3))
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5))
    both = FeatureUnion([("words", words), ("characters", characters)])
    each = [Sizes.within(1_500_000_000, one).characters for one in (words, characters, both)]
    assert each[0] == LARGEST.characters
    assert each[0] > 2 * each[1] > each[1] > each[2] >= 1 << 20


def test_a_vocabulary_that_takes_more_is_said(caplog):
    memory.check_vocabulary("2GB", 9_000_000, NBSVM(), 2)
    assert not caplog.records
    memory.check_vocabulary("2GB", 20_000_000, NBSVM(), 2)
    assert "20,000,000 n-grams take about 2.2 GB, more than data.memory" in caplog.text
    assert "nbsvm" not in caplog.text


def test_what_solves_for_weights_is_counted(caplog):
    """For each score, of which there are several for more than two classes."""
    memory.check_vocabulary("2GB", 3_000_000, LogisticRegression(), 2)
    memory.check_vocabulary("2GB", 9_000_000, NBSVM(), 3)
    assert not caplog.records
    memory.check_vocabulary("2GB", 3_000_000, LogisticRegression(), 3)
    assert "about 3.9 GB" in caplog.text
    assert "model=nbsvm model.loss=log_loss" in caplog.text


def test_no_space_is_said_before_work_with_what_is_needed(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=5_000_000))
    with pytest.raises(
        UsageError, match=r"blocks need about 1\.8 GB .* 5\.0 MB are free.*cache\.dir="
    ):
        choose(tmp_path, 100_000_000, memory="2GB")


def test_a_place_that_cannot_be_is_said_before_work(tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(UsageError, match=r"no blocks can be written under .*cache\.dir=PATH"):
        choose(tmp_path, 100_000_000, memory="2GB")


def test_an_address_is_no_folder_for_blocks(folder, tmp_path, cli, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for key in ("cache.dir", "output_dir"):
        answer = cli("train", f"{folder}/", "data.memory=0", f"{key}=s3://bucket/place")
        assert answer.code == 2
        assert f"{key}=s3://bucket/place: an address is no folder" in answer.err
    assert not list(tmp_path.glob("s3:*"))


def test_an_engine_that_cannot_be_had_is_said_before_the_text_is_read(folder, tmp_path, cli):
    words = ["train", f"{folder}/", "data.memory=0", f"output_dir={tmp_path}", "engine=ray"]
    answer = cli(*words, f"engine.address=127.0.0.1:{free_port()}")
    assert answer.code == 2
    assert "no cluster answers there" in answer.err or "needs the extra 'ray'" in answer.err
    assert "  load " not in answer.err  # the stage has not ended


# -- The command --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return in_parts(tmp_path_factory.mktemp("data") / "reviews", 450)


def test_the_model_in_blocks_has_the_digest_of_the_one_in_memory(
    folder, tmp_path, cli, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    here = cli("train", f"{folder}/", "--json").document
    answer = cli("train", f"{folder}/", "data.memory=0", "cache.max_gb=0", "--json")
    assert "trained in blocks under outputs/cache" in answer.err
    assert answer.document["digest"] == here["digest"]
    assert answer.document["data"]["rows_train"] == here["data"]["rows_train"]
    assert not list((tmp_path / "outputs/cache").rglob("*.blocks*"))
    assert not list((tmp_path / "outputs/cache").rglob("*-columns-data.npy"))


def test_a_file_that_changes_after_it_was_divided_is_said(folder, tmp_path):
    copied = Path(shutil.copytree(folder, tmp_path / "reviews"))
    told = []
    stream = survey(
        name="files", train=str(copied), test=None, text_column="text", label_column="label",
        label_names=None, positive_label=None, val_size=0.1, test_size=0.2, on_bad_rows="drop", seed=0,
        as_in_memory=True, progress=lambda *words: told.append(words),
    )  # fmt: skip
    assert told == [("train rows", pieces, 0) for pieces in (1, 2, 3)]
    assert sum(len(chunk) for chunk in stream.chunks()) == len(stream.labels)
    shutil.copy(folder / "part-0.parquet", copied / "part-9.parquet")
    with pytest.raises(DataError, match="has changed since its rows were divided"):
        list(stream.chunks())


def tokens_under(cache: Path) -> list[Path]:
    """The files of tokens that an unfinished counting has written."""
    return [
        file
        for blocks in cache.glob("*.blocks")
        for file in (blocks / "work").glob("*-tokens.json")
    ]


@pytest.mark.slow
def test_ctrl_c_leaves_nothing_behind_and_resume_takes_what_is_done(folder, tmp_path):
    """In the middle of the counting; with --resume the blocks stay for the next run."""
    big = tmp_path / "big.jsonl"
    rows = pl.concat([pl.read_parquet(folder / "*.parquet")] * 24)
    rows.with_columns(text=pl.col("text") + pl.int_range(pl.len()).cast(str)).write_ndjson(big)
    cache = tmp_path / "outputs/cache/features"

    def interrupted(*words: str) -> subprocess.CompletedProcess[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "sentiment", "train", str(big), "data.memory=0", *words],
            cwd=tmp_path, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        )  # fmt: skip
        while process.poll() is None and not tokens_under(cache):
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        assert "Traceback" not in err
        return err

    interrupted()
    assert not list(cache.glob("*.blocks"))
    interrupted("--resume")
    assert tokens_under(cache)
    # The tokens that were written are whole.
    assert all(json.loads(file.read_text()) for file in tokens_under(cache))
