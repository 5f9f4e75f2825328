"""Start the service: one process, or a parent and its workers.

The parent imports everything once and forks, so that workers start in milliseconds and share
the memory of what was imported. It owns the listening socket (a killed worker loses none of the
connections that wait there) and the directory of the workers' metrics. It replaces workers that
die or hang, and takes dead ones out of the live gauges.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import importlib
import logging
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from multiprocessing.connection import wait
from pathlib import Path
from types import FrameType
from typing import Any

from sentiment.errors import SentimentError, UsageError
from serve.claim import kept_key
from serve.process.json_log import configure_logging
from serve.process.listening import refuse_new_connections
from serve.process.puller import Pullers
from serve.process.server import AT_ONCE, HAND_OVER, PoliteServer, server_config
from serve.settings import Settings

logger = logging.getLogger("sentiment.serve")

LOOK_SECONDS = 0.25
# A worker whose event loop has not turned for so long is hung: the longest it may be held up,
# parsing the largest body, is a fraction of a second.
HUNG_SECONDS = 30.0
START_SECONDS = 60.0
# A worker that lived for so long did not die of what killed those before it.
STEADY_SECONDS = 60.0
LONGEST_PAUSE = 30.0
# So late a look tells that this whole machine had no time.
STALL_SECONDS = 1.0
_METRICS = "sentiment-metrics-"
_OWNER = "owner"
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
# Forking is what makes workers start at once and share memory; only Linux does it safely.
_CONTEXT: Any = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")


def run(settings: Settings) -> int:
    """Serve until told to stop.

    The settings must also stand in the environment, from which each worker reads them.

    Parameters
    ----------
    settings : Settings
        Models that it names in a registry are brought by processes beside the service.

    Returns
    -------
    int
        The exit code: 0 after SIGTERM, 130 after Ctrl-C, 1 when a worker cannot start.

    Raises
    ------
    UsageError
        The address cannot be listened on.
    """
    configure_logging(settings.log_level)
    # Scoring has no use for BLAS threads, and forking with them is asking for trouble.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Any worker takes the answer to any worker's prediction.
    if not settings.feedback_keys:
        os.environ["SENTIMENT_FEEDBACK_KEY"] = kept_key(settings.output_dir)
    sock = bind(settings.host, settings.port)
    pullers = Pullers(settings)
    try:
        if settings.workers == 1:
            server = PoliteServer(server_config(settings), settings, every_tick=pullers.look)
            server.run([sock])
            code = 0 if server.started else 1
            return 130 if server.left_by == signal.SIGINT else code
        return _run_workers(settings, sock, pullers)
    finally:
        pullers.stop()
        sock.close()


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Raises
    ------
    UsageError
        The address is taken or not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(2048)
    except OSError as error:
        sock.close()
        raise UsageError(
            f"cannot listen on {host}:{port}: {error.strerror or error}; "
            "choose another address with --host and --port"
        ) from None
    shown = f"[{host}]" if family == socket.AF_INET6 else host
    logger.info("listening on http://%s:%d", shown, sock.getsockname()[1])
    return sock


def _run_workers(settings: Settings, sock: socket.socket, pullers: Pullers) -> int:
    directory = _metrics_dir()
    # prometheus_client decides when it is imported whether its values live in files.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
    try:
        for module in ("serve.app", "uvloop", "httptools"):
            importlib.import_module(module)
        gc.freeze()
        return _Supervisor(settings, sock, pullers, directory).run()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _metrics_dir() -> Path:
    """Make the directory of the workers' metrics; remove those whose processes were killed."""
    for lock in Path(tempfile.gettempdir()).glob(f"{_METRICS}*/{_OWNER}"):
        with contextlib.suppress(OSError), lock.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.parent, ignore_errors=True)
            logger.info("removed %s, which a killed service left", lock.parent)
    directory = Path(tempfile.mkdtemp(prefix=_METRICS))
    # Held by this process and, inherited, by its workers, until the last of them is gone. The
    # file gets its name with the lock on it.
    fresh = directory / f"{_OWNER}.new"
    owner = os.open(fresh, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(owner, fcntl.LOCK_EX)
    fresh.rename(directory / _OWNER)
    return directory


class _Worker:
    """One worker process, and when its event loop last turned."""

    def __init__(self, settings: Settings, sock: socket.socket, failures: int = 0) -> None:
        self.born = time.monotonic()
        self.failures = failures  # how many before it, in its place, died soon
        self.replace_at: float | None = None  # once it is dead
        self.heartbeat = _CONTEXT.RawValue("d", 0.0)
        self.process = _CONTEXT.Process(
            target=_work,
            args=(settings, sock, self.heartbeat, os.getpid(), failures > 0),
        )
        self.process.start()

    @property
    def started(self) -> bool:
        return bool(self.heartbeat.value)

    def hung(self, since: float) -> bool:
        """Whether its loop has not turned for too long, of the time since the given one."""
        last: float = max(self.heartbeat.value, since)
        return time.monotonic() - last > (HUNG_SECONDS if self.started else START_SECONDS)

    def send(self, number: int) -> None:
        if self.process.is_alive():
            os.kill(self.process.pid, number)


class _Supervisor:
    """The parent: starts workers, replaces them, and leads them out."""

    def __init__(
        self, settings: Settings, sock: socket.socket, pullers: Pullers, directory: Path
    ) -> None:
        from prometheus_client import CollectorRegistry, Counter

        self.settings = settings
        self.sock = sock
        self.pullers = pullers
        self.directory = directory
        self.workers: list[_Worker] = []
        self.signals: list[int] = []
        self.served = False  # whether any worker ever started
        self.awake_since = 0.0
        # In a file of the parent's own; the workers read it at a scrape like any other.
        self.restarts = Counter(
            "sentiment_worker_restarts_total",
            "Workers that died or hung and were replaced.",
            registry=CollectorRegistry(),
        )

    def run(self) -> int:
        """Serve until a signal; return the exit code."""
        for handled in _SIGNALS:
            signal.signal(handled, self._on_signal)
        self.workers = [self._start() for _ in range(self.settings.workers)]
        while True:
            looked = time.monotonic()
            wait(
                [w.process.sentinel for w in self.workers if w.replace_at is None],
                timeout=LOOK_SECONDS,
            )
            if time.monotonic() - looked > LOOK_SECONDS + STALL_SECONDS:
                # The machine was paused, or busy with others: the workers were too.
                self.awake_since = time.monotonic()
            while self.signals:
                number = self.signals.pop(0)
                if number != signal.SIGHUP:
                    return self._stop(number)
                self._restart_each()
            if not self._replace_dead():
                self._stop(signal.SIGINT)
                return 1
            self.pullers.look()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self.signals.append(number)

    def _start(self, failures: int = 0) -> _Worker:
        # A signal between the fork and the worker's own handlers would be lost: hold them back.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            return _Worker(self.settings, self.sock, failures)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)

    def _replace_dead(self) -> bool:
        """Replace workers that died or hang; False when they cannot even start."""
        self.served = self.served or any(worker.started for worker in self.workers)
        now = time.monotonic()
        for position, worker in enumerate(self.workers):
            if worker.replace_at is not None:
                if now >= worker.replace_at:
                    self.workers[position] = self._start(worker.failures)
                continue
            hung = worker.hung(max(worker.born, self.awake_since))
            if worker.process.is_alive() and not hung:
                continue
            worker.process.kill()
            self._bury(worker)
            if not worker.started and not self.served:
                logger.error("a worker cannot start: stopping")
                return False
            self.restarts.inc()
            if now - worker.born > STEADY_SECONDS:
                worker.failures = 0
            pause = min(2.0**worker.failures - 1.0, LONGEST_PAUSE)
            worker.failures += 1
            worker.replace_at = now + pause
            logger.error(
                "worker %d %s after %.1f s: replacing it%s",
                worker.process.pid,
                "hung" if hung else f"ended with {worker.process.exitcode}",
                now - worker.born,
                f" in {pause:g} s" if pause else "",
            )
        return True

    def _restart_each(self) -> None:
        """Replace every worker by a fresh one, each only when its successor serves."""
        for position, worker in enumerate(self.workers):
            successor = self._start()
            while not successor.started:
                if successor.hung(successor.born) or not successor.process.is_alive():
                    logger.error("a new worker does not start: keeping the old ones")
                    successor.process.kill()
                    self._bury(successor)
                    return
                time.sleep(0.02)
            self.workers[position] = successor
            worker.send(HAND_OVER)
            self._bury(worker)

    def _bury(self, worker: _Worker) -> None:
        from serve.metrics import take_out

        worker.process.join()
        take_out(self.directory, worker.process.pid)

    def _stop(self, number: int) -> int:
        """Lead the workers out: drain, let nobody new in, wait for the last answers."""
        for worker in self.workers:
            worker.send(signal.SIGTERM if number == signal.SIGTERM else signal.SIGQUIT)
        now = time.monotonic()
        close_at = now + (self.settings.drain_seconds if number == signal.SIGTERM else 0.0)
        give_up_at = close_at + 2 * self.settings.shutdown_timeout + 5.0
        closed = False
        while any(worker.process.is_alive() for worker in self.workers):
            wait([worker.process.sentinel for worker in self.workers], timeout=0.02)
            now = time.monotonic()
            if self.signals:
                at_once = signal.SIGINT in self.signals and number == signal.SIGINT
                self.signals.clear()
                close_at = now
                for worker in self.workers:
                    worker.send(AT_ONCE if at_once else signal.SIGQUIT)
            if now >= close_at and not closed:
                refuse_new_connections(self.sock)
                closed = True
            if now >= give_up_at:
                for worker in self.workers:
                    worker.process.kill()
        for worker in self.workers:
            self._bury(worker)
        return 130 if number == signal.SIGINT else 0


def _work(
    settings: Settings, sock: socket.socket, heartbeat: Any, parent: int, replaces: bool
) -> None:
    """Be a worker."""
    configure_logging(settings.log_level)
    if replaces:
        # One that takes a dead one's place and finds the model damaged says so and waits for a
        # good one, instead of dying again and again.
        os.environ["SENTIMENT_WAIT_FOR_MODEL"] = "1"

    def beat() -> None:
        heartbeat.value = time.monotonic()

    server = PoliteServer(server_config(settings), settings, parent, every_tick=beat)
    try:
        server.run([sock])
    except SentimentError as error:
        logger.error("%s", error)  # noqa: TRY400 - the message says it all
        sys.exit(error.exit_code)
