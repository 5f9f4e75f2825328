"""Labels that someone has looked at win, by text or by row, held-out rows included."""

from __future__ import annotations

import json

import pytest

from sentiment.data.loading import load
from sentiment.errors import DataError


@pytest.fixture
def settings(tmp_path):
    """A file of 40 rows whose second text is empty, so that rows and places differ."""
    lines = ["text,label", *(f"text number {i},{'ab'[i % 2]}" for i in range(40))]
    lines[2] = ",a"
    (tmp_path / "a.csv").write_text("\n".join(lines) + "\n")
    return {
        "source": "files", "name": "x", "train": str(tmp_path / "a.csv"), "split": "random",
        "slice_columns": None,
    }  # fmt: skip


def labels_of(splits):
    return {
        row: label
        for part in (splits.train, splits.val, splits.test)
        for row, label in zip(part.rows, part.labels, strict=True)
    }


def test_rows_are_counted_from_0_as_the_file_has_them(settings):
    splits = load(settings, 1).splits
    for part in (splits.train, splits.val, splits.test):
        assert part.texts == [f"text number {row}" for row in part.rows]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "suspects"])
def test_by_row_and_by_text_and_a_file_of_suspects(settings, tmp_path, kind):
    before = labels_of(load(settings, 1).splits)
    file = tmp_path / f"c.{'jsonl' if kind == 'jsonl' else 'csv'}"
    if kind == "csv":
        file.write_text("row,label\n4,b\n7,\n")
    elif kind == "jsonl":
        file.write_text(json.dumps({"row": 4, "label": "b"}) + "\n")
    else:
        file.write_text("row,given,suggested,text\n1,a,b,text number 4\n5,b,a,gone\n")
    after = load({**settings, "corrections": str(file)}, 1).splits
    assert {row for row, label in labels_of(after).items() if label != before[row]} == {4}
    assert after.report["labels_corrected"] == 1
    assert after.report["corrections_not_found"] == (1 if kind == "suspects" else 0)


def test_a_test_file_is_corrected_by_text_alone(settings, tmp_path):
    (tmp_path / "t.csv").write_text("text,label\nheld out,a\nother,b\n")
    (tmp_path / "c.csv").write_text("row,text,label\n0,,b\n,held out,b\n")
    settings |= {"test": str(tmp_path / "t.csv"), "corrections": str(tmp_path / "c.csv")}
    splits = load(settings, 1).splits
    assert splits.test.labels == ["b", "b"]
    assert splits.test.rows is None
    own = dict(
        zip(
            [*splits.train.rows, *splits.val.rows],
            [*splits.train.labels, *splits.val.labels],
            strict=True,
        )
    )
    assert own[0] == "b"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            "row,label\n40,a\n",
            "row 1 names row 40: rows of the training data are counted from 0 to 39",
        ),
        ("row,label\nx,a\n", "row 1 has the row 'x', which is no whole number"),
        ("row,label\n,a\n", "row 1 has neither a text nor a row"),
        ("row,label\n1,c\n", "says 'c', which is no label of the data"),
        ("row,text\n1,c\n", "they need label"),
    ],
)
def test_what_cannot_be_is_said_with_its_row(settings, tmp_path, content, said):
    (tmp_path / "c.csv").write_text(content)
    with pytest.raises(DataError, match=said):
        load({**settings, "corrections": str(tmp_path / "c.csv")}, 1)
