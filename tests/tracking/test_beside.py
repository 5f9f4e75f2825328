"""A run that another process tells MLflow of is the run that this process would have made."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from support.waiting import wait_for

from sentiment.errors import SentimentError, UsageError
from sentiment.tracking import client as tracking
from sentiment.tracking.address import remember
from sentiment.tracking.beside import Beside, beside
from sentiment.tracking.origin import is_gone
from sentiment.tracking.tags import FAILURE


@contextmanager
def another(folder: Path) -> Iterator[Beside]:
    """The other process, as a command has it that did not import MLflow."""
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.delitem(sys.modules, "mlflow", raising=False)
            patch.setenv("LOKY_MAX_CPU_COUNT", "2")
            # As where MLflow has loaded one of our models, with its part of this package.
            (folder / "code" / "sentiment").mkdir(parents=True)
            (folder / "code" / "sentiment" / "__init__.py").touch()
            patch.setattr(sys, "path", [str(folder / "code"), *sys.path])
            started = stack.enter_context(beside())
        assert started is not None
        yield started


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    """One for several runs: it takes seconds to start."""
    with another(tmp_path_factory.mktemp("process")) as started:
        yield started


@pytest.fixture
def own_process(tmp_path):
    """One that may be killed, and whose first run is the test's."""
    with another(tmp_path) as started:
        yield started


def test_what_a_run_is_told_there_is_found_here(process, tmp_path):
    place = tmp_path / "artifact.txt"
    place.write_text("whole")
    run = process.experiment(tmp_path / "out", "reviews").start(name="first", tags={"a": "b"})
    with run.ending():
        run.log(params={"C": 1}, metrics={"accuracy": 0.5, ":)": 1.0}, tags={"c": "d"})
        run.log_artifacts(place)
        place.unlink()  # it is logged once the call is back
        run.log_text("words", "note.txt")
        assert run.newest({"a": "b"}) is None  # this one has not finished
    client = tracking.connect(tmp_path / "out")
    found = client.get_run(run.run_id)
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "first"
    assert (found.data.tags["a"], found.data.tags["c"]) == ("b", "d")
    assert found.data.params == {"C": "1"}
    assert found.data.metrics["accuracy"] == 0.5
    assert len(found.data.metrics) == 2
    assert {file.path for file in client.list_artifacts(run.run_id)} == {"artifact.txt", "note.txt"}


def test_earlier_runs_are_found_and_fetched_there(process, tmp_path):
    out = tmp_path / "out"
    client = tracking.connect(out)
    earlier = client.create_run(
        tracking.experiment_id(client, "reviews", out), tags={"a": "b"}
    ).info.run_id
    client.log_text(earlier, "words", "note.txt")
    client.set_terminated(earlier)
    run = process.experiment(out, "reviews").start(name=None, tags={})
    with run.ending():
        assert run.newest({"a": "none"}) is None
        assert run.fetch(earlier, "other.txt", tmp_path) is None
        fetched = run.fetch(earlier, "note.txt", tmp_path)
        assert fetched is not None
        assert fetched.read_text() == "words"


def test_what_goes_wrong_there_is_raised_here(process, tmp_path):
    with pytest.raises(UsageError, match="experiment_name is empty"):
        process.experiment(tmp_path / "out", " ").start(name=None, tags={})
    (tmp_path / "away").mkdir()
    remember(tmp_path / "away", "http://127.0.0.1:9")
    with pytest.raises(SentimentError, match=r"MLflow at http://127\.0\.0\.1:9 does not answer"):
        process.experiment(tmp_path / "away", "reviews").start(name=None, tags={})
    run = process.experiment(tmp_path / "out", "reviews").start(name=None, tags={})
    with pytest.raises(ZeroDivisionError), run.ending():  # what goes wrong here is known there
        raise ZeroDivisionError
    found = tracking.connect(tmp_path / "out").get_run(run.run_id)
    assert found.info.status == "FAILED"
    assert found.data.tags[FAILURE] == "ZeroDivisionError:"


