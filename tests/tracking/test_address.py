"""Where runs go: the same answer for every command, whole databases, moved folders, no passwords."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from sentiment.errors import UsageError
from sentiment.tracking import client as tracking
from sentiment.tracking.address import local_database, remember, shown, tracking_uri
from sentiment.tracking.run import Run, safe_name

TINY = ["experiment=quick", "data.sample_size=300"]


@pytest.mark.slow
def test_what_a_training_was_told_every_later_command_asks(tmp_path, cli):
    uri = f"sqlite:///{tmp_path}/elsewhere/runs.db"
    out = tmp_path / "out"
    answer = cli("train", *TINY, f"tracking.uri={uri}", f"output_dir={out}")
    assert answer.code == 0, answer.err
    assert f"mlflow ui --backend-store-uri {uri}" in answer.err
    assert not (out / "mlflow.db").exists()
    assert cli("register", "--output-dir", out).code == 0
    (version,) = cli("models", "list", "--output-dir", out, "--json").document
    assert version["version"] == "1"
    answer = cli("compare", "--output-dir", out)
    assert "1 finished runs" in answer.err
    assert not (out / "mlflow.db").exists()
    # A training without it goes to the folder's own database again.
    assert cli("train", *TINY, f"output_dir={out}").code == 0
    assert tracking_uri(out) == f"sqlite:///{out}/mlflow.db"


def test_mlflows_own_variable_wins(tmp_path, monkeypatch):
    remember(tmp_path, "http://127.0.0.1:1")
    assert tracking_uri(tmp_path) == "http://127.0.0.1:1"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:2")
    assert tracking_uri(tmp_path) == "http://127.0.0.1:2"


@pytest.mark.parametrize("password", ["secret", "se%2Fcr%40et", "p:a=s"])
def test_a_password_is_neither_logged_nor_shown(tmp_path, cli, monkeypatch, password):
    uri = f"http://me:{password}@127.0.0.1:9"
    answer = cli("train", *TINY, f"tracking.uri='{uri}'", f"output_dir={tmp_path}")
    assert answer.code == 2
    assert "MLFLOW_TRACKING_PASSWORD" in answer.err
    assert password not in answer.err
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    answer = cli("compare", "--output-dir", tmp_path)
    assert answer.code == 1
    assert "127.0.0.1:9" in answer.err
    assert password not in answer.err + answer.out
    assert password not in cli("doctor", "--output-dir", tmp_path, "--json").out
    assert password not in shown(f"cannot reach {uri}/api: '{uri}' refused")


def test_a_server_that_wants_to_know_who_asks_says_which_variables(tmp_path, cli, monkeypatch):
    class Refusing(BaseHTTPRequestHandler):
        """As MLflow's own basic auth answers."""

        def do_GET(self):
            self.send_error(401)

        do_POST = do_GET  # noqa: N815 - the library's name

        def log_message(self, *_):
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
        answer = cli("models", "list", "--output-dir", tmp_path)
        server.shutdown()
        thread.join()
    assert answer.code == 1
    assert "MLFLOW_TRACKING_USERNAME" in answer.err
    assert len(answer.err.strip().splitlines()) == 1


def test_a_database_cannot_have_every_name(tmp_path):
    with pytest.raises(UsageError, match="cannot stand in the address"):
        tracking_uri(tmp_path / "what?")


CONNECT = (
    "import signal, sys; from pathlib import Path; from sentiment.tracking import client as tracking\n"
    "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "print('begun', flush=True); tracking.connect(Path(sys.argv[1]))"
)


