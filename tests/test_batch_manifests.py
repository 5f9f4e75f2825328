"""Jobs for Kubernetes that are applied one by one: valid, and their commands exist."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sentiment import config

BATCH = Path(__file__).resolve().parents[1] / "docker/kubernetes/batch"
pytestmark = pytest.mark.skipif(not BATCH.is_dir(), reason="not a checkout")


def manifest(name: str):
    return yaml.safe_load((BATCH / name).read_text())


def check_schema(document, folder: Path) -> None:
    validate = shutil.which("kubernetes-validate", path=str(Path(sys.executable).parent))
    if validate is None:
        pytest.skip("kubernetes-validate is not installed")
    file = folder / "manifest.yaml"
    file.write_text(yaml.safe_dump(document))
    for version in ("1.30", "1.37"):
        words = [validate, "--kubernetes-version", version, "--strict", str(file)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_indexed_job_is_valid_and_each_index_has_its_own_input_and_output(
    tmp_path, cli, monkeypatch
):
    job = manifest("score_job.yaml")
    check_schema(job, tmp_path)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    words = shlex.split(container["command"][-1].removeprefix("exec "))
    assert words[:2] == ["sentiment", "predict"]
    options = {word for word in words if word.startswith("--")}
    monkeypatch.setenv("COLUMNS", "200")
    shown = cli("predict", "--help").out
    assert all(option in shown for option in options)
    for option in ("--input", "--output"):
        assert "$JOB_COMPLETION_INDEX" in words[words.index(option) + 1]
    named = {variable["name"] for variable in container["env"]}
    assert {"MODEL", "INPUT", "OUTPUT"} <= named


def test_the_ray_job_asks_for_a_training_that_exists_on_pods_that_are_valid(tmp_path):
    """KubeRay's own schema is not at hand: what it takes from Kubernetes is checked, and what we run."""
    job = manifest("train_rayjob.yaml")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    command, verb, *overrides = shlex.split(job["spec"]["entrypoint"])
    assert (command, verb) == ("sentiment", "train")
    cfg = config.compose(overrides)  # an unknown key or value is refused
    assert (cfg.engine.name, cfg.engine.address) == ("ray", "auto")
    cluster = job["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for group in groups:
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        metadata = {"name": "pod"}
        check_schema(
            {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, **group["template"]}, tmp_path
        )
        # All see the blocks.
        (container,) = group["template"]["spec"]["containers"]
        mounts = [Path(mount["mountPath"]) for mount in container["volumeMounts"]]
        assert any(Path(cfg.cache.dir).is_relative_to(mount) for mount in mounts)
    for group in cluster["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
