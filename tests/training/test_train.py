"""The one entry point, over every option of every group, on small samples of real text."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import polars as pl
import pytest
from support.grids import combined

from sentiment import config, store
from sentiment.errors import ModelError
from sentiment.tracking import client as tracking
from sentiment.tracking.tags import DIGEST
from sentiment.training.run import train
from serve.model import ModelHolder

SMALL = ["data=rotten_tomatoes", "data.sample_size=400"]


def options(group):
    return sorted(path.stem for path in (config.CONFIG_DIR / group).glob("*.yaml"))


def files_under(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """One finished run: its result, its folder and what was written elsewhere."""
    here = tmp_path_factory.mktemp("cwd")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        cfg = config.compose([*SMALL, "run_name=first", "output_dir=out", "+tracking.tags.team=a"])
        result = train(cfg, overrides=SMALL)
    return result, here


@pytest.fixture
def run(quick, monkeypatch):
    result, here = quick
    monkeypatch.chdir(here)
    return tracking.connect(here / "out").get_run(result.run_id)


def test_everything_lies_under_output_dir(quick):
    _, here = quick
    assert {path.parts[0] for path in map(Path, files_under(here))} == {"out"}


def test_the_run_is_tracked(quick, run):
    result, _ = quick
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "first"
    assert run.data.params["data.sample_size"] == "400"
    assert run.data.params["model.C"] == str(config.compose().model.C)
    for split in ("val", "test"):
        for name in (
            *("accuracy", "accuracy_low", "accuracy_high", "precision", "recall", "f1_score"),
            *("roc_auc", "average_precision", "log_loss", "brier_score", "ece"),
            *("true_positives", "false_positives", "true_negatives", "false_negatives"),
        ):
            assert run.data.metrics[f"{split}_{name}"] == pytest.approx(
                result.metrics[f"{split}_{name}"]
            )
    assert {"seconds_fit", "seconds_vectorize", "seconds_total"} <= set(run.data.metrics)
    for tag in ("config_hash", "data_fingerprint", "test_fingerprint", "code_hash", "digest"):
        assert len(run.data.tags[f"sentiment.{tag}"]) == 64
    assert run.data.tags["team"] == "a"
    contexts = [entry.tags[0].value for entry in run.inputs.dataset_inputs]
    assert sorted(contexts) == ["test", "train", "validation"]


def test_artifacts_of_the_run(quick, run, tmp_path):
    result, here = quick
    client = tracking.connect(here / "out")
    names = {item.path for item in client.list_artifacts(result.run_id)}
    assert {
        "config.yaml", "overrides.json", "important_features.json", "sample_predictions.csv",
        "test_predictions.parquet", "confident_errors.csv", "report.html",
        "model_card.md",
    } <= names  # fmt: skip
    frame = pl.read_parquet(client.download_artifacts(result.run_id, "test_predictions.parquet"))
    assert frame.columns == [
        "row", "text_sha256", "label", "predicted", "probability_negative", "probability_positive",
    ]  # fmt: skip
    assert (frame["label"] == frame["predicted"]).mean() == pytest.approx(
        result.metrics["test_accuracy"]
    )
    features = json.loads(
        Path(client.download_artifacts(result.run_id, "important_features.json")).read_text()
    )
    assert set(features) == {"negative", "positive"}


def test_page_and_card_tell_what_the_predictions_say(quick, run):
    result, here = quick
    client = tracking.connect(here / "out")
    page = Path(client.download_artifacts(result.run_id, "report.html")).read_text()
    card = Path(client.download_artifacts(result.run_id, "model_card.md")).read_text()
    frame = pl.read_parquet(client.download_artifacts(result.run_id, "test_predictions.parquet"))
    right = (frame["label"] == frame["predicted"]).sum()
    assert f"{right / len(frame):.4f}" in page
    assert f"| accuracy | {right / len(frame):.4f} |" in card
    for true in ("negative", "positive"):
        for said in ("negative", "positive"):
            count = ((frame["label"] == true) & (frame["predicted"] == said)).sum()
            assert f">{count:,}<small>" in page
    assert result.digest in card
    assert shlex.join(["sentiment", "train", *SMALL]) in card
    assert "there is none yet" in card


def test_a_model_stands_beside_the_baseline_and_the_champion(tmp_path, cli):
    words = [*SMALL, f"output_dir={tmp_path}"]
    baseline = ["experiment=baseline", *words]
    first = train(config.compose(baseline), overrides=baseline, draw=False)
    store.set_pointer(tmp_path, "champion", first.digest, run_id=first.run_id, source="a test")
    second = train(config.compose(words), overrides=words, draw=False)
    client = tracking.connect(tmp_path)
    card = Path(client.download_artifacts(second.run_id, "model_card.md")).read_text()
    accuracy = f"{first.metrics['test_accuracy']:.4f}"
    difference = second.metrics["test_accuracy"] - first.metrics["test_accuracy"]
    for name in ("experiment=baseline", f"champion {first.digest[:12]}"):
        row = next(line for line in card.splitlines() if line.startswith(f"| {name}"))
        assert row.split(" | ")[1] == accuracy
        assert row.split(" | ")[2].startswith(f"{difference:+.4f} (")
    # The rows where the two differ are those of their logged predictions.
    page = tmp_path / "d.html"
    both = [first.run_id[:8], second.run_id[:8]]
    shown = cli("compare", *both, "--report", page, "--output-dir", tmp_path)
    assert shown.code == 0
    right = [
        frame["label"] == frame["predicted"]
        for run in (first, second)
        for frame in [
            pl.read_parquet(client.download_artifacts(run.run_id, "test_predictions.parquet"))
        ]
    ]
    only = [(right[0] & ~right[1]).sum(), (right[1] & ~right[0]).sum()]
    text = page.read_text()
    assert f"<td class=n>{only[0]}</td><td class=n>{only[1]}</td>" in text
    assert accuracy in text
    assert (
        cli("compare", *both, "--report", tmp_path / "no/d.html", "--output-dir", tmp_path).code
        == 2
    )


def test_a_usual_model_is_stored_as_before_there_were_decisions(quick, run):
    """Programs that know none go on reading it."""
    from sentiment.scorer.document import read_document

    _, document = read_document(Path(quick[0].model) / "scorer")
    assert document["format_version"] == 2
    assert "decision" not in document


def test_the_logged_model_scores_like_the_stored_one(quick, run):
    from sentiment.scorer import Scorer

    result, _ = quick
    texts = ["a wonderful, moving film", "a tedious and stupid mess"]
    model = mlflow.pyfunc.load_model(f"runs:/{result.run_id}/model")
    frame = model.predict(pd.DataFrame({"text": texts}))
    ours = Scorer.load(Path(result.model) / "scorer").predict(texts)
    assert frame["label"].tolist() == ours.labels
    assert np.allclose(frame["probability_positive"], ours.probabilities[:, 1], atol=1e-9, rtol=0)
    requirements = (
        Path(mlflow.artifacts.download_artifacts(f"runs:/{result.run_id}/model"))
        / "requirements.txt"
    ).read_text()
    assert "scikit-learn" not in requirements


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """One folder for many trainings: making a database takes longer than a small training."""
    return tmp_path_factory.mktemp("many")


@pytest.mark.parametrize(
    ("vectorizer", "model"),
    combined(options("vectorizer"), [name for name in options("model") if name != "custom"]),
)
def test_every_pair_trains_and_compiles(many, vectorizer, model):
    words = [f"vectorizer={vectorizer}", f"model={model}", f"output_dir={many}"]
    result = train(config.compose([*SMALL, *words]), point_latest=False)
    assert result.metrics["test_accuracy"] > 0.45
    assert not (many / "models" / "latest.json").exists()


def test_a_classifier_of_ones_own_compiles_when_it_is_linear(tmp_path, cli):
    answer = cli(
        "train", *SMALL, f"output_dir={tmp_path}", "model=custom", "--json",
        "model._target_=sklearn.linear_model.LogisticRegressionCV", "+model.cv=2",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    assert (tmp_path / "models" / "latest.json").exists()


@pytest.mark.slow
def test_a_pattern_that_a_service_refuses_is_told(tmp_path, cli):
    trained = cli("train", *SMALL, f"output_dir={tmp_path}", "vectorizer.token_pattern='[a-z]+ing'")
    assert trained.code == 0
    assert "a service refuses this model: token_pattern='[a-z]+ing'" in trained.err
    with pytest.raises(ModelError, match=r"\[a-z\]\+ing"):
        ModelHolder(tmp_path, "latest").load()


def test_a_classifier_that_is_not_linear_goes_through_every_door(tmp_path, cli):
    """Trees do not compile: predicted with, measured, registered and loaded by MLflow all the same."""
    out = ("--output-dir", tmp_path)
    answer = cli(
        "train", *SMALL, f"output_dir={tmp_path}", "model=custom", "--json",
        "model._target_=sklearn.ensemble.ExtraTreesClassifier", "+model.n_estimators=10",
        "+model.random_state=0",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    assert "ExtraTreesClassifier" in answer.err
    assert "slower" in answer.err
    text = "a wonderful film"
    told = cli("predict", text, *out, "--json")
    assert "slower" in told.err
    scored = told.document
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"text": text, "label": scored["label"]}) + "\n", "utf-8")
    assert (
        cli("predict", "--input", rows, *out, "--workers", "2").document["confidence"]
        == (scored["confidence"])
    )
    assert cli("evaluate", "--input", rows, *out, "--json").document["metrics"]["accuracy"] == 1
    assert cli("explain", text, *out).code == 0
    registered = cli("register", "--promote", *out)
    assert registered.code == 0, registered.err
    fresh = cli("models", "pull", "models:/sentiment@champion", *out, "--json")
    assert fresh.document["digest"] == answer.document["digest"]
    (model,) = tracking.connect(tmp_path).get_run(answer.document["run_id"]).outputs.model_outputs
    loaded = mlflow.pyfunc.load_model(
        tracking.connect(tmp_path).get_logged_model(model.model_id).artifact_location
    )
    found = loaded.predict(pd.DataFrame({"text": [text]}))
    assert found["confidence"].tolist() == pytest.approx([scored["confidence"]])


@pytest.mark.parametrize("experiment", options("experiment"))
def test_every_experiment_trains(many, experiment):
    cfg = config.compose([f"experiment={experiment}", *SMALL, f"output_dir={many}"])
    assert train(cfg, point_latest=False).metrics["test_accuracy"] > 0.5


@pytest.mark.parametrize("data", options("data"))
def test_every_data_option_composes(data):
    cfg = config.compose([f"data={data}"])
    assert cfg.data.source in ("embedded", "hub", "files")


def test_same_config_same_digest(tmp_path, quick):
    cfg = config.compose([*SMALL, f"output_dir={tmp_path}"])
    assert train(cfg).digest == quick[0].digest


def test_three_classes_from_other_columns(tmp_path, cli):
    rows = [
        {"body": f"{word} {extra} {i}", "kind": kind}
        for i in range(40)
        for kind, word, extra in (
            ("bug", "crash error", "broken"),
            ("wish", "please add", "feature"),
            ("thanks", "great work", "love"),
        )
    ]
    pl.DataFrame(rows).write_csv(tmp_path / "tickets.csv")
    answer = cli(
        "train", "data=files", f"data.train={tmp_path}/tickets.csv", "data.text_column=body",
        "data.label_column=kind", f"output_dir={tmp_path}/out", "--json",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    assert answer.document["metrics"]["test_f1_score_bug"] == 1.0
    said = cli("predict", "please add a feature", "--json", "--output-dir", tmp_path / "out")
    assert said.document["label"] == "wish"
    assert set(said.document["probabilities"]) == {"bug", "wish", "thanks"}


def test_cli_prints_one_document_or_a_table(tmp_path, cli):
    words = ["train", *SMALL, "model=logreg", f"output_dir={tmp_path}"]
    answer = cli(*words, "--json")
    assert answer.code == 0, answer.err
    assert {"run_id", "model", "metrics", "params", "timings", "output_dir"} <= set(answer.document)
    shown = cli(*words)
    assert "validation" in shown.out
    assert "accuracy" in shown.out
    assert "mlflow ui --backend-store-uri" in shown.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model.c=1"], "unknown key 'model.c'; did you mean 'model.C'"),
        (["model=logrec"], "did you mean 'logreg'"),
        (["seed=abc"], "'abc'"),
        (["data.sample_size=99999"], "more than the 8530 usable rows"),
        (["model.C=-1", "vectorizer.min_df=-3"], "'min_df' parameter.*'C' parameter"),
        (["data=files", "data.train=nope.csv"], "no such file: nope.csv"),
        (["data=files"], "data.train"),
        (["model._target_=no.such.Class"], "no.such.Class|no'|'no"),
        (["vectorizer.token_pattern='('"], "token_pattern"),
    ],
)
def test_wrong_input_is_one_line_and_leaves_nothing(tmp_path, cli, words, message):
    import re

    answer = cli("train", "data=rotten_tomatoes", f"output_dir={tmp_path}/out", *words)
    errors = [line for line in answer.err.splitlines() if line.startswith("error: ")]
    assert answer.code == 2, answer.err
    assert len(errors) == 1
    assert re.search(message, errors[0]), errors[0]
    assert "Traceback" not in answer.err
    left = files_under(tmp_path)
    assert not [name for name in left if "runs/" in name or "models/" in name], left


def test_data_that_is_missing_is_said_before_scikit_learn_is_imported(tmp_path):
    program = (
        "import sys\nfrom sentiment.cli import main\n"
        "sys.argv = ['sentiment', 'train', 'data=files', 'data.train=nope.csv']\n"
        "try:\n    main()\nfinally:\n    print('sklearn' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout == "False\n"


def test_unwritable_output_folder(tmp_path, cli):
    (tmp_path / "file").write_text("")
    answer = cli("train", *SMALL, f"output_dir={tmp_path}/file/out")
    assert answer.code == 2
    assert "output_dir" in answer.err


@pytest.fixture
def raising(tmp_path, monkeypatch):
    """Words that train a model of one's own whose ``predict_proba`` raises."""
    (tmp_path / "raising_model.py").write_text(
        "from sklearn.linear_model import LogisticRegression\n"
        "ERRORS = {'interrupt': KeyboardInterrupt(), 'fire': RuntimeError('the disk is on fire')}\n"
        "class Raises(LogisticRegression):\n"
        "    def __init__(self, error='fire'):\n"
        "        super().__init__()\n"
        "        self.error = error\n"
        "    def predict_proba(self, X):\n"
        "        raise ERRORS[self.error]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return lambda error: [
        "model=custom", "model._target_=raising_model.Raises", f"+model.error={error}",
    ]  # fmt: skip


