"""Parts of another package: installed, found by Hydra's search path, used by every command."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PACKAGE = Path(__file__).parents[1] / "example_package"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The package as an installer leaves it, in a folder of its own."""
    folder = tmp_path_factory.mktemp("installed")
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("no uv here to install with")
    done = subprocess.run(
        [
            *(uv, "pip", "install", "--quiet", "--no-deps", "--python", sys.executable),
            *("--target", folder / "lib", PACKAGE),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "UV_OFFLINE": os.environ.get("UV_OFFLINE", "0")},
    )
    if done.returncode:
        pytest.skip(f"the package cannot be built here: {done.stderr.strip()[-200:]}")
    return folder


def sentiment(folder, *words, trusted=""):
    environment = {
        **os.environ,
        "PYTHONPATH": str(folder / "lib"),
        "SENTIMENT_TRUSTED_TYPES": trusted,
    }
    return subprocess.run(
        [sys.executable, "-m", "sentiment", *map(str, words)],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_its_vectorizer_model_and_metric_train_and_answer(installed):
    words = ("hydra.searchpath=[pkg://example_parts.configs]", "experiment=example")
    done = sentiment(
        installed, "train", *words, "data=rotten_tomatoes", "data.sample_size=300", "--json"
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["metrics"]["test_mean_cost"] > 0
    assert result["params"]["model.sharpness"] == 4.0
    # The types were trusted in that run alone; here whoever asks names them, or is told how.
    refused = sentiment(installed, "predict", "SO GOOD!")
    assert refused.returncode == 1
    fix = refused.stderr.rpartition("SENTIMENT_TRUSTED_TYPES=")[2].strip()
    assert set(fix.split(",")) == {"example_parts.ShoutCounter", "example_parts.Nearest"}
    told = sentiment(installed, "predict", "SO GOOD!", trusted=fix)
    assert told.stdout.split("\t")[0] in ("positive", "negative"), told.stderr


def test_a_metric_that_is_none_is_one_line(cli, tmp_path):
    small = ("data=rotten_tomatoes", "data.sample_size=200", f"output_dir={tmp_path}")
    for word, said in (
        ("+metrics.x._target_=no.such.function", "metrics.x: "),
        ("+metrics.x=1", "needs a function"),
    ):
        answer = cli("train", *small, word)
        assert answer.code == 2
        assert said in answer.err.splitlines()[-1]
