"""Clusters of Ray and of Spark whose nodes are all on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.waiting import free_port, wait_for


@contextmanager
def cluster_of(n_nodes: int, memory: int = 80 << 20) -> Iterator[Any]:
    """A cluster of nodes of one core, each with an object store of so many bytes."""
    os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": memory}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    try:
        for _ in range(n_nodes - 1):
            cluster.add_node(**node)
        cluster.wait_for_nodes()
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


@contextmanager
def spark_master(n_workers: int, folder: Path) -> Iterator[str]:
    """A standalone master of Spark with workers of one core; give its address.

    What they log goes into the folder.
    """
    pyspark = pytest.importorskip("pyspark", reason="the extra spark is not installed")
    if shutil.which("java") is None:
        pytest.skip("Java is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    address = f"spark://127.0.0.1:{port}"
    running: list[tuple[subprocess.Popen[bytes], Path]] = []

    def start(kind: str, *words: str) -> None:
        told = folder / f"{len(running)}.log"
        command = [
            str(Path(pyspark.__file__).parent / "bin" / "spark-class"),
            f"org.apache.spark.deploy.{kind.lower()}.{kind}", "--webui-port", str(free_port()),
        ]  # fmt: skip
        with told.open("wb") as log:
            process = subprocess.Popen([*command, *words], stdout=log, stderr=log)
        running.append((process, told))

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        try:
            start("Master", "--host", "127.0.0.1", "--port", str(port))
            wait_for(lambda: b"New state: ALIVE" in running[0][1].read_bytes(), what="master")
            kept = ["--memory", "1g", "--work-dir", str(folder / "work")]
            for _ in range(n_workers):
                start("Worker", "--cores", "1", *kept, address)
            registered = b"Successfully registered with master"
            wait_for(
                lambda: all(registered in log.read_bytes() for _, log in running[1:]),
                what="workers",
            )
            yield address
        finally:
            for process, _ in reversed(running):
                process.terminate()
                process.wait(timeout=30)