def test_failed_training_ends_as_failed_with_the_reason(tmp_path, cli, raising):
    answer = cli("train", *SMALL, *raising("fire"), f"output_dir={tmp_path}")
    assert answer.code == 1
    assert "RuntimeError: the disk is on fire (--debug shows the traceback)" in answer.err
    (found,) = tracking.connect(tmp_path).search_runs(["1"])
    assert found.info.status == "FAILED"
    assert "the disk is on fire" in found.data.tags["sentiment.failure"]


def test_interrupted_training_is_killed_and_exits_130(tmp_path, cli, raising):
    answer = cli("train", *SMALL, *raising("interrupt"), f"output_dir={tmp_path}")
    assert answer.code == 130
    (found,) = tracking.connect(tmp_path).search_runs(["1"])
    assert found.info.status == "KILLED"
    assert not (tmp_path / "models" / "latest.json").exists()


def test_an_old_file_store_is_recognised(tmp_path):
    (tmp_path / "mlruns" / "0").mkdir(parents=True)
    (tmp_path / "mlruns" / "0" / "meta.yaml").write_text("name: Default")
    hint = tracking.old_file_store(tmp_path)
    assert hint is not None
    assert "mlflow migrate-filestore" in hint
    assert tracking.old_file_store(tmp_path / "mlruns") is None


