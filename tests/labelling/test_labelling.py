"""The answers on disk, what is asked next, and what is said of the model."""

from __future__ import annotations

import json
import subprocess
import sys
import threading

import numpy as np
import pytest
from support.reviews import balanced, shuffled

from sentiment.data.splits import load_splits
from sentiment.drift.signals import wilson
from sentiment.errors import DataError, UsageError
from sentiment.labelling.answers import AnswerFile
from sentiment.labelling.choosing import choose
from sentiment.labelling.desk import Desk, Item
from sentiment.labelling.session import labelled, pool, suspects
from sentiment.labelling.simulation import simulate

LABELS = ["negative", "positive"]


@pytest.fixture
def answers(tmp_path):
    opened = AnswerFile(tmp_path / "labelled.jsonl")
    yield opened
    opened.close()


def items(n=60):
    texts, truth = balanced(n)
    order = np.random.default_rng(0).permutation(n)
    return [Item(texts[i], {"row": int(i)}) for i in order], dict(zip(texts, truth, strict=True))


def give(desk, window, truth, n):
    for _ in range(n):
        asked = desk.next(window)
        desk.answer(
            window, asked["id"], truth[asked["text"]], status="labelled", annotator="ann", note=""
        )


def test_answers_are_rows_that_training_reads_and_are_not_asked_again(answers, tmp_path):
    given, truth = items()
    desk = Desk(given, LABELS, answers)
    give(desk, "w", truth, 20)
    asked = desk.next("w")
    desk.answer("w", asked["id"], None, status="unsure", annotator="ann", note="irony?")
    lines = [json.loads(line) for line in answers.path.read_text().splitlines()]
    assert len(lines) == 21
    assert lines[-1]["label"] is None
    assert lines[-1]["status"] == "unsure"
    assert lines[-1]["note"] == "irony?"
    assert {"row", "annotator", "chosen", "at"} <= set(lines[0])
    answers.close()
    again = Desk(given, LABELS, AnswerFile(answers.path))
    left = set()
    for n in range(60):
        asked = again.next(f"window {n}")
        if asked is None:
            break
        left.add(asked["text"])
    assert len(left) == 60 - 21
    assert not left & {line["text"] for line in lines}
    splits = load_splits(
        source="files", name="files", train=str(answers.path), val_size=0, test_size=0.3
    )
    assert splits.report["missing_labels_train"] == 1
    assert splits.classes == ("negative", "positive")
    again.answers.close()


