"""Engines that compute elsewhere: the same functions over the same items, on a cluster."""

from __future__ import annotations

import logging
import os
import re
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from sentiment.errors import MissingExtraError, Parameter, SentimentError, UsageError, nearest
from sentiment.text.engine import Engine, Threads, call

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

NAMES = ("local", "ray", "spark")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_RETRIES = 5  # of a task whose node has died
_PATIENCE = 10.0  # seconds until a cluster that gives no core is spoken of


@contextmanager
def engine(name: str, address: str | None = None) -> Iterator[Engine]:
    """Give an engine, and leave its cluster at the end.

    Parameters
    ----------
    name : {'local', 'ray', 'spark'}
    address : str, optional
        Of a cluster that runs; without one, of a small one on this machine.

    Raises
    ------
    UsageError
        There is no such engine, or no cluster answers there.
    MissingExtraError
        What it needs is not installed.
    """
    check(name, address)
    if name == "local":
        yield Threads()
        return
    with _ray(address) if name == "ray" else _spark(address) as found:
        yield found


def check(name: str, address: str | None = None) -> None:
    """Refuse, at once, an engine that cannot be had; what it raises is what `engine` does.

    Parameters
    ----------
    name, address
        As there.
    """
    if name == "local":
        return
    if name not in NAMES:
        raise UsageError(
            Parameter("engine", name, key="engine"),
            f": no such engine{nearest(name, NAMES)} (there are: {', '.join(NAMES)})",
        )
    if find_spec("ray" if name == "ray" else "pyspark") is None:
        raise MissingExtraError(f"engine {name}", name)
    if name == "ray" and address not in (None, "auto", "local"):
        _check_address(str(address), 6379)
    if name == "spark" and address is not None and address.startswith("spark://"):
        _check_address(address, 7077)


def _check_address(address: str, port: int) -> None:
    """Refuse an address where nobody listens: a cluster's own client would wait for minutes.

    Spark takes several masters, with commas between, of which one must be there.
    """
    reasons = []
    for each in address.rpartition("://")[2].split(","):
        host, colon, given = each.rpartition(":")
        try:
            there = (host, int(given)) if colon else (each, port)
            socket.create_connection(there, timeout=5).close()
        except (OSError, ValueError) as error:
            reasons.append(str(error))
        else:
            return
    raise UsageError(
        Parameter("engine_address", address, key="engine.address"),
        f": no cluster answers there ({'; '.join(reasons)})",
    )


def _await_core(given: Callable[[], bool], told: Callable[[], str]) -> None:
    """Give a cluster some seconds for a first core, and say what it lacks: its own client waits in silence.

    It goes on waiting then: cores may come, or be given back.
    """
    end = time.monotonic() + _PATIENCE
    while not given():
        if time.monotonic() >= end:
            log.warning("%s; waiting for one (Ctrl-C stops)", told())
            return
        time.sleep(0.2)


def _task(item: Any, function: Callable[..., R], shared: dict[str, Any]) -> R:
    """Call a function in a task of a cluster, which has one core of its machine."""
    os.environ["LOKY_MAX_CPU_COUNT"] = os.environ["POLARS_MAX_THREADS"] = "1"
    return call(function, item, shared)


def _ray_task(item: Any, function: Callable[..., R], **shared: Any) -> R:
    return _task(item, function, shared)  # Ray looks for what it holds among the words alone


