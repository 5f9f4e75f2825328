"""Register, promote, refuse, roll back and fetch on a real SQLite registry."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sentiment import config, store
from sentiment.errors import ModelError, SentimentError, UsageError
from sentiment.registry import promotion
from sentiment.registry.choice import best_run, choose_run, newest_run
from sentiment.registry.gate import GateRefusedError, load_rules
from sentiment.registry.promotion import Promotion
from sentiment.registry.reference import parse
from sentiment.registry.registry import Registry, fetch
from sentiment.registry.source import SCORER_FOLDER
from sentiment.training.run import train

from .conftest import POSTGRES_DRIVER, Cli, Trained

DEFAULT = Promotion(load_rules("default"), "default")


def champion(outputs: Path) -> dict[str, object] | None:
    return store.read_pointer(outputs, "champion")


def test_the_same_digest_is_the_same_version(outputs: Path, trained: Trained) -> None:
    run = trained.runs["good"]
    registry = Registry(outputs)
    first = promotion.register(registry, run.run_id)
    again = promotion.register(registry, run.run_id, alias="challenger")
    assert (first.created, again.created) == (True, False)
    assert again.version.version == first.version.version == "1"
    assert again.version.aliases == ("challenger",)
    assert again.version.digest == run.digest
    assert again.version.metrics["test_accuracy"] == pytest.approx(
        run.metrics["test_accuracy"], 1e-5
    )
    tags = again.version.tags
    assert tags["sentiment.test_fingerprint"]
    assert tags["sentiment.data_fingerprint"]
    assert tags["sentiment.config_hash"]
    assert [v.version for v in registry.versions()] == ["1"]
    assert champion(outputs) is None


def test_a_version_is_described_by_the_card_of_its_run(outputs: Path, trained: Trained) -> None:
    registry = Registry(outputs)
    run = trained.runs["good"]
    version = promotion.register(registry, run.run_id).version
    found = registry.client.get_model_version("sentiment", version.version).description
    assert found.startswith("# files: ")
    assert f"| accuracy | {run.metrics['test_accuracy']:.4f} |" in found
    assert len(found) <= 5000


def test_promotion_moves_alias_history_and_pointer(outputs: Path, trained: Trained) -> None:
    run = trained.runs["good"]
    registry = Registry(outputs)
    outcome = promotion.register(registry, run.run_id, promotion=DEFAULT, why="the first")
    assert outcome.gate is not None
    assert outcome.gate.passed
    assert registry.get("champion").version == "1"
    (move,) = registry.moves()
    assert (move.state, move.from_version, move.to_version) == ("completed", None, "1")
    assert move.why == "the first"
    assert move.gate is not None
    assert move.gate["passed"]
    pointer = champion(outputs)
    assert pointer is not None
    assert (pointer["digest"], pointer["name"], pointer["version"]) == (
        run.digest,
        "sentiment",
        "1",
    )
    # Promoting the champion again changes nothing.
    again = promotion.promote(registry, "1", DEFAULT)
    assert again.moves == ()
    assert len(registry.moves()) == 1


def test_a_refused_promotion_changes_nothing(
    outputs: Path, trained: Trained, everything: Callable[[], object], cli: Cli
) -> None:
    registry = Registry(outputs)
    promotion.register(registry, trained.runs["good"].run_id, promotion=DEFAULT)
    before = everything()
    answer = cli("register", "--run", trained.runs["poor"].run_id, "--promote", "--json")
    assert answer.code == 1
    assert everything() == before
    document = json.loads(answer.out)
    assert document["refused"]
    assert not document["gate"]["passed"]
    last = answer.err.strip().splitlines()[-1]
    assert last.startswith("error: run ")
    for check in document["gate"]["checks"]:
        if not check["passed"]:
            assert check["detail"] in last


def test_force_promotes_and_records_the_reason(outputs: Path, trained: Trained, cli: Cli) -> None:
    registry = Registry(outputs)
    promotion.register(registry, trained.runs["good"].run_id, promotion=DEFAULT)
    poor = trained.runs["poor"].run_id
    answer = cli("register", "--run", poor, "--promote", "--force", "a test of the alarm")
    assert answer.code == 0, answer.err
    move = registry.moves()[-1]
    assert move.forced
    assert move.why == "a test of the alarm"
    assert move.gate is not None
    assert not move.gate["passed"]
    assert registry.get("champion").version == "2"
    assert "a test of the alarm" in cli("models", "history").out


def test_rollback_goes_back_one_champion_each_time(
    outputs: Path, trained: Trained, cli: Cli
) -> None:
    registry = Registry(outputs)
    none = Promotion(load_rules("none"), "none")
    for name in ("good", "other", "poor"):
        promotion.register(registry, trained.runs[name].run_id, promotion=none)
    for version, name in (("2", "other"), ("1", "good")):
        # The store may have lost it: it is fetched before the alias moves.
        shutil.rmtree(outputs / "models" / trained.runs[name].digest)
        answer = cli("models", "rollback", "--reason", "complaints")
        assert answer.code == 0, answer.err
        assert registry.get("champion").version == version
        pointer = champion(outputs)
        assert pointer is not None
        assert pointer["digest"] == trained.runs[name].digest
    last = cli("models", "rollback")
    assert last.code == 1
    assert "knows no champion before version 1" in last.err
    moves = registry.moves()
    assert [(m.action, m.from_version, m.to_version) for m in moves[3:]] == [
        ("rollback", "3", "2"),
        ("rollback", "2", "1"),
    ]
    assert {m.why for m in moves[3:]} == {"complaints"}


@pytest.mark.parametrize(
    "form",
    ["runs:/{run}", "runs:/{run}/model", "models:/sentiment/1", "models:/sentiment@champion"],
)
def test_every_reference_fetches_the_scorer_alone(
    outputs: Path, trained: Trained, cli: Cli, form: str
) -> None:
    run = trained.runs["good"]
    promotion.register(Registry(outputs), run.run_id, promotion=DEFAULT)
    shutil.rmtree(outputs / "models")
    reference = form.format(run=run.run_id)
    stored = fetch(reference, outputs)
    assert stored.digest == run.digest
    assert stored.run_id == run.run_id
    assert stored.version == (None if form.startswith("runs") else "1")
    assert sorted(path.name for path in stored.path.iterdir()) == [
        "scorer.json",
        "weights.safetensors",
    ]
    assert not list((outputs / "models").glob(".*"))
    answer = cli("predict", "--model", reference, "--json", "a superb and moving film")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["label"] == "positive"


def test_a_stored_model_of_a_run_needs_no_server(
    outputs: Path, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained.runs["good"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    stored = fetch(f"runs:/{run.run_id}", outputs)
    assert (stored.digest, stored.run_id) == (run.digest, run.run_id)


def artifacts_of(registry: Registry, run_id: str) -> Path:
    return Path(registry.source_of_run(run_id).folder.removeprefix("file://"))


@pytest.mark.parametrize("file", ["scorer.json", "weights.safetensors"])
def test_a_tampered_artifact_is_refused(
    outputs: Path, trained: Trained, cli: Cli, everything: Callable[[], object], file: str
) -> None:
    run_id = trained.runs["good"].run_id
    registry = Registry(outputs)
    promotion.register(registry, trained.runs["other"].run_id, promotion=DEFAULT)
    promotion.register(registry, run_id, alias="challenger")
    shutil.rmtree(outputs / "models" / trained.runs["good"].digest)
    before = everything()
    path = artifacts_of(registry, run_id) / file
    whole = path.read_bytes()
    path.write_bytes(whole[:-9] + b"X" + whole[-8:])
    try:
        for words in (
            ("register", "--run", run_id, "--promote", "--force", "whatever"),
            ("models", "promote", "challenger"),
            ("models", "pull", "models:/sentiment@challenger"),
            ("predict", "--model", f"runs:/{run_id}", "text"),
        ):
            answer = cli(*words)
            assert answer.code == 1, words
            assert answer.out == ""
            assert re.search(r"altered|checksum|not usable|not JSON", answer.err), answer.err
            assert answer.err.strip().splitlines()[-1].startswith("error: ")
            assert everything() == before
    finally:
        path.write_bytes(whole)


def test_a_missing_artifact_is_one_line(outputs: Path, trained: Trained, cli: Cli) -> None:
    run_id = trained.runs["good"].run_id
    folder = artifacts_of(Registry(outputs), run_id)
    aside = folder.with_name("aside")
    folder.rename(aside)
    try:
        answer = cli("register", "--run", run_id)
    finally:
        aside.rename(folder)
    assert answer.code == 1
    assert "cannot be fetched" in answer.err
    assert SCORER_FOLDER in answer.err


@pytest.mark.parametrize(
    ("words", "code", "hint"),
    [
        ("register --run 0123456789abcdef0123456789abcdef", 2, "is not there"),
        ("register --run nonsense!", 2, "is not there"),
        ("register --best val_f1", 2, "did you mean 'val_f1_score'?"),
        ("register --best test_accuracy", 2, "val_accuracy"),
        ("register --latest --best val_accuracy", 2, "give one of them"),
        ("register --experiment sentimental", 2, "did you mean 'sentiment'?"),
        ("register --gate strict", 2, "--promote"),
        ("register --promote --gate strikt", 2, "did you mean 'strict'?"),
        ("register --promote gate.min.test_acuracy=1", 2, "did you mean 'test_accuracy'?"),
        ("register --alias champion", 2, "--promote"),
        ("models show models:/sentimnt@champion", 2, "did you mean 'sentiment'?"),
        ("models show models:/sentiment@challengr", 2, "did you mean 'challenger'?"),
        ("models show 9", 2, "newest: 1"),
        ("models show models:/sentiment", 2, "models:/<name>@<alias>"),
        ("models promote 9", 2, "no version 9"),
        ("models history --name sentimnt", 2, "did you mean 'sentiment'?"),
        ("models list --name other", 2, "no registered model 'other'"),
        ("models pull models:/nope@champion", 2, "no registered model 'nope'"),
        ("models rollback", 1, "no champion"),
        ("predict --model models:/sentiment/7 text", 2, "no version 7"),
    ],
)
def test_wrong_input_is_one_clear_line_and_changes_nothing(
    outputs: Path,
    trained: Trained,
    cli: Cli,
    everything: Callable[[], object],
    words: str,
    code: int,
    hint: str,
) -> None:
    promotion.register(Registry(outputs), trained.runs["good"].run_id, alias="challenger")
    before = everything()
    answer = cli(*words.split())
    assert answer.code == code, answer.err
    assert answer.out == ""
    assert hint in answer.err
    assert answer.err.strip().splitlines()[-1].startswith("error: ")
    assert everything() == before


def test_runs_that_hold_no_model(outputs: Path, trained: Trained) -> None:
    registry = Registry(outputs)
    client = registry.client
    experiment = client.get_experiment_by_name("sentiment").experiment_id
    empty = client.create_run(experiment).info.run_id
    with pytest.raises(UsageError, match="has no model to use: it is RUNNING"):
        promotion.register(registry, empty)
    client.set_terminated(empty, "FAILED")
    with pytest.raises(UsageError, match="it is FAILED"):
        promotion.register(registry, empty)
    client.set_tag(empty, "sentiment.digest", "f" * 64)
    with pytest.raises(UsageError, match="logged no model"):
        promotion.register(registry, empty)
    client.delete_run(empty)
    with pytest.raises(UsageError, match="was deleted"):
        promotion.register(registry, empty)


def test_a_version_that_is_not_ours_is_refused(outputs: Path, tmp_path: Path) -> None:
    registry = Registry(outputs)
    registry.client.create_registered_model("sentiment")
    registry.client.create_model_version("sentiment", tmp_path.as_uri())
    with pytest.raises(ModelError, match=r"no scorer of sentiment"):
        fetch("models:/sentiment/1", outputs)


def test_choosing_a_run(outputs: Path, trained: Trained, cli: Cli) -> None:
    registry = Registry(outputs)
    best, compared = best_run(registry, "val_log_loss")
    losses = {run.run_id: run.metrics["val_log_loss"] for run in trained.runs.values()}
    assert losses[best] == min(losses.values())
    assert "the best of 4 runs" in compared
    assert "2 different data sets or splits" in compared
    newest = trained.runs["elsewhere"].run_id
    assert newest_run(registry) == newest
    assert choose_run(registry, run="runs:/abc") == ("abc", "")
    assert choose_run(registry, best="val_log_loss") == (best, f": {compared}")
    assert choose_run(registry) == (newest, ": it made the latest model here")
    assert choose_run(registry, experiment="sentiment") == (newest, ": the newest with a model")
    answer = cli("register", "--json")
    assert json.loads(answer.out)["run_id"] == trained.runs["elsewhere"].run_id
    assert "made the latest model here" in answer.err


def test_what_a_dead_process_left_is_settled_by_the_next(outputs: Path, trained: Trained) -> None:
    from sentiment.registry import history

    registry = Registry(outputs)
    for name in ("good", "other"):
        promotion.register(registry, trained.runs[name].run_id)
    fields = {"action": "promote", "alias": "champion", "to_digest": None, "why": None}
    for number, moved in (("1", True), ("2", False)):
        history.begin_move(
            registry.client, "sentiment", registry.registered().tags,
            from_version=None, to_version=number, **fields,
        )  # fmt: skip
        if moved:
            registry.client.set_registered_model_alias("sentiment", "champion", number)
    promotion.promote(registry, "2", DEFAULT)
    assert [(m.state, m.to_version) for m in registry.moves()] == [
        ("completed", "1"),
        ("abandoned", "2"),
        ("completed", "2"),
    ]
    assert promotion.rollback(registry).version.version == "1"


@pytest.mark.slow
def test_two_promotions_at_once(outputs: Path, trained: Trained) -> None:
    """Each in a process of its own: one champion, both in the history, the pointer at the last."""
    names = ("good", "other")
    started = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "sentiment", "register", "--promote", "--json"),
                *("--run", trained.runs[name].run_id, "--output-dir", str(outputs)),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in names
    ]
    answers = [process.communicate(timeout=300) for process in started]
    registry = Registry(outputs)
    moves = registry.moves()
    digests = {trained.runs[name].digest for name in names}
    assert {move.to_digest for move in moves} == digests, answers
    done = [move for move in moves if move.state == "completed"]
    assert [move.from_version for move in done] == [None, *(m.to_version for m in done[:-1])]
    assert registry.get("champion").version == done[-1].to_version
    pointer = champion(outputs)
    assert pointer is not None
    assert pointer["version"] == done[-1].to_version
    assert len(registry.versions()) == 2


def test_a_promotion_that_comes_second_is_judged_against_the_first(
    outputs: Path, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The poor model passes while there is no champion; a good one is faster by a moment."""
    from sentiment.registry import gate

    rules = load_rules("none", ["gate.significance=0.05"])
    judge = gate.judge

    def judge_and_be_overtaken(*arguments: Any, **more: Any) -> gate.GateResult:
        result = judge(*arguments, **more)
        monkeypatch.setattr(gate, "judge", judge)
        promotion.register(Registry(outputs), trained.runs["good"].run_id, promotion=DEFAULT)
        return result

    monkeypatch.setattr(gate, "judge", judge_and_be_overtaken)
    registry = Registry(outputs)
    with pytest.raises(GateRefusedError, match="significantly worse"):
        promotion.register(
            registry, trained.runs["poor"].run_id, promotion=Promotion(rules, "mine")
        )
    assert registry.get("champion").digest == trained.runs["good"].digest
    assert [(m.state, m.to_digest) for m in registry.moves()] == [
        ("completed", trained.runs["good"].digest),
        ("refused", trained.runs["poor"].digest),
    ]