@pytest.mark.slow
@pytest.mark.parametrize("after", [0.9, 1.4, 1.9])
def test_an_interrupted_first_command_leaves_a_folder_that_the_next_can_use(tmp_path, after):
    with subprocess.Popen(
        [sys.executable, "-c", CONNECT, str(tmp_path)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(after)
        process.send_signal(signal.SIGINT)
    assert tracking.connect(tmp_path).search_experiments()


def test_a_database_that_was_left_half_made_is_made_again(tmp_path):
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("CREATE TABLE experiments (experiment_id INTEGER)")
        database.execute("CREATE TABLE alembic_version (version_num TEXT)")
    client = tracking.connect(tmp_path)
    assert [found.name for found in client.search_experiments()] == ["Default"]
    left = {path.name for path in tmp_path.iterdir()}
    assert left <= {"mlflow.db", ".mlflow.db.lock", "mlflow.db.half-made"}


def test_a_process_runs_the_migrations_once_and_every_folder_has_its_own_database(tmp_path):
    logged = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        client = tracking.connect(folder)
        [default] = client.search_experiments()
        assert default.artifact_location == (folder / "artifacts" / "0").as_uri()
        assert abs(default.creation_time / 1000 - time.time()) < 60
        assert {path.name for path in folder.iterdir()} == {"mlflow.db", ".mlflow.db.lock"}
        logged.append(client.create_run(default.experiment_id).info.run_id)
        assert [run.info.run_id for run in client.search_runs([default.experiment_id])] == logged[
            -1:
        ]


def test_a_database_of_something_else_is_never_replaced(tmp_path, monkeypatch):
    file = tmp_path / "feedback.db"
    with sqlite3.connect(file) as database:
        database.execute("CREATE TABLE feedback (label TEXT)")
        database.execute("INSERT INTO feedback VALUES ('pos')")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{file}")
    tracking.connect(tmp_path)
    with sqlite3.connect(file) as database:
        assert database.execute("SELECT label FROM feedback").fetchall() == [("pos",)]


@pytest.mark.parametrize(
    ("uri", "file"),
    [
        ("sqlite:///x.db?timeout=5", "x.db"),
        ("sqlite:////data/x.db", "/data/x.db"),
        ("sqlite:///:memory:", None),
        ("sqlite://", None),
        ("https://host/x.db", None),
    ],
)
def test_the_file_of_an_address(uri, file):
    assert local_database(uri) == (Path(file) if file else None)


@pytest.mark.parametrize(
    "uri",
    [
        "http://ann:s3cret@host",
        "http://ann:s3cret@more@host/x",
        "postgresql://ann:s3cret/more@host/runs",
        "postgresql://host/runs?user=ann&password=s3cret",
        "http%3A%2F%2Fann%3As3cret%40host",
    ],
)
def test_no_way_to_write_a_password_is_shown(uri):
    assert "s3cret" not in shown(f"MLflow at {uri} does not answer")
    assert "ann" not in shown(uri)


@pytest.mark.parametrize(
    "uri", ["http://host:5000/a@b", "sqlite:////data/me@work/x.db", "file:///home/a:1@b"]
)
def test_an_address_without_a_password_is_shown_whole(uri):
    assert shown(uri) == uri


@pytest.mark.slow
def test_a_folder_that_was_moved_finds_its_artifacts(tmp_path, cli):
    out, moved = tmp_path / "out", tmp_path / "moved"
    result = cli("train", *TINY, f"output_dir={out}", "--json").document
    out.rename(moved)
    assert cli("register", "--output-dir", moved).code == 0
    client = tracking.connect(moved)
    assert (
        "quick"
        in Path(
            client.download_artifacts(result["run_id"], "overrides.json", str(tmp_path))
        ).read_text()
    )
    cli("train", *TINY, f"output_dir={moved}", "model.C=0.5")
    assert not out.exists()


def test_mlflows_experiment_variables_mean_what_they_say(tmp_path, monkeypatch):
    client = tracking.connect(tmp_path)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "theirs")
    number = tracking.experiment_id(client, "sentiment", tmp_path)
    assert client.get_experiment(number).name == "theirs"
    assert client.get_experiment(tracking.experiment_id(client, "own", tmp_path)).name == "own"
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "0")
    assert tracking.experiment_id(client, "sentiment", tmp_path) == "0"
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "77")
    with pytest.raises(UsageError, match="MLFLOW_EXPERIMENT_ID=77"):
        tracking.experiment_id(client, "sentiment", tmp_path)
    with pytest.raises(UsageError, match="experiment_name is empty"):
        tracking.experiment_id(client, " ", tmp_path)


def test_inside_mlflow_run_its_run_is_taken(tmp_path, monkeypatch):
    client = tracking.connect(tmp_path)
    given = client.create_run("0").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", given)
    assert Run.start(client, "0", name="mine", tags={}).run_id == given
    assert client.get_run(given).info.run_name == "mine"
    assert Run.start(client, "0", name=None, tags={}).run_id != given


