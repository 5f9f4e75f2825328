"""Rows keep their side: by hash, group, time and named split, whole and streamed."""

from __future__ import annotations

import json
import random
from collections import Counter

import numpy as np
import polars as pl
import pytest

from sentiment.data import division, stream
from sentiment.data.classes import check_classes
from sentiment.data.loading import load
from sentiment.data.splits import Splits, load_splits
from sentiment.errors import DataError, UsageError

WORDS = ["warm", "dull", "bright", "odd", "plain", "long", "short", "late"]


def make(rows=400, seed=0, films=40, **more):
    rng = random.Random(seed)
    return pl.DataFrame(
        {
            "text": [f"{' '.join(rng.choices(WORDS, k=5))} {i}" for i in range(rows)],
            "label": [("good", "bad")[rng.random() < 0.4] for _ in range(rows)],
            "film": [f"f{rng.randrange(films)}" for _ in range(rows)],
            "date": [f"20{10 + i * 10 // rows}-0{1 + i % 9}-11" for i in range(rows)],
            "part": [("train", "Test", "dev", "train")[i % 4] for i in range(rows)],
        }
    ).with_columns(**more)


def files(path, frame, **options):
    frame.write_csv(path / "a.csv")
    return load_splits(
        source="files", name="files", train=str(path / "a.csv"), **({"split": "hash"} | options)
    )


@pytest.mark.parametrize("streaming", [False, True])
def test_a_continuous_column_is_no_label(tmp_path, streaming):
    frame = make(label=pl.Series([f"{i * 0.00231:.4f}" for i in range(400)]))
    frame.write_csv(tmp_path / "a.csv")
    with pytest.raises(DataError, match="'label' looks continuous: 400 different numbers in 400"):
        load(settings(tmp_path, streaming=streaming), 42)
    # Grades are classes, however few rows there are, and so are many numbers of many rows each.
    assert len(check_classes(Counter(f"{i / 2}" for i in range(20)), None, "label")) == 20
    assert len(check_classes(Counter(f"{i % 99}" for i in range(999)), None, "label")) == 99


def settings(path, **options):
    return {
        "source": "files", "name": "files", "train": str(path / "a.csv"), "test": None,
        "text_column": "text", "label_column": "label", "label_names": None, "positive_label": None,
        "val_size": 0.1, "test_size": 0.2, "sample_size": None, "on_bad_rows": "drop",
    } | options  # fmt: skip


def streamed(path, **options):
    """What a stream makes of the same file, as splits in memory."""
    found = load(settings(path, streaming=True, **options), 42)
    chunks = list(found.stream.chunks())
    texts = [text for chunk in chunks for text in chunk.texts]
    return found.splits, texts


def side_of(splits: Splits):
    parts = {"train": splits.train, "val": splits.val, "test": splits.test}
    return {text: name for name, part in parts.items() for text in part.texts}


def test_no_row_moves_when_the_file_grows_is_shuffled_or_sampled(tmp_path):
    frame = make()
    before = side_of(files(tmp_path, frame))
    grown = pl.concat([frame, make(40, seed=1)]).sample(fraction=1.0, shuffle=True, seed=3)
    after = side_of(files(tmp_path, grown))
    assert before.items() <= after.items()
    sampled = side_of(files(tmp_path, grown, sample_size=200))
    assert sampled.items() <= after.items()
    assert len(sampled) == 200
    smaller = side_of(files(tmp_path, grown, sample_size=100))
    assert smaller.items() <= sampled.items()
    relabelled = frame.with_columns(
        label=pl.lit("good").append(pl.lit("bad")).gather([0] * 399 + [1])
    )
    assert side_of(files(tmp_path, relabelled, val_size=0.0, seed=42)).keys() == before.keys()