def test_what_the_system_refused_there_is_that_here(process, tmp_path):
    run = process.experiment(tmp_path / "out", "reviews").start(name=None, tags={})
    with pytest.raises(FileNotFoundError) as raised:
        run.log_artifacts(tmp_path / "none")
    assert raised.value.filename == str(tmp_path / "none")


@pytest.mark.slow
def test_what_nobody_waited_for_is_raised_in_the_end(own_process, tmp_path):
    run = own_process.experiment(tmp_path / "out", "reviews").start(name=None, tags={})
    run.tell("text", text="words", name="note.txt", other="unknown")
    assert run.newest({"a": "b"}) is None  # it is no fault of this call
    with pytest.raises(RuntimeError, match="unexpected keyword argument 'other'"):
        run.end("FINISHED")


def test_when_the_other_process_ends_this_one_goes_on(own_process, tmp_path, caplog):
    run = own_process.experiment(tmp_path / "out", "reviews").start(name=None, tags={})
    os.kill(own_process.pid, signal.SIGKILL)
    run.log_text("words", "note.txt")  # its answer is not waited for
    run.log(metrics={"accuracy": 0.5})
    run.end("FINISHED")
    assert "the process that talks to MLflow ended with -9: this one goes on" in caplog.text
    client = tracking.connect(tmp_path / "out")
    found = client.get_run(run.run_id)
    assert found.info.status == "FINISHED"
    assert found.data.metrics == {"accuracy": 0.5}
    assert [file.path for file in client.list_artifacts(run.run_id)] == ["note.txt"]


def test_when_it_ends_before_its_run_this_one_starts_it(own_process, tmp_path):
    os.kill(own_process.pid, signal.SIGKILL)
    run = own_process.experiment(tmp_path / "out", "reviews").start(name="first", tags={})
    with run.ending():
        pass
    found = tracking.connect(tmp_path / "out").get_run(run.run_id)
    assert (found.info.run_name, found.info.status) == ("first", "FINISHED")


@pytest.mark.slow
def test_settings_made_after_its_start_are_its_settings(own_process, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/other.db")
    monkeypatch.chdir(tmp_path)
    run = own_process.experiment(Path("out"), "reviews").start(name=None, tags={})
    with run.ending():
        pass
    assert tracking.connect(tmp_path / "out").get_run(run.run_id).info.status == "FINISHED"
    assert (tmp_path / "other.db").exists()
    assert not (tmp_path / "out" / "mlflow.db").exists()


@pytest.mark.slow
def test_it_ends_with_a_parent_that_is_killed(tmp_path):
    program = f"""
import os, sys
from pathlib import Path
from sentiment.tracking.beside import beside
from sentiment.tracking.origin import process_identity
with beside() as process:
    run = process.experiment(Path({str(tmp_path)!r}), "reviews").start(name=None, tags={{}})
    print(process.pid, Path(f"/proc/{{process.pid}}/stat").read_text().rpartition(")")[2].split()[19])
    sys.stdout.flush()
    os.kill(os.getpid(), 9)
"""
    environment = {**os.environ, "LOKY_MAX_CPU_COUNT": "2"}
    found = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    pid, start = found.stdout.split()
    identity = f"{os.uname().nodename}:{pid}:{start}"
    wait_for(lambda: is_gone(identity), 20, "the other process ends")
    client = tracking.connect(tmp_path)
    (run,) = client.search_runs([tracking.experiment_id(client, "reviews", tmp_path)])
    assert run.info.status == "KILLED"


@pytest.mark.slow
def test_a_training_by_the_command_line_does_not_import_mlflow(tmp_path):
    program = f"""
import json, sys
from sentiment.cli.train import run
words = ["experiment=quick", "data.sample_size=200", "output_dir={tmp_path}"]
run(words)
print(json.dumps([name for name in ("mlflow", "sqlalchemy", "matplotlib") if name in sys.modules]))
"""
    environment = {**os.environ, "LOKY_MAX_CPU_COUNT": "2"}
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True
    )
    assert json.loads(found.stdout.splitlines()[-1]) == []
