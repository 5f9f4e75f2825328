"""Learning curves: nested sizes, intervals that hold the points, a law that is found again."""

from __future__ import annotations

import random

import pytest

from sentiment import config
from sentiment.errors import DataError, UsageError
from sentiment.training.curve import Curve, Point, curve_page, gain, learning_curve, sizes
from sentiment.training.pipeline import build_pipeline
from sentiment.training.run import load
from sentiment.training.weighing import asked


def write(path, rows):
    """Texts of many words, a few of which tell the class: more labels teach more of them."""
    rng = random.Random(1)
    lines = ["text,label"]
    for i in range(rows):
        label = rng.random() < 0.5
        told = [
            f"{'good' if label else 'bad'}{min(int(rng.expovariate(0.05)), 99)}" for _ in range(2)
        ]
        plain = [f"w{rng.randrange(300)}" for _ in range(8)]
        lines.append(f"{' '.join([*told, *plain])} {i},{'yes' if label else 'no'}")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_sizes_double_up_to_all_rows():
    assert sizes(800) == [50, 100, 200, 400, 800]
    assert sizes(100) == [50, 100]
    assert len(sizes(10**7)) == 8


@pytest.mark.slow
def test_accuracy_grows_with_labels_and_the_page_shows_it(tmp_path, cli):
    file = write(tmp_path / "a.csv", 1200)
    words = [
        "model=logreg",
        "vectorizer.ngram_range=[1,1]",
        "data.val_size=0.2",
        "data.test_size=0.1",
    ]
    page = tmp_path / "c.html"
    answer = cli("curve", file, *words, "--more", "500", "--report", page, "--json")
    assert answer.code == 0
    found = answer.document
    points = found["points"]
    assert [point["labels"] for point in points] == sizes(points[-1]["labels"])
    assert points[-1]["accuracy"] > points[0]["accuracy"] + 0.05
    assert all(point["low"] <= point["accuracy"] <= point["high"] for point in points)
    assert found["more"] == 500
    assert found["low"] <= found["expected"] <= found["high"]
    assert "<polyline" in page.read_text()
    plain = cli("curve", write(tmp_path / "b.csv", 700), *words, f"output_dir={tmp_path}")
    assert "1,000 more labels: +" in plain.out
    assert (tmp_path / "curve.html").is_file()


def test_too_few_rows_are_said(tmp_path):
    cfg = config.compose([f"data.train={write(tmp_path / 'a.csv', 80)}"])
    with pytest.raises(DataError, match="needs 100 training rows"):
        learning_curve(lambda: build_pipeline(cfg), load(cfg).splits, seed=1)
    cfg = config.compose([f"data.train={write(tmp_path / 'a.csv', 300)}", "data.val_size=0"])
    with pytest.raises(DataError, match="judged on validation rows"):
        learning_curve(lambda: build_pipeline(cfg), load(cfg).splits, seed=1)


def test_what_cannot_be_told_is_said():
    curve = Curve([Point(60, 5, 0.5, 0.4, 0.6)], 1000, None, None, None, 100)
    assert gain(curve) == "1,000 more labels: cannot tell"
    assert "cannot tell" in curve_page(curve, "<x>")


def test_rows_count_as_the_config_balances_them(tmp_path):
    """The last point is a training on all rows, weighed as ``sentiment train`` weighs them."""
    file = write(tmp_path / "a.csv", 500)
    head, *rows = file.read_text().splitlines()
    rare = [row for row in rows if row.endswith("yes")][:40]
    file.write_text("\n".join([head, *(row for row in rows if row.endswith("no")), *rare]) + "\n")
    cfg = config.compose([f"data.train={file}", "data.val_size=0.3", "model=naive_bayes"])
    splits = load(cfg).splits
    found = {}
    for balance in ("none", "over"):
        weigh = asked(config.to_dict(cfg)["model"], balance, cfg.seed)
        curve = learning_curve(lambda: build_pipeline(cfg), splits, seed=1, weigh=weigh)
        pipeline, train = build_pipeline(cfg), splits.train
        weights = weigh(pipeline[-1], splits, train).row_weights(train.texts, train.labels)
        X = pipeline[0].fit_transform(train.texts)
        pipeline[-1].fit(X, train.labels, sample_weight=weights)
        assert curve.points[-1].accuracy == pipeline.score(splits.val.texts, splits.val.labels)
        found[balance] = [point.accuracy for point in curve.points]
    assert found["none"] != found["over"]
    with pytest.raises(UsageError, match="did you mean 'over'"):
        asked({}, "ovr", 1)


def test_models_without_an_error_may_make_one(tmp_path, cli):
    file = tmp_path / "easy.csv"
    rows = [f"{word} thing number {n},{word}" for n in range(500) for word in ("good", "bad")]
    file.write_text("\n".join(["text,label", *rows]) + "\n")
    found = cli(
        "curve", file, "--json", "vectorizer=count", "model=logreg", f"output_dir={tmp_path}"
    ).document
    last = found["points"][-1]
    assert last["accuracy"] == 1.0
    assert 0.8 < last["low"] < 0.99
    assert last["high"] == 1.0
    assert found["expected"] is None or found["low"] < found["high"]