def test_shares_and_labels_hold_as_well_as_a_hash_allows(tmp_path):
    splits = files(tmp_path, make(4000))
    assert len(splits.test) == pytest.approx(800, abs=5 * np.sqrt(4000 * 0.2 * 0.8))
    for part in (splits.train, splits.test):
        assert part.labels.count("bad") / len(part) == pytest.approx(0.4, abs=0.08)
    sampled = files(tmp_path, make(4000), sample_size=1000)
    labels = sampled.train.labels + sampled.val.labels + sampled.test.labels
    whole = make(4000)["label"].to_list()
    assert labels.count("bad") == pytest.approx(whole.count("bad") / 4, abs=1)


def test_a_repeated_text_never_stands_on_two_sides(tmp_path):
    frame = pl.concat([make(200), make(200)])
    splits = files(tmp_path, frame)
    assert splits.report["test_texts_also_in_train"] == 0
    assert splits.report["val_texts_also_in_train"] == 0
    assert files(tmp_path, frame, split="random").report["test_texts_also_in_train"] > 20


@pytest.mark.parametrize("how", ["hash", "random"])
def test_a_group_stays_on_one_side(tmp_path, how):
    splits = files(tmp_path, make(2000, films=200), group_column="film", split=how)
    sides = [set(part.groups) for part in (splits.train, splits.val, splits.test)]
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert not sides[1] & sides[2]
    assert len(splits.test) / 2000 == pytest.approx(0.2, abs=0.08)
    if how == "random":
        assert len(splits.test) / 2000 == pytest.approx(0.2, abs=0.02)
        share = splits.test.labels.count("bad") / len(splits.test)
        assert share == pytest.approx(
            make(2000, films=200)["label"].to_list().count("bad") / 2000, abs=0.02
        )


def test_rows_without_a_group_are_groups_of_their_own(tmp_path):
    film = [None if i % 2 else f"f{i % 20}" for i in range(400)]
    splits = files(tmp_path, make(film=pl.Series(film)), group_column="film")
    assert len({g for g in splits.train.groups if g.startswith("text ")}) > 100


def test_the_newest_rows_test_and_one_time_stays_together(tmp_path):
    frame = make().sample(fraction=1.0, shuffle=True, seed=5)
    splits = files(tmp_path, frame, time_column="date")
    date = dict(zip(frame["text"], frame["date"], strict=True))
    train, val, test = (
        [date[t] for t in part.texts] for part in (splits.train, splits.val, splits.test)
    )
    assert max(train) < min(val) <= max(val) < min(test)
    assert len(test) == pytest.approx(80, abs=6)
    numbers = files(tmp_path, make(date=pl.int_range(400)), time_column="date")
    assert [t.split()[-1] for t in numbers.test.texts] == [str(i) for i in range(320, 400)]


def test_a_column_names_the_splits(tmp_path):
    frame = make()
    sides = side_of(files(tmp_path, frame, split_column="part"))
    assert [sides[t] for t in frame["text"][:4]] == ["train", "test", "val", "train"]


def test_validation_files_are_kept_whole(tmp_path):
    make(50, seed=9).write_csv(tmp_path / "val.csv")
    splits = files(tmp_path, make(), val=str(tmp_path / "val.csv"))
    assert splits.val.texts == make(50, seed=9)["text"].to_list()
    found, _ = streamed(tmp_path, val=str(tmp_path / "val.csv"))
    assert sorted(found.val.texts) == sorted(splits.val.texts)
    assert sorted(found.test.texts) == sorted(splits.test.texts)


@pytest.mark.parametrize(
    "options", [{}, {"group_column": "film"}, {"time_column": "date"}, {"split_column": "part"}]
)
def test_a_stream_is_divided_as_the_whole_file_is(tmp_path, options):
    whole = files(tmp_path, make(), **options)
    found, train = streamed(tmp_path, **options)
    assert sorted(train) == sorted(whole.train.texts)
    assert sorted(found.val.texts) == sorted(whole.val.texts)
    assert sorted(found.test.texts) == sorted(whole.test.texts)
    assert found.report["rows_train"] == len(train)
    assert np.array_equal(found.seen(), whole.seen())