def test_each_folder_has_its_own_runs_in_one_process(tmp_path):
    for name in ("first", "second", "first"):
        client = tracking.connect(tmp_path / name)
        assert client.tracking_uri == f"sqlite:///{tmp_path}/{name}/mlflow.db"
    assert "MLFLOW_TRACKING_URI" not in os.environ


def test_mlflow_environment_wins(tmp_path, monkeypatch):
    uri = f"sqlite:///{tmp_path}/elsewhere.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    train(config.compose([*SMALL, f"output_dir={tmp_path}/out"]))
    assert (tmp_path / "elsewhere.db").exists()
    assert not (tmp_path / "out" / "mlflow.db").exists()


def test_python_dash_m_is_the_same_command():
    import subprocess

    answer = subprocess.run(
        [sys.executable, "-m", "sentiment", "--version"], capture_output=True, text=True, check=True
    )
    assert answer.stdout.startswith("sentiment ")


@pytest.mark.slow
def test_two_processes_may_make_the_database_at_once(tmp_path):
    program = (
        "import sys; from pathlib import Path; from sentiment.tracking import client as tracking\n"
        "client = tracking.connect(Path(sys.argv[1]))\n"
        "tracking.experiment_id(client, 'sentiment', Path(sys.argv[1]))"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    for process in both:
        _, error = process.communicate(timeout=120)
        assert process.returncode == 0, error.decode()


@pytest.mark.parametrize("stage", ["track", pytest.param("save", marks=pytest.mark.slow)])
def test_a_database_that_goes_away_costs_the_record_a_while(tmp_path, cli, stage, monkeypatch):
    database, kept = tmp_path / "mlflow.db", tmp_path / "kept.db"

    def watch(name: str, seconds: float | None) -> None:
        if name == stage and seconds is not None:
            shutil.copyfile(database, kept)
            database.write_bytes(b"no database any more" * 5000)

    result = train(config.compose([*SMALL, f"output_dir={tmp_path}"]), watch=watch)
    assert "MLflow at sqlite" in str(result.unsent)
    assert store.resolve("latest", tmp_path).digest == result.digest
    away = cli("runs", "resend", "--output-dir", tmp_path)
    assert (away.code, away.out) == (1, "")
    assert "MLflow at sqlite" in away.err
    with monkeypatch.context() as there:  # a shell that forgot where the run was begun
        there.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/other.db")
        away = cli("runs", "resend", "--output-dir", tmp_path)
    assert away.code == 1
    assert f"was begun at sqlite:///{database}" in away.err
    assert not (tmp_path / "other.db").exists()
    database.write_bytes(kept.read_bytes())  # the same file: connections of this process stay open
    if stage == "track":  # a sweep that goes on logs it, too, and does not train it again
        done = cli("sweep", *SMALL, f"output_dir={tmp_path}", "--resume", "--json")
        assert done.code == 0, done.err
        assert f"run {result.run_id} waited to be logged: it is, FINISHED" in done.err
        assert done.document["jobs"][0]["state"] == "reused"
        assert done.document["best"]["run_id"] == result.run_id
    else:
        done = cli("runs", "resend", "--output-dir", tmp_path, "--json")
        assert done.code == 0, done.err
        assert done.document == {"sent": [{"run_id": result.run_id, "status": "FINISHED"}]}
    assert not list((tmp_path / "unsent").glob("[!.]*"))
    again = cli("runs", "resend", "--output-dir", tmp_path)
    assert (again.code, again.err.strip()) == (0, "no run waits")

    # It is as whole as one that was logged at once.
    other = train(config.compose([*SMALL, f"output_dir={tmp_path}"]))
    client = tracking.connect(tmp_path)
    late, usual = (client.get_run(run_id) for run_id in (result.run_id, other.run_id))
    assert late.info.status == "FINISHED"
    assert late.data.params == usual.data.params
    assert late.data.metrics.keys() == usual.data.metrics.keys()
    assert late.data.tags.keys() == usual.data.tags.keys()
    assert late.data.tags[DIGEST] == result.digest
    names = [
        {file.path for file in client.list_artifacts(run_id)}
        for run_id in (result.run_id, other.run_id)
    ]
    assert names[0] == names[1]
    assert (
        cli("predict", "--model", f"runs:/{result.run_id}", "good", "--output-dir", tmp_path).code
        == 0
    )
    assert cli("register", "--run", result.run_id, "--output-dir", tmp_path).code == 0
