"""Sweeps: the real Hydra, MLflow and Optuna on small data."""

from __future__ import annotations

import json
import logging
import os
import random
import re
import shlex
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import typer
from rich.console import Console
from support.commands import Terminal

from sentiment import config
from sentiment.cli import sweep as command
from sentiment.cli.compare import compare as compare_command
from sentiment.errors import SentimentError, UsageError
from sentiment.sweep import job as jobs
from sentiment.sweep import launcher as launch
from sentiment.sweep.board import Board
from sentiment.sweep.status import MARKERS, Status
from sentiment.sweep.sweeper import Task, check
from sentiment.tracking import client as tracking
from sentiment.training.shell import hydra_shell

GOOD = ["great", "lovely", "fun", "moving", "superb", "warm", "bright"]
BAD = ["awful", "dull", "boring", "weak", "cold", "flat", "noisy"]
COMMON = ["the", "film", "plot", "actor", "scene", "music", "story", "end", "start"]

# Fails as often as the file says, waits, or ends its own process; else naive Bayes.
ODD = """
import os, signal, time
from pathlib import Path
from sklearn.naive_bayes import MultinomialNB

class Odd(MultinomialNB):
    def __init__(self, *, alpha=1.0, force_alpha=True, fit_prior=True, class_prior=None,
                 fail=None, wait=0.0, send=None, stop=None, flags=""):
        super().__init__(alpha=alpha, force_alpha=force_alpha, fit_prior=fit_prior,
                         class_prior=class_prior)
        self.fail, self.wait, self.send, self.stop, self.flags = fail, wait, send, stop, flags

    def fit(self, X, y, sample_weight=None):
        if self.fail and Path(self.fail).exists():
            left = int(Path(self.fail).read_text())
            if left:
                Path(self.fail).write_text(str(left - 1))
                raise RuntimeError("a passing trouble")
        if self.send:
            os.kill(os.getpid(), getattr(signal, self.send))
        for flag in self.flags.split():
            for folder in Path(self.stop).glob("sweeps/*"):
                (folder / flag).write_text("99")
        time.sleep(self.wait)
        return super().fit(X, y, sample_weight)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    rng = random.Random(0)
    rows = ["text,label"]
    for i in range(120):
        words = rng.choices(COMMON, k=6) + rng.choices(GOOD if i % 2 else BAD, k=3)
        rows.append(f"{' '.join(words)},{'pos' if i % 2 else 'neg'}")
    (folder / "tiny.csv").write_text("\n".join(rows))
    (folder / "odd_model.py").write_text(ODD)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


def words(place, out, *more):
    return [
        "data=files",
        f"data.train={place}/tiny.csv",
        f"output_dir={place}/{out}",
        "vectorizer.ngram_range=[1,1]",
        "model=naive_bayes",
        *more,
    ]


def odd(*more):
    return ["model._target_=odd_model.Odd", *more]


def sweep(place, out, *more):
    task = Task()
    hydra_shell(["-m", *words(place, out, *more)], task)
    return task.summary


def runs_of(place, out, parent=None):
    client = tracking.connect(place / out)
    query = "" if parent is None else f"tags.`mlflow.parentRunId` = '{parent}'"
    return client, tracking.search_runs(
        client, tracking.experiment_id(client, "sentiment", place), query
    )


@pytest.fixture(scope="module")
def swept(place):
    """A grid with an impossible value among good ones."""
    return sweep(place, "grid", "model.alpha=0.1,1,-1", "vectorizer.max_features=10,null", "seed=7")


def test_a_failing_job_leaves_the_others(place, swept):
    assert swept["state"] == "finished"
    assert swept["counts"] == {"finished": 4, "failed": 2}
    _, runs = runs_of(place, "grid", swept["sweep_run"])
    assert sorted(run.info.status for run in runs) == ["FAILED"] * 2 + ["FINISHED"] * 4
    failed = [job for job in swept["jobs"] if job["state"] == "failed"]
    for job in failed:
        assert "alpha" in job["error"]
        assert "Traceback" in Path(job["log"]).read_text()
    client, _ = runs_of(place, "grid")
    names = [file.path for file in client.list_artifacts(failed[0]["run_id"])]
    assert "traceback.txt" in names


def test_the_answer_is_ranked_and_logged(place, swept):
    done = [job for job in swept["jobs"] if job["state"] == "finished"]
    best = swept["best"]
    assert best["objective"] == max(job["objective"] for job in done)
    client, _ = runs_of(place, "grid")
    parent = client.get_run(swept["sweep_run"])
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["sentiment.best_run"] == best["run_id"]
    assert parent.data.params["model.alpha"] == "0.1,1,-1"
    artifacts = {file.path for file in client.list_artifacts(swept["sweep_run"])}
    assert {"sweep.json", "search.html"} <= artifacts
    assert "report.html" in {file.path for file in client.list_artifacts(best["run_id"])}
    assert json.loads((Path(swept["folder"]) / "sweep.json").read_text())["best"] == best
    assert swept["register"].startswith(f"sentiment register --run {best['run_id']}")


def test_the_line_to_train_the_best_gives_the_same_config(swept):
    line = shlex.split(swept["train"])
    assert line[:2] == ["sentiment", "train"]
    cfg = config.compose(line[2:])
    assert all(f"{key}" in line for key in swept["best"]["overrides"])
    assert cfg.seed == 7


def test_features_are_made_once_and_latest_stays(place, swept):
    from sentiment.training.cache import FeatureCache

    assert len(FeatureCache(place / "grid/cache/features", 0).entries()) == 2
    assert not (place / "grid/models/latest.json").exists()


def test_models_of_other_jobs_leave_the_disk(place, swept):
    digests = [
        folder.name for folder in (place / "grid/models").iterdir() if len(folder.name) == 64
    ]
    assert digests == [swept["best"]["digest"]]


def test_resume_skips_what_is_done_and_reopens(place, swept):
    again = sweep(
        place, "grid", "model.alpha=0.1,1,-1", "vectorizer.max_features=10,null", "seed=7",
        "sweep.resume=true",
    )  # fmt: skip
    assert again["resumed"]
    assert again["sweep_run"] == swept["sweep_run"]
    assert again["counts"] == {"reused": 4, "failed": 2}
    assert again["best"]["run_id"] == swept["best"]["run_id"]
    # Another data seed is another result.
    other = sweep(
        place, "grid", "model.alpha=0.1", "vectorizer.max_features=10", "seed=8",
        "sweep.resume=true",
    )  # fmt: skip
    assert not other["resumed"]
    assert other["counts"] == {"finished": 1}


def test_compare_shows_what_differs_and_tests_it(place, swept):
    from sentiment.tracking.compare import compare_runs

    found = compare_runs([swept["sweep_run"][:12]], output_dir=place / "grid", sort="val_f1_score")
    assert len(found.runs) == 4
    assert set(found.runs[0].params) == {"model.alpha", "vectorizer.max_features"}
    scores = [run.metrics["val_f1_score"] for run in found.runs]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= run.test.p_value <= 1 for run in found.runs[1:])
    assert all(run.test.low <= run.test.difference <= run.test.high for run in found.runs[1:])
    with pytest.raises(UsageError, match="did you mean 'val_f1_score'"):
        compare_runs([], output_dir=place / "grid", sort="val_f1")
    with pytest.raises(UsageError, match="no finished run"):
        compare_runs(["zzzz"], output_dir=place / "grid")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["sweep.objective=test_accuracy"], "test split is never used to choose"),
        (["sweep.objective=val_f1"], "did you mean 'val_f1_score'"),
        (["sweep.objective=accuracy"], "did you mean 'val_accuracy'"),
        (["data.val_size=0"], "needs a validation split"),
        (["sweep.method=random"], "not one of grid, paired, optuna"),
        (["sweep.time_budget=soon"], "give a time such as"),
        (["sweep.jobs=0", "sweep.retries=-1"], "sweep.retries"),
        (["model.alpah=1,2"], "did you mean 'model.alpha'"),
        (["sweep.jobs=1,2"], "same in every job"),
        (["model.alpha=interval(0.1,1)"], "sweep.method=optuna"),
        (["model=glob(nothing*)"], "matches nothing"),
        (["sweep.method=paired", "model.alpha=1,2", "seed=1,2,3"], "model.alpha has 2, seed has 3"),
    ],
)
def test_what_is_wrong_is_said_before_the_first_job(place, more, message):
    with pytest.raises(UsageError, match=message):
        sweep(place, "wrong", *more)
    assert not list((place / "wrong").glob("sweeps/*/0"))


@pytest.mark.parametrize("width", [60, 80, 200])
def test_compare_cuts_no_number(place, swept, width, monkeypatch, capsys):
    from sentiment.cli import console

    narrow = Console(width=width, force_terminal=True, highlight=False, file=sys.stdout)
    monkeypatch.setattr(console, "stdout", lambda: narrow)
    compare_command([swept["sweep_run"]], output_dir=place / "grid", sort="newest")
    shown = capsys.readouterr().out
    assert "…" not in shown
    for job in swept["jobs"]:
        if job["run_id"] and job["state"] == "finished":
            assert job["run_id"][:8] in shown
            assert f"{job['metrics']['val_f1_score']:.4f}" in shown


def test_a_dry_run_prints_the_jobs_and_writes_no_run(place, capsys):
    command.run(words(place, "dry", "model.alpha=1,2", "seed=1,2", "sweep.dry_run=true"))
    out = capsys.readouterr().out.splitlines()
    assert [line.split()[1:] for line in out] == [
        [f"model.alpha={alpha}", f"seed={seed}"] for alpha in (1, 2) for seed in (1, 2)
    ]
    assert not (place / "dry/mlflow.db").exists()


def test_the_command_prints_json_and_fails_when_a_job_does(place, capsys):
    with pytest.raises(typer.Exit) as stop:
        command.sweep(words(place, "json", "model.alpha=1,-1"), json_=True)
    assert stop.value.exit_code == 1
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert document["counts"] == {"finished": 1, "failed": 1}
    assert "[2/2] model.alpha=-1: failed" in printed.err


def test_a_failure_stops_the_sweep_when_asked_to(place):
    found = sweep(place, "stop", "model.alpha=-1,1,2", "sweep.on_error=stop")
    assert [job["state"] for job in found["jobs"]] == ["failed", "not started", "not started"]


def test_no_time_no_jobs(place, capsys):
    command.run(words(place, "stop", "model.alpha=1,2", "sweep.time_budget=0s"))
    printed = capsys.readouterr()
    assert "finished after" in printed.err
    assert "2 not started" in printed.err
    assert "the time budget of 0s is used up; go on with the rest" in printed.err
    assert printed.out == ""


def test_who_watches_sees_the_jobs_and_then_the_ranking(place, swept, monkeypatch, capsys):
    """The same sweep again: what is done is taken from its runs."""
    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    again = ["model.alpha=0.1,1,-1", "vectorizer.max_features=10,null", "seed=7"]
    with pytest.raises(typer.Exit):  # two of them fail
        command.run(words(place, "grid", *again, "sweep.resume=true"))
    live = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", shown.getvalue())
    assert "of 6 jobs, " in live
    assert f"best {swept['objective']}" in " ".join(live.split())
    assert "4 reused, 2 failed" in live
    assert "failed: job 5 model.alpha=-1" in live
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    ranks = [line[1:] for line in lines if line[:1] == ["│"] and line[1].isdigit()]
    best = swept["best"]
    assert [rank[0] for rank in ranks] == ["1", "2", "3", "4"]
    assert ranks[0][1:4] == ["*", "│", str(best["job"] + 1)]
    assert f"{best['objective']:.4f}" in ranks[0]
    scores = [swept["jobs"][number]["objective"] for number in swept["ranking"]]
    assert scores == sorted(scores, reverse=True)
    assert swept["ranking"][0] == best["job"]


@pytest.mark.slow
def test_a_passing_failure_is_tried_again(place):
    (place / "left").write_text("1")
    found = sweep(
        place, "retry", *odd(f"+model.fail={place}/left"), "model.alpha=1,2", "sweep.retries=1",
        "sweep.on_error=stop",
    )  # fmt: skip
    assert found["counts"] == {"finished": 2}
    assert found["jobs"][0]["attempts"] == 2
    _, runs = runs_of(place, "retry", found["sweep_run"])
    assert sorted(run.info.status for run in runs) == ["FAILED", "FINISHED", "FINISHED"]
    # What the config forbids is not tried again.
    found = sweep(place, "retry", "model.alpha=-1,1", "sweep.retries=3")
    assert found["jobs"][0]["attempts"] == 1


def test_pairs(place):
    found = sweep(place, "pairs", "model.alpha=1,2", "seed=3,4", "sweep.method=paired")
    assert [job["overrides"] for job in found["jobs"]] == [
        ["model.alpha=1", "seed=3"],
        ["model.alpha=2", "seed=4"],
    ]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_keeps_what_is_finished(place, name):
    found = sweep(place, "signal", *odd(), "+model.send=null," + name + ",null", "model.alpha=1")
    assert found["state"] == {"SIGINT": "interrupted", "SIGTERM": "terminated"}[name]
    assert [job["state"] for job in found["jobs"]] == ["finished", "killed"]
    client, runs = runs_of(place, "signal", found["sweep_run"])
    assert sorted(run.info.status for run in runs) == ["FINISHED", "KILLED"]
    assert client.get_run(found["sweep_run"]).info.status == "KILLED"
    assert found["best"]["job"] == 0


@pytest.mark.parametrize(
    ("flags", "first", "run"),
    [("stop cancel", "killed", "KILLED"), ("replaced", "finished", "FINISHED")],
)
def test_a_job_on_another_machine_finds_what_the_sweep_left_it(place, flags, first, run):
    """No signal reaches it there: files say that it shall end, or that it was launched again."""
    place_of_sweep = f"far {first}"
    more = odd(f"+model.stop={place}/{place_of_sweep}", f"+model.flags={flags}", "model.alpha=1,2")
    found = sweep(place, place_of_sweep, *more)
    assert [job["state"] for job in found["jobs"]] == [first, "not started"]
    _, runs = runs_of(place, place_of_sweep, found["sweep_run"])
    assert [run.info.status for run in runs] == [run]


def test_what_an_earlier_sweep_left_in_the_same_folder_stops_nothing(place):
    folder = place / "same"
    (folder / "0").mkdir(parents=True)
    for marker in MARKERS:
        (folder / marker).write_text("99")
    Status(state="killed").write(folder / "0")
    found = sweep(place, "again", "model.alpha=1,2", f"hydra.sweep.dir={folder}")
    assert [job["state"] for job in found["jobs"]] == ["finished", "finished"]


def test_a_sweep_outlasts_its_launcher(tmp_path):
    """Jobs of a cluster go on when the launcher gives up because one of them died."""
    board = Board(keys=(), objective="val_f1_score", maximize=True)
    dead, alive = (board.add((), [], "") for _ in range(2))
    for entry in (dead, alive):
        entry.folder = tmp_path / str(entry.job)
        Status(state="running").write(entry.folder)

    def work():
        with jobs.beating(alive.folder, 0.1):
            time.sleep(1.5)
            Status(state="finished", objective=0.5).write(alive.folder)

    worker = threading.Thread(target=work)
    worker.start()
    launch.outlast([dead, alive], board, tmp_path / "replaced", 2, silence=0.7)
    worker.join()
    assert (dead.status.state, alive.status.state) == ("running", "finished")
    assert (tmp_path / "replaced").read_text() == "2"


@pytest.mark.slow
def test_optuna_searches_and_goes_on(place):
    pytest.importorskip("optuna")
    space = ["model.alpha=tag(log, interval(0.01, 10))", "vectorizer.max_features=10,null"]
    found = sweep(place, "optuna", *space, "sweep.method=optuna", "sweep.trials=4")
    # The migrations of its database would silence every logger that is there.
    assert not logging.getLogger("sentiment.sweep.launcher").disabled
    assert found["counts"].get("finished", 0) >= 3
    # The config's own values come first, so that the search cannot end below them.
    assert found["jobs"][0]["overrides"] == ["model.alpha=1.0", "vectorizer.max_features=null"]
    more = sweep(
        place, "optuna", *space, "sweep.method=optuna", "sweep.trials=6", "sweep.resume=true"
    )
    assert more["sweep_run"] == found["sweep_run"]
    # What the study knows stands in the ranking, beside what is new.
    earlier = {tuple(job["overrides"]) for job in found["jobs"] if job["objective"] is not None}
    states = {tuple(job["overrides"]): job["state"] for job in more["jobs"]}
    assert {words for words, state in states.items() if state == "reused"} == earlier
    assert list(states.values()).count("finished") == 6 - len(earlier)
    assert more["best"]["objective"] >= found["best"]["objective"]
    # Once more, with nothing left to do: the same answer, and no failure.
    again = sweep(
        place, "optuna", *space, "sweep.method=optuna", "sweep.trials=6", "sweep.resume=true"
    )
    assert again["best"]["run_id"] == more["best"]["run_id"]
    client, _ = runs_of(place, "optuna")
    assert client.get_run(again["sweep_run"]).info.status == "FINISHED"


@pytest.mark.slow
def test_processes_chosen_in_an_experiment_file(place):
    folder = place / "conf" / "experiment"
    folder.mkdir(parents=True)
    (folder / "parallel.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /hydra/launcher: joblib\n"
        "hydra:\n  launcher:\n    n_jobs: 2\n"
    )
    found = sweep(
        place, "parallel", f"hydra.searchpath=[file://{place}/conf]", "experiment=parallel",
        "model.alpha=0.1,0.5,1,-1",
    )  # fmt: skip
    assert found["counts"] == {"finished": 3, "failed": 1}
    _, runs = runs_of(place, "parallel", found["sweep_run"])
    processes = {run.data.tags["sentiment.process"].split(":")[1] for run in runs}
    assert str(os.getpid()) not in processes
    assert "POLARS_MAX_THREADS" not in os.environ


@pytest.mark.slow
def test_a_model_that_mlflow_has_loaded_here_hides_nothing_from_processes(place):
    """It brings its own part of the package, first on the path."""
    import mlflow

    made = sweep(place, "loaded", "model.alpha=0.1")
    client = tracking.connect(place / "loaded")
    run = client.get_run(made["best"]["run_id"])
    path = sys.path[:]
    mlflow.pyfunc.load_model(f"models:/{run.outputs.model_outputs[0].model_id}")
    assert any((Path(one) / "sentiment" / "scorer").is_dir() for one in set(sys.path) - set(path))
    found = sweep(place, "loaded", "model.alpha=0.5,1", "sweep.jobs=2")
    assert found["counts"] == {"finished": 2}


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2])
def test_processes_that_do_not_begin_are_started_once_more(place, monkeypatch, capfd, times):
    """What kept them stands in the warning, and in the error when it stays."""
    from hydra_plugins.hydra_joblib_launcher import _core

    real, tried = _core.Parallel, []

    def parallel(**given):
        tried.append(given)
        if len(tried) <= times:
            raise RuntimeError("no worker") from OSError("the other process:\nno memory\n")
        return real(**given)

    monkeypatch.setattr(_core, "Parallel", parallel)
    more = [f"begin{times}", "model.alpha=0.1,1", "sweep.jobs=2"]
    if times == 1:
        assert sweep(place, *more)["counts"] == {"finished": 2}
    else:
        with pytest.raises(SentimentError, match=r"RuntimeError: no worker \(no memory\)"):
            sweep(place, *more)
    assert len(tried) == 2
    assert "no worker (no memory)" in capfd.readouterr().err


@pytest.mark.slow
def test_a_killed_sweep_is_resumed(place):
    more = odd("+model.wait=0.5", "model.alpha=0.1,1,2", "seed=1")
    process = subprocess.Popen(
        [sys.executable, "-m", "sentiment", "sweep", *words(place, "killed", *more)],
        env=os.environ | {"PYTHONPATH": str(place)},
        stderr=subprocess.DEVNULL,
    )
    try:
        while not list((place / "killed/sweeps").glob("*/1/status.json")):
            assert process.poll() is None
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
    found = sweep(place, "killed", *more, "sweep.resume=true")
    assert found["resumed"]
    assert found["counts"] == {"reused": 1, "finished": 2}
    _, runs = runs_of(place, "killed", found["sweep_run"])
    assert "RUNNING" not in {run.info.status for run in runs}


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), ("1h30m", 5400), ("2d", 172800)]
)
def test_time_budgets(text, seconds):
    settings = config.compose([f"sweep.time_budget={text}"]).sweep
    assert check(settings) == seconds


@pytest.mark.parametrize(
    "name", sorted(p.stem for p in (config.CONFIG_DIR / "search").glob("*.yaml"))
)
def test_every_shipped_search_composes(place, name):
    if name == "optuna":
        pytest.importorskip("optuna")
    task = Task()
    hydra_shell(["-m", f"search={name}", f"output_dir={place}/shipped", "sweep.dry_run=true"], task)
    assert task.summary["state"] == "planned"
    assert task.summary["space"]
