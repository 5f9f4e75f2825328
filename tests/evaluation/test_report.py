"""Slices, intervals, the page and the card of a model: figures are those of the answers."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from sentiment.drift.signals import wilson
from sentiment.evaluation.answers import Answers
from sentiment.evaluation.by_class import confused, per_class
from sentiment.evaluation.card import model_card
from sentiment.evaluation.intervals import intervals
from sentiment.evaluation.metrics import evaluate, paired_test
from sentiment.evaluation.report import (
    Facts,
    Other,
    majority,
    model_report,
    worst_errors,
)
from sentiment.evaluation.slices import make_slices
from sentiment.scorer.decision import Decision


def made(n, classes, *, right=0.8, seed=0, texts=None, columns=None):
    rng = np.random.default_rng(seed)
    names = [f"<class> {i}" for i in range(classes)]
    codes = np.arange(n) % classes
    said = np.where(rng.random(n) < right, codes, (codes + 1) % classes)
    probabilities = rng.random((n, classes)) * 0.5
    probabilities[np.arange(n), said] += 1
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return Answers(
        texts or [f"text <i>{i}</i> " + "word " * int(i % 40) for i in range(n)],
        [names[c] for c in codes],
        names,
        probabilities,
        [names[c] for c in probabilities.argmax(axis=1)],
        names[1] if classes == 2 else None,
        columns or {},
    )


def figures(answers):
    return evaluate(
        answers.labels,
        answers.probabilities,
        answers.classes,
        positive_label=answers.positive_label,
    )


@pytest.mark.parametrize(
    ("n", "classes"), [(400, 2), (400, 5), (500, 50), (800, 200), (10, 2), (3, 3)]
)
def test_pages_of_any_shape_are_whole_and_self_contained(n, classes):
    answers = made(n, classes)
    facts = Facts("a & b", figures(answers), others=[Other("x", note="y"), majority(answers)])
    page = model_report(answers, facts)
    assert not re.search(r"<script|<link|<img|src=|url\(|@import|<class>|<i>\d", page)
    for tag in ("div", "table", "tr", "figure", "svg", "p", "span", "td", "th"):
        assert len(re.findall(rf"<{tag}[ >]", page)) == page.count(f"</{tag}>"), tag
    assert f"{facts.metrics['accuracy']:.4f}" in page
    assert not re.search(r"\bnan\b|\binf\b", re.sub(r"<[^>]*>", " ", page))
    # What is drawn lies on the paper.
    for place in re.findall(r'points="([^"]*)"', page):
        numbers = [float(v) for pair in place.split() for v in pair.split(",")]
        assert all(-1 <= v <= 361 for v in numbers)


def test_all_right_all_wrong_and_one_text(tmp_path):
    for right in (1.0, 0.0):
        answers = made(40, 2, right=right)
        assert "<h2>Slices</h2>" in model_report(answers, Facts("t", figures(answers)))
    answers = made(1, 2)
    assert "Too few rows" in model_report(answers, Facts("t", figures(answers)))


def test_a_slice_that_is_worse_is_marked_and_others_are_not():
    source = ["good"] * 300 + ["bad"] * 100
    answers = made(400, 2, right=0.95, columns={"source": source})
    wrong = list(answers.predicted)
    for i in range(300, 350):
        wrong[i] = (
            answers.classes[0] if answers.labels[i] == answers.classes[1] else answers.classes[1]
        )
    answers = Answers(answers.texts, answers.labels, answers.classes, answers.probabilities, wrong,
                      answers.positive_label, answers.columns)  # fmt: skip
    found = {one.name: one for one in make_slices(answers)}
    bad, good = found["source: bad"], found["source: good"]
    assert (bad.worse, good.worse) == (True, False)
    assert bad.rows == 100
    assert bad.accuracy == pytest.approx(answers.correct[300:].mean())
    assert bad.rest == pytest.approx(answers.correct[:300].mean())
    assert (bad.low, bad.high) == wilson(int(answers.correct[300:].sum()), 100)
    lengths = [one for name, one in found.items() if name.startswith("length")]
    assert sum(one.rows for one in lengths) == 400


def test_few_slices_are_marked_by_chance():
    marked = sum(
        any(one.worse for one in make_slices(made(300, 2, right=0.85, seed=seed)))
        for seed in range(40)
    )
    assert marked <= 5


def test_wilson_is_that_of_scipy():
    from scipy.stats import binomtest

    for right, rows in ((0, 7), (3, 10), (50, 50)):
        expected = binomtest(right, rows).proportion_ci(method="wilson")
        assert wilson(right, rows) == pytest.approx((expected.low, expected.high), abs=1e-6)


@pytest.mark.parametrize("classes", [2, 4])
def test_intervals_cover_and_agree_with_resampled_rows(classes):
    answers = made(500, classes)
    metrics = figures(answers)
    found = intervals(answers, metrics)
    rng = np.random.default_rng(1)
    draws = [
        figures(
            Answers(
                [answers.texts[i] for i in rows],
                [answers.labels[i] for i in rows],
                answers.classes,
                answers.probabilities[rows],
                [answers.predicted[i] for i in rows],
                answers.positive_label,
            )
        )
        for rows in (rng.integers(0, 500, 500) for _ in range(60))
    ]
    for name, (low, high) in found.items():
        assert low <= metrics[name] <= high
        spread = np.std([one[name] for one in draws])
        assert (high - low) / 3.92 == pytest.approx(spread, rel=0.45), name


def test_classes_and_confusions_are_counted():
    answers = made(300, 3)
    table = {name: (rows, p, r, f) for name, rows, p, r, f in per_class(answers)}
    metrics = figures(answers)
    for name, (rows, precision, recall, f1) in table.items():
        assert rows == 100
        assert precision == pytest.approx(metrics[f"precision_{name}"])
        assert recall == pytest.approx(metrics[f"recall_{name}"])
        assert f1 == pytest.approx(metrics[f"f1_score_{name}"])
    assert sum(count for _, _, count, _ in confused(answers)) == (~answers.correct).sum()
    most = majority(answers)
    assert most.accuracy == pytest.approx(1 / 3)
    first = paired_test(answers.codes == 0, answers.correct)
    assert most.test.difference == pytest.approx(first.difference)


def test_page_and_card_say_what_is_withheld_and_how_right_the_rest_is():
    answers = replace(made(400, 2), decision=Decision([0.4, 0.6], min_confidence=0.8))
    sure = answers.confidence >= 0.8
    n, right = int(sure.sum()), int((sure & answers.correct).sum())
    assert 0 < right < n < 400
    page = model_report(answers, Facts("t", figures(answers)))
    card = model_card(answers, Facts("t", figures(answers)), [], data={}, strongest={})
    low, high = wilson(right, n)
    share = f"{right / n:.1%} ({low:.1%} to {high:.1%})"
    plain = re.sub(r"<td[^>]*>", "<td>", page)
    assert f"<td>answered</td><td>{n} of 400</td>" in plain
    assert f"| right, of those | {right:,} of {n:,} | {share} |" in card
    assert page.count(share) == 2  # at the top, and beside what is withheld
    assert "would be, withheld, <b>" in page or answers.withheld[worst_errors(answers)].sum() == 0
    assert "below a confidence of 0.8 it gives no label" in card
    assert "is answered from 0." in card
    never = replace(answers, decision=Decision(min_confidence=1.0))
    assert "0 of 400" in model_report(never, Facts("t", figures(answers)))
    always = replace(answers, decision=Decision())
    for shown in (
        model_report(always, Facts("t", figures(answers))),
        model_card(always, Facts("t", figures(answers)), [], data={}, strongest={}),
    ):
        assert "withheld" not in shown
        assert "Abstaining" not in shown


def test_the_card_says_what_it_is_for_how_good_and_where_not():
    answers = made(400, 2)
    facts = Facts("reviews: abc", figures(answers), others=[Other("champion", note="a|b")],
                  about={"command": "sentiment train"})  # fmt: skip
    card = model_card(
        answers, facts, make_slices(answers), data={"rows": "3"}, strongest={"x": ["a`b|"]}
    )
    for heading in ("Intended use", "Figures", "Where it fails", "Limits", "Data", "Reproduce"):
        assert f"## {heading}" in card
    assert f"| accuracy | {facts.metrics['accuracy']:.4f} |" in card
    assert "`sentiment train`" in card
    for line in card.splitlines():
        if line.startswith("|"):
            assert line.endswith("|")
    assert r"a\|b" in card