def test_a_database_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing was trained yet"):
        Registry(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    "uri", ["http://127.0.0.1:9", f"postgresql+{POSTGRES_DRIVER}://user:secret@127.0.0.1:9/mlflow"]
)
def test_a_server_that_is_away_is_named_within_seconds(
    outputs: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    if uri.startswith("postgresql"):
        pytest.importorskip(POSTGRES_DRIVER)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    answer = cli("models", "list")
    assert answer.code == 1
    assert "127.0.0.1:9" in answer.err
    assert "secret" not in answer.err
    assert len(answer.err.strip().splitlines()) == 1


def test_references() -> None:
    assert parse("runs:/abc").run == "abc"
    assert parse("models:/my model@champion").name == "my model"
    assert parse("models:/a/latest").name == "a"
    for wrong in ("models:/a", "models:/a@", "runs:/", "runs:/a/other"):
        with pytest.raises(UsageError):
            parse(wrong)


def test_refusals_are_errors_of_ours(outputs: Path, trained: Trained) -> None:
    with pytest.raises(GateRefusedError) as refused:
        promotion.register(Registry(outputs), trained.runs["poor"].run_id, promotion=DEFAULT)
    assert isinstance(refused.value, SentimentError)
    assert refused.value.exit_code == 1


def test_a_model_of_another_task_needs_leave_and_no_force_gives_it(
    outputs: Path, cli: Cli, trained: Trained, tmp_path: Path
) -> None:
    tickets = tmp_path / "tickets.csv"
    kinds = ("bug", "praise", "question")
    lines = [f"{kinds[i % 3]} about part {i},{kinds[i % 3]}" for i in range(150)]
    tickets.write_text("\n".join(["text,label", *lines]) + "\n")
    assert cli("register", "--run", trained.runs["good"].run_id, "--promote").code == 0
    words = ["data=files", f"data.train={tickets}", "model=logreg", f"output_dir={outputs}"]
    other = train(config.compose(words), overrides=words, draw=False)
    champion = Registry(outputs).get("champion").digest
    for force in ([], ["--force", "it is newer"]):
        refused = cli("register", "--run", other.run_id, "--promote", *force)
        assert refused.code == 1
        assert "its labels are bug, praise, question" in refused.err
        assert "--allow-other-labels REASON allows that" in refused.err
        assert Registry(outputs).get("champion").digest == champion
    leave = ["--allow-other-labels", "we sort tickets now"]
    allowed = cli("register", "--run", other.run_id, "--promote", *leave)
    assert allowed.code == 0, allowed.err
    assert Registry(outputs).get("champion").digest == other.digest
    assert Registry(outputs).moves()[-1].why == "we sort tickets now"
