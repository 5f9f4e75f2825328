"""``predict``, ``explain`` and ``evaluate`` as a user types them."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from support.commands import Terminal

from sentiment.cli import main
from sentiment.scorer import Scorer


def test_predict_answers_each_text_and_names_the_model(
    scorer: Scorer, output_dir: Path, cli: Any
) -> None:
    answer = cli("predict", "a good film", "a bad film", "--output-dir", output_dir)
    labels = [line.split("\t")[0] for line in answer.out.splitlines()]
    assert (answer.code, labels) == (0, ["positive", "negative"])
    assert f"latest ({scorer.digest[:12]})" in answer.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "nothing to predict"),
        (["x", "--input", "f.csv"], "not both"),
        (["x", "--output", "f.csv"], "--input"),
        (["x", "--model", "championn"], "did you mean 'champion'"),
        (["--input", "nowhere.csv"], "no such file"),
        (["--input", "nowhere.xyz"], "--format"),
        (["--input", "-", "--format", "cvs"], "did you mean 'csv'"),
        (["--input", "-", "--output-format", "parquet"], "standard output"),
    ],
)
def test_wrong_usage_is_one_line(words: list[str], said: str, output_dir: Path, cli: Any) -> None:
    answer = cli("predict", *words, "--output-dir", output_dir)
    assert answer.code == 2
    assert said in answer.err
    assert answer.err.count("error:") == 1
    assert answer.out == ""


def test_without_a_model_the_fix_is_named(tmp_path: Path, cli: Any) -> None:
    answer = cli("predict", "x", "--output-dir", tmp_path)
    assert answer.code == 2
    assert "sentiment train" in answer.err


def test_explain_adds_up(scorer: Scorer, output_dir: Path, cli: Any) -> None:
    text = "a good <br />film, not BORING"
    found = cli("explain", text, "--json", "--output-dir", output_dir).document
    total = sum(item["contribution"]["positive"] for item in found["contributions"])
    score = found["scores"]["positive"]
    assert total + found["intercept"]["positive"] == pytest.approx(score, abs=1e-9)
    assert score == pytest.approx(scorer.predict_one(text).scores[0], abs=1e-9)
    (boring,) = (item for item in found["contributions"] if item["ngram"] == "boring")
    assert [text[start:end] for start, end in boring["spans"]] == ["BORING"]
    plain = cli("explain", text, "--output-dir", output_dir, "--top", 3)
    assert "(intercept)" in plain.out
    features = cli("explain", "--json", "--top", 4, "--output-dir", output_dir).document
    assert {label: len(items) for label, items in features.items()} == {
        "negative": 4,
        "positive": 4,
    }


def test_an_explanation_for_programs_is_lines_that_add_up(output_dir: Path, cli: Any) -> None:
    head, *lines = cli("explain", "a good, bad film", "--output-dir", output_dir).out.splitlines()
    assert head.split("\t")[0] in ("negative", "positive")
    *parts, (score, _, of) = [line.split("\t") for line in lines]
    assert {"good", "bad", "(intercept)"} <= {name for _, _, name in parts}
    assert sum(float(value) for value, _, _ in parts) == pytest.approx(float(score), abs=1e-3)
    assert of == f"(score of {'positive'})"
    words = [
        line.split("\t") for line in cli("explain", "--output-dir", output_dir).out.splitlines()
    ]
    assert {label for label, _, _ in words} == {"negative", "positive"}
    assert ["positive", "good"] in [[label, word] for label, _, word in words]


def test_an_explanation_on_a_terminal_is_coloured(
    output_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "xterm-256color")
    for words, coloured in (
        (["a GOOD film, and bad"], ["\x1b[1;32mGOOD", "\x1b[1;31mbad", "\x1b[32m+"]),
        ([], ["awful", "wonderful"]),
    ):
        shown = Terminal()
        monkeypatch.setattr(sys, "stdout", shown)
        monkeypatch.setattr(
            sys, "argv", ["sentiment", "explain", *words, "--output-dir", str(output_dir)]
        )
        with pytest.raises(SystemExit) as stop:
            main()
        assert stop.value.code == 0
        assert all(piece in shown.getvalue() for piece in coloured), shown.getvalue()


def write_labelled(path: Path) -> None:
    rows = [{"text": "good great film", "label": 1}, {"text": "bad awful film", "label": 0}] * 20
    rows += [{"text": "bad", "label": 1}, {"text": None, "label": 1}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_evaluate_gates(output_dir: Path, tmp_path: Path, cli: Any) -> None:
    write_labelled(tmp_path / "test.jsonl")
    names = ["--label-name", "0=negative", "--label-name", "1=positive"]
    words = ["evaluate", "--input", tmp_path / "test.jsonl", *names, "--output-dir", output_dir]
    answer = cli(*words, "--json", "--min-accuracy", "0.9")
    assert answer.code == 0
    assert answer.document["n"] == 41
    assert answer.document["n_skipped"] == 1
    assert answer.document["metrics"]["accuracy"] == pytest.approx(40 / 41)
    assert answer.document["metrics"]["accuracy_low"] <= 40 / 41
    missed = cli(*words, "--min-accuracy=0.99", "--max-log-loss", "0")
    assert missed.code == 1
    assert missed.err.count("not met") == 2
    assert "accuracy" in missed.out
    for wrong, said in (
        (["--min-acuracy", "1"], "did you mean 'accuracy'"),
        (["--min-accuracy", "high"], "needs a number"),
        (["--min-accuracy", "nan"], "needs a number"),
        (["--mim-accuracy", "1"], "no such option"),
        (["--delimeter", ";"], "--delimeter; did you mean '--delimiter'?"),
        (["--behaviour"], "--behaviour; did you mean '--behavior'?"),
        (["--label-column", "lable"], "no column 'lable'"),
        (["--label-name", "0"], "RAW=LABEL"),
    ):
        answer = cli(*words, *wrong)
        assert answer.code == 2, wrong
        assert said in answer.err


def test_evaluate_tells_where_and_why(output_dir: Path, tmp_path: Path, cli: Any) -> None:
    rows = [{"text": f"good film {i}", "label": "positive", "from": "a"} for i in range(30)]
    rows += [{"text": f"bad film {i}", "label": "positive", "from": "b"} for i in range(10)]
    file, output, page = tmp_path / "t.jsonl", tmp_path / "o.csv", tmp_path / "p.html"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = [
        "evaluate",
        "--input",
        file,
        "--output-dir",
        output_dir,
        "--slices",
        "--slice-column",
        "from",
    ]
    found = cli(*words, "--output", output, "--report", page, "--json").document
    assert found["classes"] == ["negative", "positive"]
    assert found["confusion"] == [[0, 0], [10, 30]]
    slices = {one["name"]: one for one in found["slices"]}
    assert slices["from: b"]["worse"]
    assert slices["from: b"]["accuracy"] == 0
    assert not slices["from: a"]["worse"]
    with output.open(newline="") as lines:
        written = list(csv.DictReader(lines))
    assert [row["right"] for row in written] == ["True"] * 30 + ["False"] * 10
    assert "bad +" in written[-1]["explanation"]
    assert page.read_text().startswith("<!doctype html>")
    plain = cli(*words)
    assert "confusion" in plain.out
    assert "worse" in plain.out
    for wrong, said in (
        (["--report", tmp_path / "no" / "p.html"], "no such folder"),
        (["--slice-column", "form"], "no column 'form'"),
        (["--slice-column", "form"], "give --slice-column"),
    ):
        answer = cli(*words, *wrong)
        assert answer.code == 2
        assert said in answer.err


def test_evaluate_tests_behaviour(output_dir: Path, tmp_path: Path, cli: Any) -> None:
    file = tmp_path / "b.yaml"
    file.write_text(
        "tests: [{name: praise, kind: minimum, label: positive, texts: [a good film, bad]}]"
    )
    answer = cli("evaluate", "--behavior", file, "--json", "--output-dir", output_dir)
    assert answer.code == 1
    (test,) = answer.document["tests"]
    assert (test["cases"], test["failures"]) == (2, 1)
    shown = cli("evaluate", f"--behavior={file}", "--output-dir", output_dir)
    assert "FAIL" in shown.out
    assert "Fails the test" in shown.out
    assert cli("evaluate", "--behavior", "--output-dir", output_dir).code in (0, 1)
    for wrong in (["--behavior", "no.yaml"], [], ["--behavior", "--input", "x.csv"]):
        assert cli("evaluate", *wrong, "--output-dir", output_dir).code == 2


def test_evaluate_says_when_no_label_is_known(output_dir: Path, tmp_path: Path, cli: Any) -> None:
    write_labelled(tmp_path / "test.jsonl")
    answer = cli("evaluate", "--input", tmp_path / "test.jsonl", "--output-dir", output_dir)
    assert answer.code == 2
    assert "--label-name" in answer.err