def test_two_windows_never_have_the_same_text_and_a_second_answer_is_refused(answers):
    given, _ = items(12)
    desk = Desk(given, LABELS, answers, batch=3)
    asked = [desk.next(f"w{n}")["id"] for n in range(12)]
    assert len(set(asked)) == 12
    assert desk.next("w0")["id"] == asked[0]  # a page that is loaded again goes on
    assert desk.next("late") is None
    kinds = []

    def answer():
        try:
            desk.answer("w0", asked[0], "positive", status="labelled", annotator="", note="")
            kinds.append("taken")
        except DataError:
            kinds.append("refused")

    threads = [threading.Thread(target=answer) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(kinds) == ["refused"] * 7 + ["taken"]
    assert len(answers.path.read_text().splitlines()) == 1
    with pytest.raises(DataError, match="none of the labels"):
        desk.answer("w1", asked[1], "green", status="labelled", annotator="", note="")


def test_an_answer_is_taken_back_whoever_answered_after(answers):
    given, truth = items(12)
    desk = Desk(given, LABELS, answers)
    first, second = desk.next("a"), desk.next("b")
    desk.answer("a", first["id"], "positive", status="labelled", annotator="ann", note="")
    desk.answer("b", second["id"], "negative", status="labelled", annotator="ben", note="")
    assert desk.undo("a", "ann")
    assert desk.next("a")["text"] == first["text"]
    assert [json.loads(x)["text"] for x in answers.path.read_text().splitlines()] == [
        second["text"]
    ]
    assert not desk.undo("a", "ann")
    give(desk, "a", truth, 1)
    assert len(answers.path.read_text().splitlines()) == 2


def test_a_line_that_was_cut_is_dropped_and_what_is_no_answer_is_refused(tmp_path, caplog):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "one", "label": "positive"}\n{"text": "tw')
    opened = AnswerFile(path)
    assert [row["text"] for row in opened.rows] == ["one"]
    assert "middle of a line" in caplog.text
    opened.add({"text": "two", "label": "negative"})
    opened.close()
    assert [json.loads(line)["text"] for line in path.read_text().splitlines()] == ["one", "two"]
    path.write_text("text,label\n")
    with pytest.raises(DataError, match="line 1 is no answer"):
        AnswerFile(path)


def test_another_process_may_not_write_the_same_file(answers):
    found = subprocess.run(
        [sys.executable, "-c", "import sys,pathlib;from sentiment.labelling.answers import AnswerFile;"
         "AnswerFile(pathlib.Path(sys.argv[1]))", str(answers.path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "another labelling" in found.stderr


def test_the_model_learns_chooses_explains_and_estimates(answers):
    given, truth = items(300)
    desk = Desk(given, LABELS, answers, batch=10, seed=1)
    assert desk.next("w")["guess"] is None  # nothing is known yet: drawn at random
    give(desk, "w", truth, 40)
    desk.learn()
    asked = desk.next("w")
    assert asked["guess"]["label"] in LABELS
    assert asked["marks"]
    for start, end, label, weight in asked["marks"]:
        assert 0 <= start < end <= len(asked["text"])
        assert label in LABELS
        assert 0 <= weight <= 1
    give(desk, "w", truth, 10)
    chosen = [row["chosen"] for row in answers.rows[40:]]
    assert chosen.count("diverse") == 8
    assert chosen.count("random") == 2
    point = desk.state()["points"][-1]
    assert point["n_answers"] == point["n_random"] == 40
    assert point["low"] <= point["accuracy"] <= point["high"]
    assert point["with_more"] >= point["accuracy"]


def test_strategies_take_what_they_say():
    import scipy.sparse as sp

    X = sp.csr_matrix(np.repeat(np.eye(4), 25, axis=0))  # four kinds of text
    scores = np.linspace(-1, 1, 100)
    open_ = np.arange(100)
    random = np.random.default_rng(0)
    assert set(choose("uncertain", scores, X, open_, 4, random)) == {48, 49, 50, 51}
    diverse = choose("diverse", scores, X, open_, 4, random)
    assert len({int(i) // 25 for i in diverse}) == 2  # of the 20 nearest, which are of two kinds
    many = np.stack([scores, -scores, np.full(100, -3.0)], axis=1)
    assert set(choose("uncertain", many, X, open_, 4, random)) == {48, 49, 50, 51}
    assert len(choose("random", scores, X, open_, 4, random)) == 4
    assert len(choose("diverse", scores, X, open_[:3], 4, random)) == 3


def test_an_interval_holds_its_share():
    low, high = wilson(8, 10)
    assert (round(low, 3), round(high, 3)) == (0.49, 0.943)  # Wilson's own formula, by hand
    assert wilson(10, 10)[1] == pytest.approx(1.0)


@pytest.mark.slow
def test_chosen_answers_teach_more_than_drawn_ones():
    rows = shuffled(3)[:4000]
    figures = {
        name: dict(simulate(rows, name, batch=100, seed=1, most=300))[300]
        for name in ("diverse", "random")
    }
    assert figures["diverse"] > figures["random"] > 0.75  # 0.70 of the answers alone


def test_suspects_and_pools_are_read_as_they_are_written(tmp_path):
    file = tmp_path / "suspects.csv"
    file.write_text(
        "row,given,suggested,text\n7,negative,positive,Lovely film\n2,positive,negative,Dull\n"
    )
    found = suspects(str(file))
    assert [item.text for item in found] == ["Lovely film", "Dull"]
    assert found[0].about == {"row": 7, "given": "negative", "suggested": "positive"}
    (tmp_path / "pool.csv").write_text("text\none\ntwo\n")
    assert [item.about["row"] for item in pool(str(tmp_path / "pool.csv"), "text")] == [0, 1]
    (tmp_path / "known.csv").write_text("text,label\none,a\ntwo,\n")
    assert labelled(str(tmp_path / "known.csv"), "text", "label") == [("one", "a")]


def test_looked_at_suspects_go_in_as_corrections_and_doubts_change_nothing(cli, tmp_path):
    """`data --labels`, the page, `data.corrections`: each reads what the one before wrote."""
    texts, truth = balanced(240)
    turned = {3: "negative", 8: "positive", 11: "negative"}
    given = [turned.get(i, label) for i, label in enumerate(truth)]
    rows = [{"text": t, "label": g} for t, g in zip(texts, given, strict=True)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    about = [f"data.train={tmp_path}/train.jsonl", "vectorizer.ngram_range=[1,1]"]
    found = cli("data", "data=files", *about, "--labels", f"output_dir={tmp_path}/out")
    assert found.code == 0, found.err
    doubted = suspects(str(tmp_path / "out" / "suspects.csv"))
    assert len(doubted) >= 3
    desk = Desk(doubted, LABELS, AnswerFile(tmp_path / "looked.jsonl"))
    said = {}
    for number in range(3):
        asked = desk.next("w")
        status = ("labelled", "unsure", "labelled")[number]
        was = given[texts.index(asked["text"])]
        label = ("positive" if was == "negative" else "negative") if status == "labelled" else None
        desk.answer("w", asked["id"], label, status=status, annotator="ann", note="")
        said[asked["text"]] = label or was
    settings = {"source": "files", "name": "x", "train": str(tmp_path / "train.jsonl")}
    splits = load_splits(**settings, corrections=str(tmp_path / "looked.jsonl"))
    assert splits.report["labels_corrected"] == 2
    assert splits.report["corrections_not_found"] == 0
    parts = (splits.train, splits.val, splits.test)
    now = {t: label for part in parts for t, label in zip(part.texts, part.labels, strict=True)}
    assert {text: now[text] for text in said} == said


def test_three_texts_of_one_class_are_labelled_to_the_end(answers):
    desk = Desk([Item(f"text {i}", {"row": i}) for i in range(3)], LABELS, answers)
    for _ in range(3):
        asked = desk.next("w")
        desk.answer("w", asked["id"], "positive", status="labelled", annotator="ann", note="")
        desk.learn()
    assert desk.next("w") is None
    assert len(answers.rows) == 3


def test_wrong_words_are_one_line(cli, tmp_path):
    (tmp_path / "pool.csv").write_text("text\none\ntwo\n")
    for words, reason in (
        (["--input", tmp_path / "pool.csv"], "--labels"),
        ([], "--input FILE"),
        (["--input", tmp_path / "no.csv", "--labels", "a,b"], "no.csv"),
        (["--input", tmp_path / "pool.csv", "--strategy", "randm"], "did you mean 'random'"),
        (["--feedback", "--output-dir", tmp_path], "feedback"),
        (
            ["--input", tmp_path / "pool.csv", "--labels", "a,b, a"],
            "--labels a,b,a: 'a' stands there 2 times",
        ),
    ):
        found = cli("label", *words, "--output", tmp_path / "out.jsonl")
        assert found.code in (1, 2), found.err
        assert reason in found.err
        assert found.err.count("\n") == 1


def test_other_labels_than_those_of_earlier_answers_are_refused(answers):
    answers.add({"text": "x", "label": "green"})
    with pytest.raises(DataError, match="green"):
        Desk(items(12)[0], LABELS, answers)
    with pytest.raises(UsageError, match="two labels"):
        Desk(items(12)[0], ["one"], answers)