@pytest.mark.slow
def test_two_runs_log_one_data_set_at_the_same_moment(tmp_path):
    """MLflow looks whether a data set is known, and inserts it: two at once fail in one of them."""
    program = (
        "import sys; from pathlib import Path; from sentiment.tracking import client as tracking\n"
        "from sentiment.tracking.run import Run\n"
        "client = tracking.connect(Path(sys.argv[1]))\n"
        "runs = [Run.start(client, '0', name=None, tags={}) for _ in range(8)]\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "for number, run in enumerate(runs):\n"
        "    run.log_datasets([dict(name=f'd{number}', source='s', context='train', digest='x', rows=1)])"
    )
    tracking.connect(tmp_path)
    both = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    for process in both:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    said = [process.communicate("go\n")[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said


def test_values_and_data_sets_are_whole_in_one_call_each_and_as_left_by_an_earlier_version(
    tmp_path,
):
    client = tracking.connect(tmp_path)
    now, before = (Run.start(client, "0", name=None, tags={}) for _ in range(2))
    params = {f"p{number}": "1" for number in range(230)}  # MLflow takes a hundred at once
    data = [
        {"name": "d", "source": "s", "context": context, "digest": digest * 64, "rows": 1}
        for context, digest in (("train", "a"), ("test", "b"))
    ]
    now.log(params=params, metrics={"m": 0.5}, tags={"t": "u"})
    now.log_datasets(data)
    before.send("params", {"params": params})
    before.send("metrics", {"metrics": {"m": 0.5}, "time": 1})
    before.send("tags", {"tags": {"t": "u"}})
    for dataset in data:
        before.send("dataset", dataset)
    for run in (now, before):
        found = client.get_run(run.run_id)
        assert found.data.params == params
        assert found.data.metrics == {"m": 0.5}
        assert found.data.tags["t"] == "u"
        assert {(one.tags[0].value, one.dataset.digest) for one in found.inputs.dataset_inputs} == {
            ("train", "a" * 36), ("test", "b" * 36),
        }  # fmt: skip


def test_names_that_mlflow_refuses_become_safe_and_stay_distinct(tmp_path):
    names = [
        ":)",
        ":(",
        ":|",
        "a/",
        "/a",
        "a//b",
        "x" * 300,
        "x" * 301,
        "http://x",
        "+",
        "é",
        "a b/c",
    ]
    safe = [safe_name(name) for name in names]
    assert len(set(safe)) == len(names)
    assert safe_name("val_f1_score") == "val_f1_score"
    client = tracking.connect(tmp_path)
    run = Run.start(client, "0", name=None, tags={})
    run.log(metrics=dict.fromkeys(names, 1.0), params=dict.fromkeys(names, "1"))
    assert set(client.get_run(run.run_id).data.metrics) == set(safe)


def test_notes_and_system_metrics_are_logged_where_asked(tmp_path, cli, monkeypatch):
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.1")
    words = ["tracking.notes=before (and after) May, 50%", "tracking.system_metrics=true"]
    answer = cli("train", *TINY, *words, f"output_dir={tmp_path}", "--json")
    assert answer.code == 0, answer.err
    run = tracking.connect(tmp_path).get_run(answer.document["run_id"])
    assert run.data.tags["mlflow.note.content"] == "before (and after) May, 50%"
    assert run.data.metrics["system/cpu_utilization_percentage"] >= 0
    assert run.info.status == "FINISHED"


def test_labels_with_odd_names_are_trained_and_the_names_are_logged(tmp_path, cli):
    file = tmp_path / "data.csv"
    rows = [f"text {i} {word},{label}" for i in range(40) for word, label in
            (("joy", ":)"), ("pain", ":("), ("dull", "meh/"))]  # fmt: skip
    file.write_text("text,label\n" + "\n".join(rows) + "\n")
    out = tmp_path / "out"
    answer = cli("train", "data=files", f"data.train={file}", f"output_dir={out}", "--json")
    assert answer.code == 0, answer.err
    client = tracking.connect(out)
    names = json.loads(
        Path(client.download_artifacts(answer.document["run_id"], "metric_names.json")).read_text()
    )
    assert any(name.endswith(":)") for name in names.values())
    assert set(names) <= set(client.get_run(answer.document["run_id"]).data.metrics)
