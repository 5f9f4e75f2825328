"""Labels that were turned are found, ranked and named by their row; the file comes back in."""

from __future__ import annotations

import csv
import random

import numpy as np
import pytest
from support.reviews import shuffled

from sentiment import config
from sentiment.data.split import Split
from sentiment.data.splits import Splits
from sentiment.errors import DataError
from sentiment.training.pipeline import build_pipeline
from sentiment.training.run import load
from sentiment.training.suspects import find_suspects, out_of_fold
from sentiment.training.weighing import asked


@pytest.fixture(scope="module")
def turned(tmp_path_factory):
    """2,000 reviews, each label of one in twenty turned, and which."""
    file = tmp_path_factory.mktemp("suspects") / "turned.csv"
    rows = shuffled()[:2000]
    bad = set(random.Random(0).sample(range(2000), 100))
    other = {"negative": "positive", "positive": "negative"}
    with file.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["text", "label"])
        writer.writerows((t, other[own] if i in bad else own) for i, (t, own) in enumerate(rows))
    return file, bad


def test_turned_labels_are_found_and_their_file_mends_them(turned, tmp_path, cli):
    file, bad = turned
    words = [file, "vectorizer.ngram_range=[1,2]"]
    output = tmp_path / "suspects.csv"
    answer = cli("data", *words, "--labels", "--output", output, "--json")
    assert answer.code == 0
    document = answer.document
    suspects = document["suspects"]
    ranked = [one["row"] in bad for one in suspects]
    assert sum(ranked[:50]) >= 30
    assert document["rows"] == 2000
    assert sum(pair["suspects"] for pair in document["pairs"]) == len(suspects)
    assert document["hard_pairs"][0]["first"] == "negative"
    first = suspects[0]
    assert first["probability_suggested"] > first["probability_given"]
    assert first["ngrams"]
    margins = [one["probability_given"] - one["probability_suggested"] for one in suspects]
    assert margins == sorted(margins)
    with output.open(newline="") as lines:
        assert [int(row["row"]) for row in csv.DictReader(lines)] == [s["row"] for s in suspects]

    # In another process's place: the file alone.
    again = cli("data", *words, f"data.corrections={output}", "--json")
    assert again.document["report"]["labels_corrected"] >= len(suspects) - 2
    assert again.document["report"]["corrections_not_found"] == 0


def test_people_see_a_table_and_where_the_file_is(turned, tmp_path, cli):
    file, _ = turned
    answer = cli("data", file, "vectorizer.ngram_range=[1,1]", "--labels", f"output_dir={tmp_path}")
    assert answer.code == 0
    assert "labels are probably wrong" in answer.out
    assert f"data.corrections={tmp_path}/suspects.csv" in answer.err
    assert cli("data", file, "--output", "x.csv").code == 2


@pytest.mark.parametrize("model", ["logreg", "naive_bayes", "nbsvm"])
def test_many_classes_groups_and_rare_ones(tmp_path, model):
    rng = random.Random(2)
    lines = ["text,label,film"]
    for i in range(240):
        plain = " ".join(rng.choices("abcdefgh", k=3))
        lines.append(
            f"{'xyz'[i % 3] * 3} {plain} word{i % 3},{'xyz'[(i % 3 + (i < 12)) % 3]},f{i % 60}"
        )
    lines += ["alone one,rare,f1", "alone two,rare,f2"]
    (tmp_path / "a.csv").write_text("\n".join(lines) + "\n")
    cfg = config.compose(
        [
            f"data.train={tmp_path / 'a.csv'}",
            f"model={model}",
            "data.group_column=film",
            "data.val_size=0",
        ]
    )
    found = find_suspects(build_pipeline(cfg), load(cfg).splits, seed=1)
    rows = [one.row for one in found.suspects]
    assert len(set(rows[:8]) & set(range(12))) >= 5
    assert found.left_out == {"rare": 2}
    assert found.rows == 240


def test_too_few_rows_are_said(tmp_path):
    (tmp_path / "a.csv").write_text(
        "text,label\n" + "".join(f"one {i},a\n" for i in range(20)) + "three,b\nfour,b\n"
    )
    cfg = config.compose(
        [f"data.train={tmp_path / 'a.csv'}", "data.val_size=0", "data.test_size=0.5", "seed=1"]
    )
    with pytest.raises(DataError, match="needs 3 rows each of two classes"):
        find_suspects(build_pipeline(cfg), load(cfg).splits, seed=1)


@pytest.mark.parametrize("model", ["naive_bayes", "nbsvm"])
def test_balanced_rows_are_judged_by_true_shares(model):
    """The folds' models learn from as many rows of each class; what they say of a row does not."""
    rows = [row for row in shuffled()[:1500] if row[1] == "negative"]
    rows += [row for row in shuffled()[1500:1800] if row[1] == "positive"]
    words, labels = zip(*((text[:400], label) for text, label in rows), strict=True)
    split = Split(list(words), list(labels))
    codes = np.array([label == "positive" for label in labels], dtype=np.int64)
    cfg = config.compose(["data=reviews", f"model={model}", "vectorizer.ngram_range=[1,1]"])
    splits = Splits(
        "files", "x", split, Split([], []), Split([], []), ("negative", "positive"), None
    )
    said = {}
    for balance in ("none", "over"):
        weigh = asked(config.to_dict(cfg)["model"], balance, cfg.seed)
        probabilities, *_ = out_of_fold(
            build_pipeline(cfg), split, codes, ["negative", "positive"], 1,
            lambda classifier, known, w=weigh: w(classifier, splits, known),
        )  # fmt: skip
        said[balance] = probabilities[:, 1]
    assert not np.allclose(said["none"], said["over"])
    assert abs(said["over"].mean() - codes.mean()) < 0.06
