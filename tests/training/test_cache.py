"""The feature cache: the same features, made once, whoever asks."""

from __future__ import annotations

import mmap
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer as Stock
from sklearn.pipeline import FeatureUnion

import sentiment
from sentiment.data.split import Split
from sentiment.data.splits import Splits
from sentiment.training.cache import FeatureCache
from sentiment.vectorizers import CountVectorizer, HashingVectorizer, TfidfVectorizer

TEXTS = [
    "a <br/>great film, great fun", "dull and SLOW", "naïve café \ud800 😀", "not great, not dull",
    "great great plot", "slow plot and dull end", "the end of a great film", "it is not slow",
]  # fmt: skip


def splits(extra=""):
    part = lambda texts: Split([text + extra for text in texts], ["a"] * len(texts))  # noqa: E731
    return Splits("tiny", "here", part(TEXTS[:5]), part(TEXTS[5:6]), part(TEXTS[6:]), ("a",), None)


def union(**more):
    return FeatureUnion(
        [
            ("words", TfidfVectorizer(ngram_range=(1, 2), **more)),
            ("characters", TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 3))),
        ]
    )


MAKERS = [
    lambda: CountVectorizer(ngram_range=(1, 2), binary=True),
    lambda: TfidfVectorizer(ngram_range=(1, 3), sublinear_tf=True, strip_html=True),
    lambda: TfidfVectorizer(use_idf=False, norm=None),
    lambda: HashingVectorizer(n_features=64),
    union,
]


def equal(a, b):
    assert a.keys() == b.keys()
    for name, X in a.items():
        assert X.shape == b[name].shape
        assert X.dtype == b[name].dtype
        assert (b[name] != X).nnz == 0


@pytest.mark.parametrize("make", MAKERS)
def test_what_is_read_is_what_was_made(tmp_path, make):
    cache = FeatureCache(tmp_path, 10**9)
    first, again, plain = make(), make(), make()
    made = cache.fit(first, splits())
    read = cache.fit(again, splits())
    equal(made, read)
    assert len(cache.entries()) == 1
    expected = {"train": plain.fit_transform(splits().train.texts)}
    assert (expected["train"] != read["train"]).nnz == 0
    # The vectorizer that was read goes on as the fitted one does.
    new = ["great unseen dull", ""]
    assert (again.transform(new) != plain.transform(new)).nnz == 0
    assert list(again.get_feature_names_out() if hasattr(again, "index_") else []) == list(
        plain.get_feature_names_out() if hasattr(plain, "index_") else []
    )
    # Private pages: what a solver writes stays in its process.
    read["train"].data[:] = 0
    equal(made, cache.fit(make(), splits()))


def test_other_data_or_parameters_are_other_features(tmp_path):
    cache = FeatureCache(tmp_path, 10**9)
    cache.fit(TfidfVectorizer(), splits())
    cache.fit(TfidfVectorizer(min_df=2), splits())
    cache.fit(TfidfVectorizer(), splits(" more"))
    cache.fit(CountVectorizer(), splits())
    assert len(cache.entries()) == 4


def test_a_damaged_entry_is_made_again(tmp_path):
    made = FeatureCache(tmp_path / "none", 0).fit(TfidfVectorizer(), splits())
    cache = FeatureCache(tmp_path, 10**9)
    cache.fit(TfidfVectorizer(), splits())
    entry = tmp_path / cache.entries()[0].key
    (entry / "train-data.npy").write_bytes(b"\x93NUMPY damaged")
    equal(made, cache.fit(TfidfVectorizer(), splits()))
    (entry / "state.json").unlink()
    equal(made, cache.fit(TfidfVectorizer(), splits()))
    assert len(cache.entries()) == 1


def test_features_that_were_just_made_are_those_on_the_disk_and_take_no_memory_of_their_own(
    tmp_path,
):
    cache = FeatureCache(tmp_path, 10**9)
    X = cache.fit(TfidfVectorizer(), splits())["train"]
    owner = X.data
    while isinstance(owner, np.ndarray):
        owner = owner.base
    assert isinstance(owner, mmap.mmap)
    cache.clear()
    equal(
        {"train": X}, {"train": FeatureCache(tmp_path, 0).fit(TfidfVectorizer(), splits())["train"]}
    )


