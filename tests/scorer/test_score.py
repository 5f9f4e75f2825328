"""One text has one answer: alone, in any batch, on the command line, through MLflow."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sentiment.scorer import Scorer, view
from sentiment.text import corpus
from sentiment.text.spec import Tokenizer

WORDS = "good bad film the plot don't café İstanbul <br /> ½ 東京 ЁЖИК x GREAT ."
TEXTS = st.text(max_size=60) | st.lists(
    st.sampled_from([*WORDS.split(), "\x00", "\n", "\ud800"]), max_size=30
).map(" ".join)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(texts=st.lists(TEXTS, min_size=1, max_size=12), cut=st.integers(1, 12), many=st.booleans())
def test_alone_or_in_any_batch_the_answer_is_one(
    scorer: Scorer, texts: list[str], cut: int, many: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if many:  # read all at once, as long batches are
            patch.setattr(view, "MANY_CHARACTERS", 0)
            patch.setattr(corpus, "MANY_CHARACTERS", 0)
        together = scorer.predict(texts)
    parts = [scorer.predict(texts[i : i + cut]) for i in range(0, len(texts), cut)]
    probabilities = np.concatenate([part.probabilities for part in parts])
    np.testing.assert_allclose(probabilities, together.probabilities, rtol=0, atol=1e-9)
    # Whoever is answered together with others gets what he gets alone, to the last bit.
    alone = [scorer.predict_one(text) for text in texts]
    assert scorer.predict_each(texts) == alone
    few = scorer.predict(texts)
    assert few.labels == [one.label for one in alone]
    assert few.scores.tolist() == [list(one.scores) for one in alone]
    assert few.probabilities.tolist() == [list(one.probabilities) for one in alone]
    for number, text in enumerate(texts):
        one = scorer.predict_one(text)
        np.testing.assert_allclose(
            one.probabilities, together.probabilities[number], rtol=0, atol=1e-9
        )
        assert one.label == together.labels[number]
        assert one.confidence == pytest.approx(together.confidence[number], abs=1e-9)
        assert (
            one.n_tokens == together.n_tokens[number] == len(Tokenizer(scorer.views[0].spec)(text))
        )
        assert one.n_unknown == together.n_unknown[number]
        assert sum(one.probabilities) == pytest.approx(1)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=TEXTS)
def test_an_explanation_adds_up_and_points_into_the_text(scorer: Scorer, text: str) -> None:
    found = scorer.explain(text)
    scores = scorer.predict([text]).scores[0]
    total = np.sum([item.scores for item in found.contributions], axis=0) + found.intercept
    np.testing.assert_allclose(total, scores, rtol=0, atol=1e-9)
    tokenizer = Tokenizer(scorer.views[0].spec)
    for item in found.contributions:
        assert len(item.spans) in (0, item.count)
        for start, end in item.spans:
            assert " ".join(tokenizer(text[start:end])) == item.ngram


def test_top_limits_an_explanation_and_counts_the_rest(scorer: Scorer) -> None:
    text = "a good film and not a boring plot"
    found = scorer.explain(text, top=2)
    assert len(found.contributions) == 2
    total = np.sum([item.scores for item in found.contributions], axis=0)
    np.testing.assert_allclose(
        total + found.rest + found.intercept, found.scores, rtol=0, atol=1e-9
    )


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(texts=st.lists(TEXTS, max_size=8), top=st.integers(1, 6))
def test_of_many_texts_the_strongest_are_those_of_each_explanation(
    scorer: Scorer, texts: list[str], top: int
) -> None:
    each = [scorer.explain(text, top).contributions for text in texts]
    together = scorer.strongest(texts, top)
    assert [[one.ngram for one in part] for part in together] == [
        [item.ngram for item in part] for part in each
    ]
    for part, own in zip(together, each, strict=True):
        for one, item in zip(part, own, strict=True):
            assert one.scores == pytest.approx(item.scores, abs=1e-12)


def test_the_strongest_features_are_the_words_that_tell(scorer: Scorer) -> None:
    features = scorer.top_features(5)
    assert {item.ngram for item in features["positive"]} & {"good", "great", "wonderful", "fun"}
    assert {item.ngram for item in features["negative"]} & {"bad", "awful", "dull", "worst"}
    assert all(item.weight > 0 for items in features.values() for item in items)


def test_no_texts_have_no_answers(scorer: Scorer) -> None:
    found = scorer.predict([])
    assert found.labels == []
    assert found.probabilities.shape == (0, 2)


def test_threads_share_one_scorer(scorer: Scorer, texts: list[str]) -> None:
    expected = [scorer.predict_one(text) for text in texts]
    wrong: list[Any] = []

    def work() -> None:
        for _ in range(5):
            wrong.extend(
                text
                for text, answer in zip(texts, expected, strict=True)
                if scorer.predict_one(text) != answer
            )

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_command_line_gives_the_same_numbers(
    scorer: Scorer, texts: list[str], output_dir: Path, cli: Any
) -> None:
    given_texts = [text for text in texts if text and not text.startswith("-")][:40]
    answer = cli("predict", "--json", "--output-dir", output_dir, "--", *given_texts)
    assert answer.code == 0
    for text, row in zip(given_texts, answer.documents, strict=True):
        one = scorer.predict_one(text)
        assert row["text"] == text
        assert row["label"] == one.label
        np.testing.assert_allclose(
            [row["probabilities"][label] for label in scorer.labels], one.probabilities, atol=1e-9
        )


def test_mlflow_gives_the_same_numbers(
    scorer: Scorer, texts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    import mlflow
    import pandas as pd

    from sentiment.tracking import packaging

    assert scorer.path is not None
    packaging.save_model(tmp_path / "model", scorer.path, scorer.labels, texts[0])
    assert not list((tmp_path / "model").rglob("*.pkl"))
    loaded = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    table = pd.DataFrame({"text": [*texts, None], "other": 1})
    table.index = [7] * len(table)
    found = loaded.predict(table)
    assert list(found.columns) == [
        "label",
        "confidence",
        "probabilities",
        "probability_negative",
        "probability_positive",
        "note",
        "would_be",
    ]
    assert found["note"].tolist()[-1] == "no text"
    expected = scorer.predict(texts)
    np.testing.assert_allclose(
        found[["probability_negative", "probability_positive"]].to_numpy()[:-1],
        expected.probabilities,
        rtol=0,
        atol=1e-9,
    )
    assert found["label"].tolist() == [*expected.labels, ""]
    assert loaded.predict([{"text": "a good film"}])["label"].tolist() == ["positive"]


def test_a_scorer_directory_holds_no_code(scorer: Scorer) -> None:
    assert scorer.path is not None
    assert sorted(path.name for path in scorer.path.iterdir()) == [
        "scorer.json",
        "weights.safetensors",
    ]
    json.loads((scorer.path / "scorer.json").read_bytes())
