"""The page about data: self-contained, its figures are the data's, odd shapes stay readable."""

from __future__ import annotations

import re

import pytest

from sentiment.data.leaks import copies_between
from sentiment.data.report import data_report
from sentiment.data.split import Split
from sentiment.data.splits import Splits


def splits(texts, labels, **more):
    n = len(texts)
    cut = [
        Split(texts[a:b], labels[a:b])
        for a, b in ((0, n // 2), (n // 2, n * 3 // 4), (n * 3 // 4, n))
    ]
    return Splits("<data>", "a&b.csv", *cut, tuple(sorted(set(labels))), None, more)


def check(page):
    assert page.startswith("<!doctype html>")
    assert page.rstrip().endswith("</html>")
    assert not re.search(r"<script|<link|<img|src=|url\(|@import", page)
    for tag in ("div", "table", "tr", "figure", "svg", "p", "tbody"):
        assert len(re.findall(rf"<{tag}[ >]", page)) == page.count(f"</{tag}>"), tag
    assert "nan" not in re.findall(r"[a-z]+", re.sub(r"<[^>]*>", " ", page))


@pytest.mark.parametrize("classes", [2, 5, 50, 200])
def test_classes_of_any_number(classes):
    rows = 4 * classes * 3
    texts = [f"word{i % classes} filler{i % 7} <b>markup</b> {i}" for i in range(rows)]
    page = data_report(splits(texts, [f"class & {i % classes}" for i in range(rows)]))
    check(page)
    assert "&lt;data&gt;" in page
    assert f"{rows:,}" in page
    assert "<b>markup" not in page


@pytest.mark.parametrize(
    "texts", [["a", "b"] * 5, ["one"] * 12, ["x" * 100_000, "word " * 20_000] * 4, ["!", "?"] * 6]
)
def test_few_short_and_long_texts(texts):
    check(data_report(splits(texts, ["a", "b"] * (len(texts) // 2))))


def test_figures_copies_and_warnings_are_those_of_the_data():
    long = "a text that is long enough to have its runs of three words counted and compared"
    texts = [long, *(f"row{i} of{i} text{i}" for i in range(10)), f"{long} twice"]
    found = splits(texts, ["x", "y"] * 6, missing_labels_train=3,
                   test_rows_that_share_with_train_their_film=2)  # fmt: skip
    parts = {"train": found.train, "val": found.val, "test": found.test}
    page = data_report(found, copies=copies_between(parts))
    check(page)
    assert "train and test" in page
    assert "1 held-out texts are copies of training texts" in page
    assert "3 rows of train without label are left out" in page
    assert "data.group_column=film" in page


def test_suspects_are_shown_with_what_speaks_for_them():
    suspects = {
        "suspects": [
            {"row": 7, "given": "x", "suggested": "y", "probability_suggested": 0.9,
             "ngrams": ["<i>"], "text": "t < u"}
        ],
        "rows": 12, "accuracy_out_of_fold": 0.5, "hard_pairs": [],
        "pairs": [{"given": "x", "suggested": "y", "suspects": 1}],
    }  # fmt: skip
    page = data_report(splits([f"t {i}" for i in range(12)], ["x", "y"] * 6), suspects=suspects)
    check(page)
    assert "row 7: given x" in page
    assert "&lt;i&gt;" in page


def test_a_page_and_a_file_of_copies_from_the_command(tmp_path, cli):
    rows = [f"a review of the film number {i} which is fine,{'ab'[i % 2]}" for i in range(60)]
    (tmp_path / "a.csv").write_text("text,label\n" + "\n".join([*rows, rows[0]]) + "\n")
    page, doubles = tmp_path / "p.html", tmp_path / "d.jsonl"
    answer = cli("data", tmp_path / "a.csv", "--report", page, "--doubles", doubles, "--json")
    assert answer.code == 0
    check(page.read_text())
    assert len(answer.document["copies"]) == len(doubles.read_text().splitlines())
    exact = next(one for one in answer.document["copies"] if one["alike"] == 1)
    assert {exact["row"], exact["other_row"]} == {0, 60}
    assert cli("data", tmp_path / "a.csv", "--report", tmp_path / "no/p.html").code == 2
