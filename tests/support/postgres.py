"""A real PostgreSQL on loopback, for the length of some tests."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from support.waiting import free_port, wait_for

BINARIES = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)


class Postgres:
    """A server that can be stopped and started again with what it holds."""

    def __init__(self, folder: Path, initdb: Path, user: str | None) -> None:
        self.folder = folder
        self.user = user
        self.port = free_port()
        self.address = f"mlflow@127.0.0.1:{self.port}/postgres"
        words = ["-D", str(folder / "data"), "-U", "mlflow", "--auth=trust", "--no-sync"]
        subprocess.run([initdb, *words], check=True, capture_output=True, user=user, cwd=folder)
        self._program = initdb.with_name("postgres")
        self.start()

    def start(self) -> None:
        log = (self.folder / "log").open("ab")
        self._process = subprocess.Popen(
            [
                *(self._program, "-D", self.folder / "data", "-h", "127.0.0.1"),
                *("-p", str(self.port), "-k", self.folder, "-c", "fsync=off"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=log,
            user=self.user,
            cwd=self.folder,
        )
        log.close()
        wait_for(self._answers, 60, "PostgreSQL")

    def _answers(self) -> bool:
        """It listens a moment before it is ready: ask for TLS, and see who says no."""
        assert self._process.poll() is None, (self.folder / "log").read_text()
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as sock:
            sock.sendall(b"\0\0\0\x08\x04\xd2\x16\x2f")
            return sock.recv(1) == b"N" and b"ready to accept" in (self.folder / "log").read_bytes()
        return False

    def stop(self) -> None:
        """Stop at once, whoever is connected."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(30)
        (self.folder / "log").write_bytes(b"")


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Start a server; the test is skipped where there is none."""
    found = shutil.which("initdb") or (BINARIES and str(BINARIES / "initdb"))
    if not found or not Path(found).exists():
        pytest.skip("PostgreSQL's initdb is not installed")
    user = None
    if os.getuid() == 0:  # it refuses to run as root
        try:
            user = pwd.getpwnam("postgres").pw_name
        except KeyError:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
    folder = Path(tempfile.mkdtemp(prefix="sentiment-postgres-"))
    if user is not None:
        shutil.chown(folder, user)
    try:
        server = Postgres(folder, Path(found), user)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def pooler(server: Postgres) -> Iterator[str]:
    """Start PgBouncer before a server, one connection for all transactions; yield its address."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        pytest.skip("PgBouncer is not installed")
    port = free_port()
    settings = server.folder / "pgbouncer.ini"
    settings.write_text(
        f"[databases]\npostgres = host=127.0.0.1 port={server.port} user=mlflow\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\n"
        "unix_socket_dir =\npool_mode = transaction\ndefault_pool_size = 1\n"
        # What goes wrong between it and the server is tried again at once.
        "server_login_retry = 1\nserver_connect_timeout = 5\nquery_wait_timeout = 20\n"
    )
    settings.chmod(0o644)
    with (server.folder / "pgbouncer.log").open("wb") as log:
        process = subprocess.Popen(
            [program, settings], stdout=subprocess.DEVNULL, stderr=log, user=server.user
        )

    def answers() -> bool:
        assert process.poll() is None, "PgBouncer ended"
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False

    try:
        wait_for(answers, 20, "PgBouncer")
        yield f"mlflow@127.0.0.1:{port}/postgres"
    finally:
        print((server.folder / "pgbouncer.log").read_text())  # shown of a test that fails
        process.terminate()
        process.wait(20)
