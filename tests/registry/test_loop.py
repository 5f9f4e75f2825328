"""What comes after a champion, on models that are trained already: going on from one, retraining."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest

from sentiment.errors import UsageError
from sentiment.feedback import Answer, Feedback
from sentiment.registry.origin import with_origin
from sentiment.store import read_pointer, resolve

from .conftest import Cli, Trained


def without_folder(words: list[str]) -> list[str]:
    return [word for word in words if not word.startswith("output_dir=")]


def test_a_model_is_gone_on_from_with_its_own_words(outputs: Path, trained: Trained) -> None:
    digest = trained.runs["other"].digest
    words = with_origin([f"from={digest[:12]}", "data.also=new.jsonl"], outputs)
    assert "model=logreg" in words
    assert "model.C=100" in words
    assert not [word for word in words if word.startswith("output_dir=")]  # another run's own
    assert words[-2:] == ["data.also=new.jsonl", f"start_from={digest}"]


def test_what_is_said_now_wins_with_all_below_it(outputs: Path, trained: Trained) -> None:
    origin = f"from={trained.runs['other'].digest}"
    assert [
        word for word in with_origin([origin, "model.C=3"], outputs) if word.startswith("model")
    ] == ["model=logreg", "model.C=3"]
    # Another model is another recipe, whose keys are not those of this one.
    words = with_origin([origin, "model=nbsvm"], outputs)
    assert [word for word in words if word.startswith("model")] == ["model=nbsvm"]


def test_a_version_of_the_registry_may_be_the_origin(outputs: Path, cli: Cli) -> None:
    assert cli("register", "--alias", "challenger").code == 0
    words = with_origin(["from=models:/sentiment@challenger", f"output_dir={outputs}"])
    latest = read_pointer(outputs, "latest")
    assert latest is not None
    assert words[-1] == f"start_from={latest['digest']}"


def test_an_origin_that_does_not_tell_its_words_is_said(outputs: Path, trained: Trained) -> None:
    stored = resolve(trained.runs["good"].digest, outputs)
    copy = outputs / "a copy"
    shutil.copytree(stored.path, copy)
    with pytest.raises(UsageError, match="nothing tells which run made it"):
        with_origin([f"from={copy}"], outputs)
    with pytest.raises(UsageError, match="no model 'nowhere'"):
        with_origin(["from=nowhere"], outputs)


def test_what_is_not_new_is_not_trained_again(
    outputs: Path,
    trained: Trained,
    cli: Cli,
    reviews: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The words of a run, half from the environment as a schedule gives them, half from here."""
    monkeypatch.setenv(
        "SENTIMENT_TRAIN_ARGS",
        f"data=files 'data.train={reviews}' data.positive_label=positive data.test_size=0.4",
    )
    # The address of a gateway that is away is a warning: the work is done.
    monkeypatch.setenv("SENTIMENT_PUSHGATEWAY_URL", "127.0.0.1:9")
    same = cli("retrain", "data.val_size=0.1", "model=logreg", "model.C=30", "--json")
    assert same.code == 0, same.err
    assert same.document["outcome"] == "nothing_new"
    assert same.document["run_id"] == trained.runs["good"].run_id
    assert "127.0.0.1:9 does not take the outcome" in caplog.text
    assert read_pointer(outputs, "champion") is None


def test_corrections_are_new_and_the_gate_judges_what_they_make(
    outputs: Path, cli: Cli, reviews: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database = Feedback(outputs / "feedback.db")
    said = [("a splendid thing", "positive"), (None, "negative"), ("oh bland", "negative")]
    database.add(
        [
            Answer(f"id{i}", "d" * 32, "negative", 0.6, time.time(), label, text, time.time())
            for i, (text, label) in enumerate(said)
        ]
    )
    database.close()
    words = ["data=files", f"data.train={reviews}", "data.positive_label=positive", "model=logreg"]
    refused = cli("retrain", *words, "model.C=1e-9", "--json")
    assert refused.code == 1
    assert refused.document["outcome"] == "refused"
    assert refused.document["corrections"] == 2
    assert "1 answers came without their text" in caplog.text
    assert read_pointer(outputs, "champion") is None
    (file,) = (outputs / "data").glob("feedback-*.jsonl")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert {"text": "oh bland", "label": "negative"} in rows

    promoted = cli("retrain", *words, "model.C=1e-9", "seed=7", "--gate", "none")
    assert promoted.code == 0, promoted.err
    assert promoted.out.startswith("promoted: sentiment version")
    assert "corrections: 2" in promoted.err
    assert read_pointer(outputs, "champion") is not None