class _Ray:
    """Tasks of a Ray cluster: what a dead node had begun is done again by another."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        # Else tasks go where their arguments lie: to the node of the driver, while others wait.
        self._task = ray.remote(max_retries=_RETRIES, scheduling_strategy="SPREAD")(_ray_task)

    @property
    def cores(self) -> int:
        """How many items are computed at a time: nodes may come and go."""
        return max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def map(self, function: Callable[..., R], items: Iterable[T], **shared: Any) -> Iterator[R]:
        """Yield ``function(item, **shared)`` in the order of the items: see `Engine`."""
        ray = self._ray
        held = {
            name: value if value is None or isinstance(value, int | str) else ray.put(value)
            for name, value in shared.items()
        }
        waiting: deque[Any] = deque()
        ahead = 2 * self.cores
        try:
            for item in items:
                waiting.append(self._task.remote(item, function, **held))
                if len(waiting) > ahead:
                    yield self._result(waiting.popleft())
            while waiting:
                yield self._result(waiting.popleft())
        finally:
            for reference in waiting:
                ray.cancel(reference, force=False)

    def _result(self, reference: Any) -> Any:
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            cause = error.cause
            if isinstance(cause, SentimentError | OSError | ValueError):
                raise cause from None
            if not isinstance(cause, self._ray.exceptions.RayError):
                raise
            raise _given_up(cause) from error
        except self._ray.exceptions.RayError as error:
            raise _given_up(error) from error


def _given_up(error: Exception) -> SentimentError:
    said = " ".join(_COLOURS.sub("", str(error)).split())[:200]
    return SentimentError(f"the Ray cluster gave up a task: {said}")


@contextmanager
def _ray(address: str | None) -> Iterator[_Ray]:
    # `uv run` would be run again on every node, for a project that is not there.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if address not in (None, "local"):
        # Where something else listens, twenty attempts of half a minute would be made.
        os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "1")
        os.environ.setdefault("RAY_py_gcs_connect_timeout_s", "10")
    import ray

    import sentiment

    ours = not ray.is_initialized()
    if ours:
        try:
            ray.init(
                address=address or "local",
                log_to_driver=False,
                logging_level=logging.ERROR,
                include_dashboard=False if address is None else None,
                # Every node runs the code of this one.
                runtime_env={"py_modules": [str(Path(sentiment.__file__).parent)]},
            )
        except (ConnectionError, RuntimeError, OSError) as error:
            said = " ".join(str(error).split())[:200]
            raise UsageError(
                Parameter("engine_address", address, key="engine.address"),
                f": no Ray cluster answers ({said})",
            ) from None
    try:
        _await_core(
            lambda: ray.available_resources().get("CPU", 0) >= 1,
            lambda: (
                f"the Ray cluster at {ray.get_runtime_context().gcs_address} has no free core (it has "
                f"{int(ray.cluster_resources().get('CPU', 0))} in all): `ray start` elsewhere adds some"
            ),
        )
        # Ray tells of nodes that die on standard output, which is the caller's.
        with redirect_stdout(sys.stderr):
            yield _Ray(ray)
    finally:
        if ours:
            ray.shutdown()


def _spark_task(item: Any, function: Callable[..., R], shared: dict[str, Any]) -> R | Exception:
    try:
        return _task(item, function, shared)
    except (SentimentError, OSError, ValueError) as error:
        return error  # what is raised there comes back as Java's words about it


class _Spark:
    """Tasks of a Spark application, all of them at a time."""

    def __init__(self, context: Any) -> None:
        self._context = context

    @property
    def cores(self) -> int:
        """How many items are computed at a time."""
        return int(self._context.defaultParallelism)

    def map(self, function: Callable[..., R], items: Iterable[T], **shared: Any) -> Iterator[R]:
        """Yield ``function(item, **shared)`` in the order of the items: see `Engine`."""
        every = list(items)
        held = self._context.broadcast(shared)
        rows = self._context.parallelize(every, max(1, len(every)))
        try:
            tasks = rows.map(lambda item: _spark_task(item, function, held.value))
            for result in tasks.collect():
                if isinstance(result, Exception):
                    raise result
                yield result
        finally:
            held.unpersist()


@contextmanager
def _spark(address: str | None) -> Iterator[_Spark]:
    from sentiment.spark import session

    with session(address) as spark:
        context = spark.sparkContext
        # Others give workers when a task asks for one.
        dynamic = context.getConf().get("spark.dynamicAllocation.enabled", "false") == "true"
        if context.master.startswith("spark://") and not dynamic:
            workers = context._jsc.sc().getExecutorMemoryStatus  # the driver is one of them
            memory = context.getConf().get("spark.executor.memory", "1g")
            _await_core(
                lambda: workers().size() > 1,
                lambda: (
                    f"the Spark master {context.master} has given no worker: none is there, or none has a "
                    f"free core and {memory} of memory; `start-worker.sh {context.master}` adds one"
                ),
            )
        yield _Spark(context)
