"""Labelled text is read, named, cleaned of unusable rows and split as asked."""

from __future__ import annotations

import gzip
import json

import polars as pl
import pyarrow as pa
import pytest

from sentiment.data.splits import load_splits
from sentiment.errors import DataError, UsageError

ROWS = [(f"text number {i} about {'joy' if i % 2 else 'grief'}", i % 2) for i in range(100)]


def write(path, rows=ROWS, text="text", label="label"):
    """Write rows in the format that the name says."""
    frame = pl.DataFrame({text: [t for t, _ in rows], label: [y for _, y in rows]})
    name = path.name.removesuffix(".gz").removesuffix(".zst")
    if name.endswith(".parquet"):
        frame.write_parquet(path)
        return path
    if name.endswith(".jsonl"):
        raw = "".join(json.dumps(row) + "\n" for row in frame.to_dicts()).encode()
    else:
        raw = frame.write_csv(separator="\t" if name.endswith(".tsv") else ",").encode()
    if path.suffix == ".gz":
        raw = gzip.compress(raw)
    elif path.suffix == ".zst":
        raw = pa.compress(raw, codec="zstd", asbytes=True)
    path.write_bytes(raw)
    return path


def files(path, **options):
    return load_splits(source="files", name="files", train=str(path), **options)


@pytest.mark.parametrize(
    "name", ["a.csv", "a.tsv", "a.jsonl", "a.parquet", "a.csv.gz", "a.jsonl.gz", "a.csv.zst"]
)
def test_every_format_gives_the_same_rows(tmp_path, name):
    splits = files(write(tmp_path / name))
    expected = files(write(tmp_path / "reference.csv"))
    assert splits.fingerprint() == expected.fingerprint()
    assert (len(splits.train), len(splits.val), len(splits.test)) == (70, 10, 20)


def test_splits_are_seeded_stratified_and_disjoint(tmp_path):
    path = write(tmp_path / "a.csv")
    one, again, other = files(path, seed=1), files(path, seed=1), files(path, seed=2)
    assert one.fingerprint() == again.fingerprint() != other.fingerprint()
    assert one.test.labels.count("1") == 10
    texts = one.train.texts + one.val.texts + one.test.texts
    assert sorted(texts) == sorted(text for text, _ in ROWS)


def test_separate_test_file_is_kept_whole(tmp_path):
    train, test = write(tmp_path / "train.csv"), write(tmp_path / "test.csv", ROWS[:30])
    splits = files(train, test=str(test), sample_size=40, val_size=0)
    assert (len(splits.train), len(splits.val), len(splits.test)) == (40, 0, 30)
    assert splits.test.texts == [text for text, _ in ROWS[:30]]
    assert splits.report["test_texts_also_in_train"] == len(
        set(splits.train.texts) & set(splits.test.texts)
    )


def test_labels_are_named_by_mapping_and_by_list(tmp_path):
    path = write(tmp_path / "a.csv", text="review", label="stars")
    options = {"text_column": "review", "label_column": "stars"}
    by_mapping = files(path, label_names={0: "bad", "1": "good"}, **options)
    by_list = files(path, label_names=["bad", "good"], positive_label="good", **options)
    assert by_mapping.classes == by_list.classes == ("bad", "good")
    assert by_list.positive_label == "good"


def test_integer_labels_with_gaps_stay_integers(tmp_path):
    rows = [*ROWS, ("a text without label", None)]
    splits = files(write(tmp_path / "a.parquet", rows))
    assert splits.classes == ("0", "1")
    assert splits.report["missing_labels_train"] == 1


def test_three_string_classes(tmp_path):
    rows = [(f"{word} {i}", word) for i in range(30) for word in ("ham", "spam", "eggs")]
    splits = files(write(tmp_path / "a.csv", rows))
    assert splits.classes == ("eggs", "ham", "spam")
    assert splits.positive_label is None


def test_bad_rows_are_counted_then_dropped_or_refused(tmp_path):
    rows = [*ROWS, ("", 1), ("   ", 0), ("no label", None)]
    path = write(tmp_path / "a.jsonl", rows)
    splits = files(path)
    assert splits.report["empty_texts_train"] == 2
    assert splits.report["missing_labels_train"] == 1
    assert sum(map(len, (splits.train, splits.val, splits.test))) == 100
    with pytest.raises(DataError, match="2 rows with empty texts .first: row 101"):
        files(path, on_bad_rows="error")


def test_a_row_of_json_may_lack_its_label(tmp_path):
    lines = [
        {"text": text} | ({"label": label} if i % 7 else {}) for i, (text, label) in enumerate(ROWS)
    ]
    path = tmp_path / "some.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert files(path).report["missing_labels_train"] == 15


def test_files_without_data_files_are_not_passed_over():
    with pytest.raises(
        UsageError, match="data.train=a.csv is not read with data=reviews: add data=files"
    ):
        load_splits(source="embedded", name="reviews", subset="imdb", train="a.csv")