@pytest.mark.parametrize(
    "options", [{}, {"group_column": "film"}, {"time_column": "date"}, {"split_column": "part"}]
)
def test_a_stream_holds_out_no_more_than_it_may(tmp_path, monkeypatch, options):
    monkeypatch.setattr(stream, "MAX_HELD_OUT", 30)
    make(films=200).write_csv(tmp_path / "a.csv")
    found, train = streamed(tmp_path, **options)
    assert 0 < len(found.test) <= 60
    assert not set(train) & (set(found.test.texts) | set(found.val.texts))
    assert found.report["rows_train"] == len(train)
    if "split_column" in options:
        # A row that the column calls test never trains.
        assert sorted(train) == sorted(make(films=200).filter(pl.col("part") == "train")["text"])


def test_groups_that_are_not_used_are_spoken_of(tmp_path, caplog):
    make().write_csv(tmp_path / "a.csv")
    splits = load(settings(tmp_path, split="hash"), 42).splits
    assert splits.report["test_rows_that_share_with_train_their_film"] > 50
    json.dumps(splits.report)  # as it is stored with the model
    assert "data.group_column=film keeps them apart" in caplog.text
    caplog.clear()
    load(settings(tmp_path, split="hash", group_column="film"), 42)
    assert "group_column" not in caplog.text


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({}, {"split": "hsah"}, r"data.split='hsah' is not one of hash, random; did you mean 'hash'"),
        ({}, {"group_column": "flim"}, r"no column 'flim'; did you mean 'film'"),
        ({}, {"group_column": "film", "time_column": "date"}, "give one of them"),
        ({}, {"split_column": "part", "test": "t.csv"}, "both say which rows are test"),
        ({"film": pl.lit("one")}, {"group_column": "film"}, "data.group_column=film leaves no row for"),
        ({"part": pl.lit("fold 3")}, {"split_column": "part"}, r"holds 'fold 3' \(first: row 1\)"),
        ({"part": pl.lit("train")}, {"split_column": "part"}, "leaves no row for test"),
        ({"date": pl.lit("31.12.2020")}, {"time_column": "date"}, "row 1 holds '31.12.2020'"),
        ({"date": pl.lit("2020")}, {"time_column": "date"}, "too few different times"),
        (
            {"label": pl.col("film").replace_strict({"f7": "good"}, default="bad")},
            {"group_column": "film", "val_size": 0.4, "test_size": 0.5},
            "no training row of the label 'good'",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_divided_is_named_with_its_fix(tmp_path, changes, options, message):
    with pytest.raises(UsageError, match=message):
        files(tmp_path, make().with_columns(**changes), **options)


@pytest.mark.parametrize(
    ("key", "value"),
    [("group_column", "flim"), ("weight_column", "flim"), ("slice_columns", ["film", "flim"])],
)
def test_a_column_that_is_not_there_is_named_with_its_key(tmp_path, key, value):
    make().write_csv(tmp_path / "a.csv")
    fix = rf"no column 'flim'; did you mean 'film'\? \(there are: .*; give data\.{key}=…\)"
    with pytest.raises(DataError, match=fix):
        load(settings(tmp_path, **{key: value}), 42)


def test_the_first_bad_time_is_named_by_its_row_in_the_file(tmp_path):
    date = [None if i == 123 else f"2020-01-{1 + i % 28:02}" for i in range(400)]
    text = ["" if i == 5 else f"text {i}" for i in range(400)]
    frame = make(date=pl.Series(date), text=pl.Series(text))
    with pytest.raises(DataError, match="row 124 holds nothing, which is no time"):
        files(tmp_path, frame, time_column="date")
    with pytest.raises(DataError, match="row 124 holds nothing, which is no time"):
        streamed(tmp_path, time_column="date")


def test_a_stream_is_not_drawn_at_random(tmp_path):
    make().write_csv(tmp_path / "a.csv")
    with pytest.raises(UsageError, match="data.split=random: a stream is divided by hash"):
        streamed(tmp_path, split="random")


def test_places_do_not_depend_on_the_machine():
    assert division.hash_places(["a film", "\ud800"], 42).tolist() == pytest.approx(
        division.hash_places(["a film", "\ud800"], 42).tolist()
    )
