"""The command line as a user meets it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
import yaml

ROOT = Path(__file__).resolve().parents[2]


def test_help_names_the_five_commands(cli):
    answer = cli("--help")
    assert answer.code == 0
    for command in ("train", "sweep", "register", "predict", "serve"):
        assert f"\n  {command} " in answer.out


def test_help_imports_nothing_heavy():
    code = "import sys; from sentiment.cli import build_app; build_app(); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    heavy = {
        "numpy",
        "polars",
        "pandas",
        "sklearn",
        "scipy",
        "mlflow",
        "hydra",
        "datasets",
        "fastapi",
    }
    assert not heavy & set(loaded.stdout.split())


def test_one_command_imports_no_other():
    code = (
        "import sys; from sentiment.cli import build_app; build_app('predict'); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    commands = {word for word in done.stdout.split() if word.startswith("sentiment.cli.")}
    assert "sentiment.cli.predict" in commands
    assert not commands & {"sentiment.cli.train", "sentiment.cli.models", "sentiment.cli.serve"}


def test_the_help_is_the_same_whatever_is_imported(cli):
    from sentiment.cli import COMMANDS, build_app

    group = typer.main.get_command(build_app())
    assert isinstance(group, typer.core.TyperGroup)
    assert set(group.commands) == set(COMMANDS)
    out = cli("--help").out
    for command, summary in COMMANDS.items():
        assert f"\n  {command} " in out
        assert summary in out, "cut short: it must fit a line"


@pytest.mark.parametrize(
    "words", [["nonsense"], ["predict", "--no-such-option"], ["train", "--json=3"]]
)
def test_wrong_usage_exits_2(cli, words):
    answer = cli(*words)
    assert answer.code == 2
    assert not answer.out
    assert "Traceback" not in answer.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["data", "--lables"], "no such option: --lables; did you mean '--labels'?"),
        (["train", "--jsn"], "no such option: --jsn; did you mean '--json'?"),
        (["retrain", "--gat", "strict"], "no such option: --gat; did you mean '--gate'?"),
        (["sweep", "--cfg", "nonsense", "model.C=1,2"], "invalid choice: 'nonsense'"),
        (["train", "model.C=1", "--config-name"], "expected one argument"),
        (["register", "output_dir=/x"], "write --output-dir /x"),
        (["models", "list", "output_dir=/x"], "Here it is an option: --output-dir"),
    ],
)
def test_an_option_that_is_none_is_said_in_a_line(cli, words, said):
    """Of commands that leave some to Hydra too, whose usage nobody wants to read."""
    answer = cli(*words)
    assert answer.code == 2
    assert not answer.out
    assert said in answer.err.splitlines()[-1]
    assert "usage:" not in answer.err


@pytest.mark.parametrize("command", [["sweep"], ["train", "-m"]])
def test_a_sweep_takes_files_as_a_training_does(cli, tmp_path, command):
    for name in ("a.csv", "b.csv"):
        rows = [f"{word} {name} {i},{word}" for i in range(40) for word in ("good", "bad")]
        (tmp_path / name).write_text("\n".join(["body,kind", *rows]) + "\n")
    files = [tmp_path / "a.csv", tmp_path / "b.csv"]
    options = ["--text", "body", "--label", "kind", "--json"]
    answer = cli(
        *command, *files, *options, "model.C=1,2", "sweep.dry_run=true", f"output_dir={tmp_path}"
    )
    assert answer.code == 0, answer.err
    assert f"data.train='{files[0]},{files[1]}'" in answer.err.replace("'\"'\"'", "'")
    assert [job["overrides"] for job in answer.document["jobs"]] == [["model.C=1"], ["model.C=2"]]


def test_debug_shows_the_traceback(monkeypatch, tmp_path):
    words = ["train", "data=files", "data.train=nope.csv", f"output_dir={tmp_path}"]
    run = [sys.executable, "-m", "sentiment", *words]
    plain = subprocess.run(run, capture_output=True, text=True, check=False)
    assert (plain.returncode, "Traceback" in plain.stderr) == (2, False)
    debug = subprocess.run([*run, "--debug"], capture_output=True, text=True, check=False)
    assert "Traceback" in debug.stderr
    assert "DataError" in debug.stderr


def test_config_prints_yaml_keys_and_options(cli):
    whole = cli("config", "model=logreg", "model.C=0.5")
    assert yaml.safe_load(whole.out)["model"]["C"] == 0.5
    assert "model.C=0.5\n" in cli("config", "model=logreg", "model.C=0.5", "--keys").out
    assert "linear_svc | logreg | naive_bayes" in cli("config", "--options").out
    assert cli("config", "--json").document["data"]["name"] == "reviews"
    assert cli("config", "modle=x").code == 2


def test_data_describes_what_would_be_read(cli):
    answer = cli("data", "data=rotten_tomatoes", "data.sample_size=100", "--json")
    assert answer.document["train"]["rows"] == 70
    assert answer.document["train"]["labels"] == {"negative": 35, "positive": 35}
    shown = cli("data", "data=rotten_tomatoes", "data.sample_size=100")
    assert "negative:" in shown.out


def test_doctor_reports_the_machine(cli, tmp_path):
    answer = cli("doctor", "--output-dir", tmp_path, "--json")
    assert answer.code == 0
    assert answer.document["pointers"] == {"latest": False, "champion": False}
    assert (
        "latest             not set: sentiment train" in cli("doctor", "--output-dir", tmp_path).out
    )


def test_completion_offers_groups_and_options():
    from sentiment.cli.completion import complete

    assert "model=" in complete([], "mo")
    assert complete([], "model=lo") == ["model=logreg"]
    assert "model.alpha=" in complete([], "model.")
    assert "model.solver=" in complete(["model=logreg"], "model.s")
    assert complete([], "vectorizer.max_f") == ["vectorizer.max_features="]
    assert complete([], "vectorizer.binary=t") == ["vectorizer.binary=true"]
    assert complete([], "sweep.method=p") == ["sweep.method=paired"]
    assert complete([], "see") == ["seed="]
    assert complete([], "nothing") == []


def test_the_schema_knows_the_keys_and_is_the_one_that_is_shipped(cli):
    schema = json.loads(cli("config", "--schema").out)
    assert json.loads((ROOT / "configs/schema.json").read_text()) == schema
    model = schema["properties"]["model"]["anyOf"][0]
    assert "C" in model["properties"]
    assert "c" not in model["properties"]
    assert model["additionalProperties"] is False
    assert schema["properties"]["data"]["properties"]["val_size"]["default"] == 0.1
    for file in (ROOT / "configs/experiment").glob("*.yaml"):
        assert "# yaml-language-server: $schema=../schema.json" in file.read_text()


def test_ctrl_c_exits_130_and_leaves_no_model(tmp_path):
    words = ["train", f"output_dir={tmp_path}", "model=linear_svc"]
    process = subprocess.Popen(
        [sys.executable, "-m", "sentiment", *words],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    for line in process.stderr:  # the first stage is over: well inside the work
        if "load" in line:
            break
    time.sleep(0.2)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert err.endswith("interrupted\n")
    assert not (tmp_path / "models").exists()


def test_ctrl_c_while_a_class_is_made_exits_130(tmp_path):
    """Dataclasses run strings; of an interrupt in one, Python dies at the end whoever caught it."""
    (tmp_path / "interrupted.py").write_text(
        "import time\nfrom sentiment import __main__, cli\n"
        "def run():\n exec('import signal; signal.raise_signal(signal.SIGINT)')\n time.sleep(60)\n"
        "cli.main = run\n__main__.main()\n"
    )
    command = [sys.executable, "-m", "interrupted"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


def test_ctrl_c_before_the_first_import_is_one_line_and_afterwards_nothing():
    """While the command line is still imported; and while a process that is done takes its leave."""
    early = "import sys\nclass Stop:\n def find_spec(*_): raise KeyboardInterrupt\n"
    early += "from sentiment.__main__ import main\nsys.meta_path.insert(0, Stop())\nmain()"
    late = "import atexit, os, signal, sys\nfrom sentiment.__main__ import main\n"
    late += "atexit.register(os.kill, os.getpid(), signal.SIGINT)\n"
    late += "sys.argv[1:] = ['--version']\nmain()"
    # Where Python would drop it, it comes a moment later.
    cleared = "import signal, sys, time\nfrom sentiment import __main__, cli\nclass Thing:\n"
    cleared += " def __del__(self): signal.raise_signal(signal.SIGINT); print('cleared')\n"
    cleared += "def run():\n Thing()\n time.sleep(60)\ncli.main = run\n__main__.main()"
    for program, code, said in (
        (early, 130, "interrupted\n"),
        (late, 0, ""),
        (cleared, 130, "interrupted\n"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", program], check=False, capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (code, said)


def test_the_arrows_of_import_point_down():
    linter = pytest.importorskip("importlinter.cli")

    before = Path.cwd()
    os.chdir(ROOT)
    try:
        assert linter.lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True) == 0
    finally:
        os.chdir(before)


@pytest.mark.parametrize(("closed", "said"), [("1", ""), ("2", "data.train"), ("0,1,2", "")])
def test_streams_that_are_closed_lead_nowhere(tmp_path, closed, said):
    code = f"""
import os, sys
for number in ({closed},):
    os.close(number)
os.execv(sys.executable, [sys.executable, "-m", "sentiment", "config", "data=files", "data.train=a.csv"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert ("train: a.csv" in done.stdout) == bool(said)


def test_a_working_folder_that_is_gone_is_told(tmp_path):
    code = """
import os, sys
os.mkdir("gone"); os.chdir("gone"); os.rmdir("../gone")
os.execv(sys.executable, [sys.executable, "-m", "sentiment", "config"])
"""
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, capture_output=True, text=True, check=False, cwd=tmp_path)
    said = "error: the folder that this was started in is gone: go to one that is there\n"
    assert (done.returncode, done.stderr) == (2, said)
