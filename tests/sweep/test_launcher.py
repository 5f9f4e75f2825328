"""A launcher that gives up: what it leaves of a sweep is gone on with."""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.plugins import Plugins
from omegaconf import OmegaConf

from sentiment import config
from sentiment.sweep import launcher
from sentiment.sweep.board import Board
from sentiment.sweep.launcher import Launches
from sentiment.sweep.status import Status
from sentiment.sweep.sweeper import Task
from sentiment.training.shell import hydra_shell


class Cluster(BasicLauncher):
    """As a cluster's: it hands out some jobs, and is gone when the first that it does not like has begun."""

    __module__ = "hydra_plugins.cluster"  # Hydra takes launchers from there alone
    dies_at: tuple[str, ...] = ()

    def launch(self, job_overrides, initial_job_idx):
        for number, words in enumerate(job_overrides):
            if (word := next((word for word in self.dies_at if word in words), None)) is not None:
                left = list(self.dies_at)
                left.remove(word)
                type(self).dies_at = tuple(left)
                folder = Path(str(self.config.hydra.sweep.dir)).resolve() / str(
                    initial_job_idx + number
                )
                folder.mkdir(parents=True, exist_ok=True)
                Status(state="running").write(folder)
                raise ConnectionError(f"the node of {word} is gone")
            super().launch([words], initial_job_idx + number)
        return []


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cluster")
    rows = [f"a {word} film about {number},{label}" for number in range(30)
            for word, label in (("good", "pos"), ("bad", "neg"))]  # fmt: skip
    (folder / "tiny.csv").write_text("\n".join(["text,label", *rows]))
    return folder


@pytest.fixture
def on_a_cluster(place, monkeypatch):
    """Run a sweep of three jobs on it; what is silent for a moment counts as dead."""
    config.register()  # before Hydra looks for its plugins
    Plugins.instance().register(Cluster)
    module = ModuleType(Cluster.__module__)
    module.Cluster = Cluster
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(import_module("hydra_plugins"), "cluster", module, raising=False)
    monkeypatch.setattr(launcher, "outlast", partial(launcher.outlast, silence=0.2))

    def sweep(*words: str, dies_at: tuple[str, ...]) -> dict:
        monkeypatch.setattr(Cluster, "dies_at", dies_at)
        task = Task()
        hydra_shell(
            [
                "-m", "data=files", f"data.train={place}/tiny.csv", f"output_dir={place}/outputs",
                "vectorizer.ngram_range=[1,1]", "model=naive_bayes", "model.alpha=1,2,3",
                "hydra.launcher._target_=hydra_plugins.cluster.Cluster", *words,
            ],
            task,
        )  # fmt: skip
        return task.summary

    return sweep


@pytest.mark.slow
def test_a_dead_job_takes_no_other_along_and_is_tried_again_as_often_as_allowed(on_a_cluster):
    found = on_a_cluster(
        "sweep.retries=1", dies_at=("model.alpha=1", "model.alpha=3", "model.alpha=1")
    )
    assert [job["state"] for job in found["jobs"]] == ["failed", "finished", "finished"]
    # What waited while others died has not been tried.
    assert [job["attempts"] for job in found["jobs"]] == [2, 1, 2]
    assert found["jobs"][0]["error"] == (
        "its process died: ConnectionError: the node of model.alpha=1 is gone"
    )


@pytest.mark.slow
def test_a_dead_job_stops_the_sweep_when_asked_to(on_a_cluster):
    found = on_a_cluster("sweep.on_error=stop", dies_at=("model.alpha=2",))
    assert [job["state"] for job in found["jobs"]] == ["finished", "failed", "not started"]


def launches(target: str, tmp_path: Path, *, jobs: int = 1, deadline: float | None = None):
    made = OmegaConf.create({"sweep": {"jobs": jobs}, "hydra": {"launcher": {"_target_": target}}})
    board = Board(keys=(), objective="val_f1_score", maximize=True)
    return Launches(None, made, board, None, tmp_path, deadline)


def test_what_runs_here_gets_its_jobs_some_at_a_time_and_a_queue_all(tmp_path):
    basic = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
    assert launches(basic, tmp_path).batch_size == 1
    assert launches(basic, tmp_path, jobs=2).batch_size == 50
    assert launches(basic, tmp_path, jobs=9).batch_size == 90
    assert launches("hydra_plugins.cluster.Cluster", tmp_path).batch_size is None


def test_no_job_begins_after_the_deadline(tmp_path):
    now = time.time()
    found = [launches("x", tmp_path, deadline=at).out_of_time() for at in (None, now + 60, now - 1)]
    assert found == [False, False, True]


def test_other_machines_find_the_sweeper_by_the_environment_which_is_as_before_then(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("PYTHONPATH", "/mine")
    path = sys.path[:]
    with launches("hydra_plugins.cluster.Cluster", tmp_path).environment():
        assert os.environ["PYTHONPATH"].split(os.pathsep) == [config.PLUGINS, "/mine"]
    assert (os.environ["PYTHONPATH"], sys.path) == ("/mine", path)
