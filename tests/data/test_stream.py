"""Files larger than memory: split by hash, learned chunk by chunk, the same CLI."""

from __future__ import annotations

import polars as pl
import pytest

from sentiment.data import stream
from sentiment.data.splits import load_splits
from sentiment.errors import UsageError

OPTIONS = {
    "name": "files", "test": None, "text_column": "text", "label_column": "label", "label_names": None,
    "positive_label": None, "val_size": 0.1, "test_size": 0.2, "on_bad_rows": "drop", "seed": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def sentences(tmp_path_factory):
    """4,000 real sentences in random order, in two formats."""
    folder = tmp_path_factory.mktemp("stream")
    whole = load_splits(source="embedded", name="rt", subset="rotten_tomatoes", sample_size=4000)
    parts = [
        pl.DataFrame({"text": part.texts, "label": part.labels})
        for part in (whole.train, whole.val, whole.test)
    ]
    frame = pl.concat(parts).sample(fraction=1.0, shuffle=True, seed=0)
    frame.write_csv(folder / "rt.csv")
    frame.write_parquet(folder / "rt.parquet")
    return folder


def rows_of(found):
    chunks = list(found.chunks())
    return [text for chunk in chunks for text in chunk.texts], chunks


def test_chunks_and_formats_do_not_change_the_split(sentences):
    one = stream.survey(train=str(sentences / "rt.csv"), chunk_rows=64, **OPTIONS)
    other = stream.survey(train=str(sentences / "rt.parquet"), chunk_rows=5000, **OPTIONS)
    assert sorted(one.splits.test.texts) == sorted(other.splits.test.texts)
    assert sorted(rows_of(one)[0]) == sorted(rows_of(other)[0])
    assert max(len(chunk) for chunk in rows_of(one)[1]) <= 64


def test_nothing_is_lost_and_nothing_leaks(sentences):
    found = stream.survey(train=str(sentences / "rt.csv"), **OPTIONS)
    train, _ = rows_of(found)
    val, test = found.splits.val.texts, found.splits.test.texts
    assert len(train) + len(val) + len(test) == 4000
    assert found.splits.report["rows_train"] == len(train)
    assert not set(train) & set(test)
    assert not set(train) & set(val)
    assert len(test) == pytest.approx(800, rel=0.1)
    assert len(val) == pytest.approx(400, rel=0.15)


def test_held_out_rows_are_bounded(sentences, monkeypatch):
    monkeypatch.setattr(stream, "MAX_HELD_OUT", 50)
    found = stream.survey(train=str(sentences / "rt.csv"), chunk_rows=100, **OPTIONS)
    assert (len(found.splits.test), len(found.splits.val)) == (50, 50)
    assert len(rows_of(found)[0]) == 3900


def test_rows_that_neither_train_nor_are_judged_are_told(sentences, monkeypatch, tmp_path, caplog):
    monkeypatch.setattr(stream, "MAX_HELD_OUT", 50)
    words = {"train": str(sentences / "rt.csv"), "as_in_memory": True, "chunk_rows": 100}
    found = stream.survey(**words, **OPTIONS)
    report = found.splits.report
    assert report["rows_left_out_test"] == pytest.approx(750, rel=0.15)
    kept = report["rows_train"] + report["rows_left_out_test"] + report["rows_left_out_val"]
    assert kept + 100 == 4000
    assert "test: 50 of" in caplog.text
    pl.read_csv(sentences / "rt.csv").head(400).write_csv(tmp_path / "test.csv")
    found = stream.survey(**words, **{**OPTIONS, "test": str(tmp_path / "test.csv")})
    assert found.splits.report["rows_left_out_test"] == 350


def test_a_test_file_of_its_own(sentences, tmp_path):
    pl.read_csv(sentences / "rt.csv").head(100).write_csv(tmp_path / "test.csv")
    found = stream.survey(
        train=str(sentences / "rt.csv"), **{**OPTIONS, "test": str(tmp_path / "test.csv")}
    )
    assert len(found.splits.test) == 100
    assert len(rows_of(found)[0]) + len(found.splits.val) == 4000


def test_the_same_command_trains_out_of_core(sentences, tmp_path, cli):
    words = [
        "train", "data=files", f"data.train={sentences}/rt.csv", "data.streaming=true", "data.passes=3",
        "vectorizer=hashing", "model=sgd", f"output_dir={tmp_path}", "--json",
    ]  # fmt: skip
    answer = cli(*words)
    assert answer.code == 0, answer.err
    assert answer.document["metrics"]["test_accuracy"] > 0.65
    assert answer.document["data"]["rows_train"] > 2500
    said = cli("predict", "a wonderful film", "--json", "--output-dir", tmp_path)
    assert said.document["label"] in ("0", "1")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["vectorizer=tfidf", "model=sgd"], "vectorizer=hashing"),
        (["vectorizer=hashing", "model=nbsvm"], "model=sgd"),
        (["vectorizer=hashing", "model=sgd", "data.sample_size=10"], "without data.sample_size"),
    ],
)
def test_what_cannot_stream_is_refused(sentences, tmp_path, cli, words, message):
    answer = cli(
        "train", "data=files", f"data.train={sentences}/rt.csv", "data.streaming=true",
        f"output_dir={tmp_path}", *words,
    )  # fmt: skip
    assert answer.code == 2
    assert message in answer.err


def test_a_file_is_needed():
    with pytest.raises(UsageError, match="data.train"):
        stream.survey(train=None, **OPTIONS)