def test_embedded_subsets():
    splits = load_splits(
        source="embedded", name="rt", subset="rotten_tomatoes", label_names=["negative", "positive"]
    )
    assert sum(map(len, (splits.train, splits.val, splits.test))) == 8530
    assert splits.classes == ("negative", "positive")


def test_local_hub_folder(tmp_path):
    import datasets

    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["sad", "glad"])}
    )
    rows = {"text": [t for t, _ in ROWS], "label": [y for _, y in ROWS]}
    part = datasets.Dataset.from_dict(rows, features=features)
    datasets.DatasetDict({"train": part, "test": part}).save_to_disk(tmp_path / "set")
    splits = load_splits(
        source="hub", name="hub", path=str(tmp_path / "set"), train="train", test="test"
    )
    assert splits.classes == ("glad", "sad")
    assert len(splits.test) == 100
    with pytest.raises(DataError, match=r"no split 'tset'; did you mean 'test'\?"):
        load_splits(source="hub", name="hub", path=str(tmp_path / "set"), test="tset")


def test_unreachable_hub_says_the_way_out(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DataError, match="data=files.*data=reviews"):
        load_splits(source="hub", name="hub", path="nobody/nothing-of-this-name", train="train")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text_column": "txt"}, r"no column 'txt'; did you mean 'text'\? .*text_column"),
        ({"label_column": "stars"}, r"no column 'stars'.*there are: text, label"),
        ({"sample_size": 101}, "data.sample_size=101 is more than the 100 usable rows"),
        ({"sample_size": 0}, "data.sample_size=0 is not a number of rows"),
        ({"val_size": 1.0}, "data.val_size=1.0 is not a share"),
        ({"val_size": 0.5, "test_size": 0.5}, "leave nothing to train on"),
        ({"test_size": 0.0}, "data.test_size=0 leaves nothing to test on"),
        ({"on_bad_rows": "keep"}, "not one of drop, error"),
        ({"positive_label": "yes"}, "data.positive_label='yes' is not a label"),
        ({"label_names": {0: "bad"}}, "also holds '1': name every label"),
    ],
)
def test_wrong_options_are_named(tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        files(write(tmp_path / "a.csv"), **options)


def test_one_class_and_a_class_of_one(tmp_path):
    with pytest.raises(DataError, match="only '1'; training needs two classes"):
        files(write(tmp_path / "one.csv", [(text, 1) for text, _ in ROWS]))
    with pytest.raises(DataError, match="'rare' occurs once"):
        files(write(tmp_path / "rare.csv", [*((t, "usual") for t, _ in ROWS), ("x", "rare")]))


def test_unreadable_files_are_named(tmp_path):
    (tmp_path / "bb.csv").write_text("text,label\n")
    for name, raw, message in [
        ("b.csv", None, r"no such file: .*b.csv; did you mean 'bb.csv'"),
        ("bb.csv", None, "is empty: it holds no row"),
        ("empty.csv", b"", "empty: it has no header"),
        ("noise.parquet", b"\x00\x01 noise", "not a Parquet file"),
        ("broken.jsonl", b'{"text": "a", "label": 1}\nnope', "row 2: not JSON"),
        ("ragged.csv", b"text,label\na,1\nb\n", "row 2: line 3: 1 cells, the header has 2"),
        ("latin.csv", "text,label\ncaf\u00e9,1\n".encode("latin-1"), "not UTF-8"),
        ("a.csv.gz", b"no gzip at all", "cannot be read"),
        ("a.what", b"x", "does not tell the format"),
    ]:
        if raw is not None:
            (tmp_path / name).write_bytes(raw)
        with pytest.raises(DataError, match=message):
            files(tmp_path / name)


def test_a_cached_hub_data_set_needs_no_network(tmp_path, monkeypatch):
    """The cache holds what a download leaves; reading it asks nobody."""
    import datasets
    from datasets.arrow_writer import ArrowWriter

    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])}
    )
    folder = tmp_path / "stanfordnlp___imdb" / "plain_text" / "0.0.0" / ("e" * 40)
    folder.mkdir(parents=True)
    splits = {}
    for name in ("train", "test"):
        with ArrowWriter(path=str(folder / f"imdb-{name}.arrow"), features=features) as writer:
            for text, label in ROWS:
                writer.write({"text": f"{name} {text}", "label": label})
            writer.finalize()
        splits[name] = {"name": name, "num_examples": len(ROWS), "dataset_name": "imdb"}
    datasets.DatasetInfo(
        features=features, builder_name="parquet", dataset_name="imdb", config_name="plain_text",
        version="0.0.0", splits=splits,
    ).write_to_directory(str(folder))  # fmt: skip
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path))
    found = load_splits(
        source="hub", name="imdb", path="stanfordnlp/imdb", train="train", test="test",
        label_names={0: "negative", 1: "positive"},
    )  # fmt: skip
    assert len(found.test) == 100
    assert found.test.texts[0] == "test text number 0 about grief"
    assert found.classes == ("negative", "positive")
