"""Behavioural tests: each kind fails where it must, files are checked, commands and gate use them."""

from __future__ import annotations

import numpy as np
import pytest

from sentiment.errors import DataError
from sentiment.evaluation.behavior import applies, load_suite, run_suite, told
from sentiment.scorer import Predictions

LABELS = ("negative", "positive")


def words(texts):
    """A model that counts: `good` is positive, `bad` is negative, capitals and Mary mislead it."""
    texts = list(texts)
    score = np.array(
        [2.0 * t.count("good") - 2.0 * t.count("bad") + 3.0 * t.count("Mary") for t in texts]
    )
    positive = 1 / (1 + np.exp(-score))
    probabilities = np.stack([1 - positive, positive], axis=1)
    best = probabilities.argmax(axis=1)
    zero = np.zeros(len(texts), np.int64)
    return Predictions(
        [LABELS[i] for i in best],
        probabilities.max(axis=1),
        probabilities,
        score[:, None],
        zero,
        zero,
    )


def findings(tmp_path, text):
    (tmp_path / "b.yaml").write_text(text)
    found = run_suite(load_suite(tmp_path / "b.yaml"), words, LABELS)
    return {one.name: one for one in found.findings}, found


def test_each_kind_counts_what_fails(tmp_path):
    found, behavior = findings(tmp_path, """
lexicons: {it: [film, book, play], w: [good, bad]}
tests:
  - {name: said, kind: minimum, label: positive, texts: ["a {w} {it}"], allow: 0.4}
  - {name: allowed, kind: minimum, label: positive, texts: ["a {w} {it}"], allow: 0.5}
  - {name: names, kind: invariance, texts: ["Ann in a bad {it}"], replace: {Ann: [Bea, Mary]}}
  - {name: shouting, kind: invariance, texts: ["a good {it}"], changes: [upper, lower]}
  - {name: added, kind: invariance, texts: ["a good {it}"], append: ["It ended."]}
  - name: praise
    kind: direction
    towards: positive
    texts: ["a {w} one"]
    append: [It is good., It is bad.]
""")  # fmt: skip
    assert (found["said"].cases, found["said"].failures, found["said"].passed) == (6, 3, False)
    assert found["allowed"].passed
    assert (found["names"].cases, found["names"].failures) == (6, 3)
    assert all("Mary" in one["text"] for one in found["names"].examples)
    # Lower-casing changes the first letter alone, which this model does not see.
    assert (found["shouting"].cases, found["shouting"].failures) == (6, 3)
    assert (found["added"].failures, found["added"].passed) == (0, True)
    assert (found["praise"].cases, found["praise"].failures) == (4, 2)
    assert not behavior.passed
    assert behavior.pass_rate == pytest.approx(np.mean([0.5, 0.5, 0.5, 0.5, 1, 0.5]))
    assert len(told(behavior)) == 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tests: []", "holds no test"),
        ("- 1", "holds no list `tests`"),
        ("tests: [", "cannot be read"),
        ("tests: [{kind: minimum, label: positive}]", r"test 1 \(test 1\): has no texts"),
        ("tests: [{kind: minimal, texts: [a]}]", "'minimal' is not one of minimum"),
        ("tests: [{kind: minimum, texts: [a]}]", "needs `label`"),
        ("tests: [{kind: invariance, texts: [a]}]", "needs `changes`, `append` or `replace`"),
        ("tests: [{kind: direction, texts: [a], towards: x}]", "needs `append`"),
        ("tests: [{kind: invariance, texts: [a], changes: [lowr]}]", "did you mean 'lower'"),
        (
            "tests: [{kind: minimum, label: positive, texts: ['{gud}']}]\nlexicons: {good: [a]}",
            "{gud}",
        ),
        ("tests: [{kind: minimum, label: positive, texts: [a], allow: 2}]", "no share from 0 to 1"),
        ("tests: [{kind: minimum, labl: positive, texts: [a]}]", "unknown key 'labl'"),
        (
            "tests: [{kind: minimum, label: mixed, texts: [a]}]",
            "the label 'mixed', which the model",
        ),
        ("tests: [{kind: invariance, texts: [a], replace: {b: [c]}}]", "changes none of its texts"),
    ],
)
def test_what_a_file_may_not_say_is_one_line(tmp_path, text, said):
    with pytest.raises(DataError, match=said):
        findings(tmp_path, text)


def test_the_shipped_tests_are_about_sentiment_and_pass_where_words_decide():
    suite = load_suite()
    assert applies(suite, ["positive", "negative"])
    assert not applies(suite, ["bad", "good"])
    cases = {one.name: one.cases for one in run_suite(suite, words, LABELS).findings}
    assert all(cases.values())
    assert sum(cases.values()) > 1500


def test_bare_words_of_a_file_are_words(tmp_path):
    (tmp_path / "b.yaml").write_text(
        "labels: [no, yes]\nlexicons: {word: [on, off]}\n"
        "tests:\n  - {kind: minimum, texts: ['{word}', no], label: no, allow: .5}\n"
    )
    suite = load_suite(tmp_path / "b.yaml")
    assert suite.labels == ("no", "yes")
    assert suite.lexicons == {"word": ["on", "off"]}
    assert (suite.tests[0].texts, suite.tests[0].label, suite.tests[0].allow) == (
        ["{word}", "no"], "no", 0.5,
    )  # fmt: skip
