"""What comes after a champion, on models that are trained already: going on from one, retraining."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest

from sentiment.errors import UsageError
from sentiment.feedback import Answer, Feedback
from sentiment.registry.origin import OVERRIDES, with_origin
from sentiment.store import read_pointer, resolve
from sentiment.tracking import client as tracking

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
    words = ["retrain", "data.val_size=0.1", "model=logreg", "model.C=30", "--json"]
    # It was trained and did not become champion: a process that was killed before it could, here
    # with the version made already, or `train` by hand.
    assert cli("register", "--run", trained.runs["good"].run_id).code == 0
    first = cli(*words)
    assert first.code == 0, first.err
    assert first.document["outcome"] == "promoted"
    assert first.document["run_id"] == trained.runs["good"].run_id  # no other training
    assert "127.0.0.1:9 does not take the outcome" in caplog.text
    pointer = read_pointer(outputs, "champion")
    assert pointer is not None
    same = cli(*words)
    assert same.code == 0, same.err
    assert same.document["outcome"] == "nothing_new"
    assert same.document["run_id"] == trained.runs["good"].run_id
    # Another champion came, and whoever set it is not overruled by what is not new.
    other = trained.runs["other"].run_id
    assert cli("register", "--run", other, "--promote", "--gate", "none").code == 0
    assert cli(*words).document["outcome"] == "nothing_new"


def test_what_the_gate_refused_is_refused_again(outputs: Path, cli: Cli, reviews: Path) -> None:
    words = [
        *("retrain", "data=files", f"data.train={reviews}", "data.positive_label=positive"),
        *("data.test_size=0.4", "data.val_size=0.1", "model=logreg", "model.C=30", "--json"),
    ]
    for _ in range(2):
        refused = cli(*words, "gate.min.test_accuracy=0.999999")
        assert refused.code == 1, refused.err
        assert refused.document["outcome"] == "refused"
        assert "at least 0.999999 is required" in refused.document["detail"]
        assert "sentiment register can promote it" in refused.document["detail"]
    assert read_pointer(outputs, "champion") is None
    assert cli(*words, "gate=none").document["outcome"] == "promoted"
    wrong = cli(*words, "gate.min_row=3")
    assert wrong.code == 2
    assert "did you mean 'gate.min_rows'?" in wrong.err


def test_the_words_may_say_the_folder(
    outputs: Path, cli: Cli, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ``train`` and ``sweep`` take it; what the command line says comes after a schedule's."""
    words = ["retrain", str(reviews), "--label", "label", "model=logreg", "model.C=30", "--json"]
    elsewhere = tmp_path / "else where"
    done = cli(*words, f"output_dir={elsewhere}")
    assert done.code == 0, done.err
    assert f"data.train={reviews} data.label_column=label" in done.err
    assert read_pointer(elsewhere, "champion") is not None
    assert read_pointer(outputs, "champion") is None
    both = cli(*words, f"output_dir={elsewhere}", "--output-dir", outputs)
    assert both.code == 2
    assert "give one of them" in both.err
    scheduled = f"data=files data.train={reviews} 'output_dir={elsewhere}' model=logreg model.C=30"
    monkeypatch.setenv("SENTIMENT_TRAIN_ARGS", scheduled)
    assert cli("retrain", "--json").document["outcome"] == "nothing_new"
    here = cli("retrain", "--output-dir", outputs, "--json")
    assert here.document["outcome"] == "promoted", here.err
    assert read_pointer(outputs, "champion") is not None


def test_the_same_model_moves_nothing(outputs: Path, cli: Cli, reviews: Path) -> None:
    words = ["retrain", "data=files", f"data.train={reviews}", "model=logreg", "model.C=30"]
    first = cli(*words, "--json")
    assert first.document["outcome"] == "promoted", first.err
    # Another recipe by its words, the same model by its weights.
    again = cli(*words, "model.max_iter=4001", "--json")
    assert again.code == 0, again.err
    assert again.document["outcome"] == "unchanged"
    assert again.document["version"] == first.document["version"]
    assert "champion already" in again.document["detail"]


def answer(outputs: Path, *said: tuple[str | None, str]) -> None:
    database = Feedback(outputs / "feedback.db")
    now = time.time()
    database.add(
        [
            Answer(f"id{i}{now}", "d" * 32, "negative", 0.6, now, label, text, now)
            for i, (text, label) in enumerate(said)
        ]
    )
    database.close()


def test_feedback_joins_the_rows_that_are_named_already(
    outputs: Path, cli: Cli, reviews: Path, tmp_path: Path
) -> None:
    more = tmp_path / "more.jsonl"
    more.write_text('{"text": "what a delight of a thing", "label": "positive"}\n')
    answer(outputs, ("oh bland", "negative"))
    words = ["retrain", "data=files", f"data.train={reviews}", "model=logreg", "model.C=30"]
    also = [f"data.also={more}", "data.also_weights=[3]", "--gate", "none", "--json"]
    first = cli(*words, *also)
    assert first.code == 0, first.err
    assert first.document["corrections"] == 2
    (file,) = (outputs / "data").glob("feedback-*.jsonl")
    assert recorded(outputs, first.document["run_id"])[-2:] == [
        f"data.also={more},{file}", "data.also_weights=[3.0, 1.0]",
    ]  # fmt: skip
    # The next one goes on with these words: newer feedback takes the place of the older.
    answer(outputs, ("a splendid thing", "positive"))
    second = cli("retrain", "from=champion", "--gate", "none", "--json")
    assert second.code == 0, second.err
    assert second.document["corrections"] == 3
    (newer,) = {*(outputs / "data").glob("feedback-*.jsonl")} - {file}
    assert recorded(outputs, second.document["run_id"])[-2:] == [
        f"data.also={more},{newer}", "data.also_weights=[3.0, 1.0]",
    ]  # fmt: skip


@pytest.mark.slow
def test_a_stream_goes_on_with_feedback_and_what_is_said_now_alone(
    outputs: Path, cli: Cli, reviews: Path, tmp_path: Path
) -> None:
    for name in ("first", "second"):
        (tmp_path / name).with_suffix(".jsonl").write_text(
            json.dumps({"text": f"the {name} delight", "label": "positive"}) + "\n"
        )
    words = ["data=files", f"data.train={reviews}", "data.streaming=true", "model=sgd"]
    always = ["--gate", "none", "--json"]
    assert cli("retrain", *words, "vectorizer=hashing", *always).code == 0
    first, second = (f"data.also={tmp_path / name}.jsonl" for name in ("first", "second"))
    assert cli("retrain", "from=champion", first, *always).code == 0
    answer(outputs, ("oh bland", "negative"))
    # It has learned from the first file, which its words name.
    third = cli("retrain", "from=champion", *always)
    assert third.document["corrections"] == 1, third.err
    assert first not in recorded(outputs, third.document["run_id"])
    fourth = cli("retrain", "from=champion", second, *always)
    assert fourth.document["corrections"] == 2, fourth.err
    assert recorded(outputs, fourth.document["run_id"])[-1].startswith(f"{second},")


def recorded(outputs: Path, run_id: str) -> list[str]:
    client = tracking.connect(outputs)
    file = tracking.download_run_file(client, run_id, OVERRIDES, outputs)
    assert file is not None
    found: list[str] = json.loads(file.read_text())
    return found


def test_corrections_are_new_and_the_gate_judges_what_they_make(
    outputs: Path, cli: Cli, reviews: Path, caplog: pytest.LogCaptureFixture
) -> None:
    answer(outputs, ("a splendid thing", "positive"), (None, "negative"), ("oh bland", "negative"))
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