def test_the_least_recently_used_goes_first(tmp_path):
    cache = FeatureCache(tmp_path, 10**9)
    cache.fit(TfidfVectorizer(min_df=1), splits())
    cache.fit(TfidfVectorizer(min_df=2), splits())
    old, new = sorted(cache.entries(), key=lambda entry: entry.about["vectorizer"]["min_df"])
    os.utime(tmp_path / new.key / "about.json", (1, 1))
    small = FeatureCache(tmp_path, old.size + new.size)
    small.fit(TfidfVectorizer(min_df=3), splits())
    assert old.key in {entry.key for entry in small.entries()}
    assert new.key not in {entry.key for entry in small.entries()}
    assert sum(entry.size for entry in small.entries()) <= small.max_bytes
    assert small.clear() > 0
    assert small.entries() == []


def test_no_room_no_cache(tmp_path):
    FeatureCache(tmp_path / "none", 0).fit(TfidfVectorizer(), splits())
    assert not (tmp_path / "none").exists()
    FeatureCache(tmp_path / "tiny", 10).fit(TfidfVectorizer(), splits())
    assert FeatureCache(tmp_path / "tiny", 10).entries() == []


def test_a_foreign_vectorizer_is_fitted_every_time(tmp_path):
    class Own(TfidfVectorizer):
        pass

    cache = FeatureCache(tmp_path, 10**9)
    for vectorizer in (Stock(), Own()):
        X = cache.fit(vectorizer, splits())["train"]
        assert X.shape[0] == 5
    assert cache.entries() == []


PROCESS = """
import logging, sys
from pathlib import Path
from sentiment.data.split import Split
from sentiment.data.splits import Splits
from sentiment.training.cache import FeatureCache
from sentiment.vectorizers import TfidfVectorizer
logging.basicConfig(level="INFO")
texts = [" ".join(f"word{i * j % 9973}" for j in range(60)) for i in range(5_000)]
train, test = Split(texts, ["a"] * len(texts)), Split(texts[:1], ["a"])
data = Splits("name", "source", train, Split([], []), test, ("a",), None)
print("ready", flush=True)
sys.stdin.readline()
FeatureCache(Path(sys.argv[1]), 10**9).fit(TfidfVectorizer(ngram_range=(1, 2)), data)
"""


@pytest.mark.slow
def test_processes_that_ask_at_once_compute_once(tmp_path):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(tmp_path / "cache")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(3)
    ]  # fmt: skip
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], said
    assert sum("read from the cache" in one for one in said) == 2


EDIT = """
import sys
from pathlib import Path
from sentiment.training.cache import code_hash

def key():
    code_hash.cache_clear()  # as another process has it
    return code_hash()

first, same = key(), []
for folder in ("text", "vectorizers"):
    for source in sorted((Path.cwd() / "sentiment" / folder).glob("[a-z]*.py")):
        was = source.read_text()
        source.write_text(was + "# changed")
        if key() == first:
            same.append(source.name)
        source.write_text(was)
assert not same and key() == first, same
print(first)
"""


@pytest.mark.slow
def test_the_key_covers_every_module_that_makes_features(tmp_path):
    """A change of any module of what makes features changes the key."""
    package = Path(sentiment.__file__).parent
    shutil.copytree(
        package, tmp_path / "sentiment", ignore=shutil.ignore_patterns("__pycache__", "*.yaml")
    )
    keys = [
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        ).stdout  # the working folder comes first on the path
        for program in (EDIT, "from sentiment.training.cache import code_hash; print(code_hash())")
    ]
    assert keys[0] == keys[1]


def test_the_place_is_the_same_for_tasks_that_work_elsewhere(tmp_path, monkeypatch):
    """Those of a cluster have a working directory of their own."""
    monkeypatch.chdir(tmp_path)
    assert FeatureCache(Path("outputs/cache"), 1).folder == tmp_path / "outputs" / "cache"
