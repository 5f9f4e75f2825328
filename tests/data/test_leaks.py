"""Copies of texts are found, small edits included, within and across splits."""

from __future__ import annotations

import random

import pytest
from support.reviews import embedded

from sentiment.data.leaks import copies_between, find_copies
from sentiment.data.loading import load
from sentiment.data.split import Split
from sentiment.errors import DataError, UsageError


def edited(text: str, rng: random.Random, words: list[str]) -> str:
    """The text with one of ten words replaced."""
    own = text.split()
    for place in rng.sample(range(len(own)), max(1, len(own) // 10)):
        own[place] = rng.choice(words)
    return " ".join(own)


def test_planted_copies_are_found_and_few_others():
    rng = random.Random(0)
    texts = list(dict.fromkeys(text for text, _ in embedded()[:1500]))
    words = [word for text in texts[:100] for word in text.split()]
    n = len(texts)
    chosen = rng.sample(range(n), 200)
    found = find_copies([*texts, *(edited(texts[i], rng, words) for i in chosen)])
    pairs = set(zip(found.first.tolist(), found.second.tolist(), strict=True))
    assert sum((i, n + place) in pairs for place, i in enumerate(chosen)) >= 190
    assert sum(b < n for _, b in pairs) <= 5
    assert (found.family[n:] == chosen).mean() >= 0.95


def test_many_copies_of_one_text_are_one_family():
    text = embedded()[0][0]
    found = find_copies(["something else entirely", *[text] * 500, f"{text} The end."])
    assert len(found) < 5000
    assert set(found.family[1:].tolist()) == {1}
    assert found.family[0] == 0


@pytest.mark.parametrize("texts", [[], ["one"], ["", "!!!", "?", "a b", "A  b"]])
def test_short_texts_are_copies_where_they_are_equal(texts):
    found = find_copies(texts)
    pairs = list(zip(found.first.tolist(), found.second.tolist(), strict=True))
    assert pairs == ([(3, 4)] if len(texts) > 2 else [])


def test_copies_name_split_and_place():
    a, b = embedded()[0][0], embedded()[1][0]
    found = copies_between(
        {"train": Split([a, b], ["x", "y"]), "test": Split([f"{b} Yes."], ["y"])}
    )
    assert [(one.part, one.place, one.other_part, one.other_place) for one in found] == [
        ("train", 1, "test", 0)
    ]


@pytest.fixture
def leaking(tmp_path):
    """A training and a test file; a fifth of the test texts are edited copies."""
    rows = embedded()[:100] + embedded()[-100:]
    rng = random.Random(1)
    words = [word for text, _ in rows[:50] for word in text.split()]
    train, test = rows[:80] + rows[-80:], list(rows[80:120])
    test[:8] = [(edited(text, rng, words), label) for text, label in train[:8]]
    import polars as pl

    for name, part in (("train", train), ("test", test)):
        pl.DataFrame(part, schema=["text", "label"], orient="row").write_parquet(
            tmp_path / f"{name}.parquet"
        )
    return {
        "source": "files", "name": "x", "train": str(tmp_path / "train.parquet"),
        "test": str(tmp_path / "test.parquet"), "val_size": 0.0, "split": "random", "sample_size": None,
    }  # fmt: skip


def test_leaks_are_warned_of_dropped_or_refused(leaking, caplog):
    plain = load(leaking, 1).splits
    assert "near_copies_in_train" not in plain.report
    warned = load({**leaking, "on_leak": "warn"}, 1).splits
    assert warned.train == plain.train
    assert warned.report["test_texts_copied_in_train"] == 8
    assert "data.on_leak=drop" in caplog.text
    dropped = load({**leaking, "on_leak": "drop"}, 1).splits
    assert dropped.test == plain.test
    assert dropped.train.texts == plain.train.texts[8:]
    assert dropped.report["rows_train"] == len(plain.train) - 8
    assert dropped.train.rows == list(range(8, 160))
    with pytest.raises(DataError, match="8 training texts are copies of 8 test texts"):
        load({**leaking, "on_leak": "error"}, 1)
    with pytest.raises(UsageError, match="data.on_leak='no' is not one of warn, drop, error"):
        load({**leaking, "on_leak": "no"}, 1)
    with pytest.raises(UsageError, match=r"data.on_leak needs the rows in memory"):
        load({**leaking, "split": "hash", "on_leak": "warn", "streaming": True}, 1)


def test_no_class_is_dropped_whole(leaking, tmp_path):
    import polars as pl

    frame = pl.read_parquet(leaking["test"])
    known = pl.read_parquet(leaking["train"]).filter(pl.col("label") == "negative")
    pl.concat([frame, known]).write_parquet(tmp_path / "all.parquet")
    with pytest.raises(DataError, match="leaves no training row of the label 'negative'"):
        load({**leaking, "test": str(tmp_path / "all.parquet"), "on_leak": "drop"}, 1)
