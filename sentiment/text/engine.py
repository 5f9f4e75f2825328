"""Who computes: threads of this process, or whatever else maps a function over items in order."""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import Any, Protocol, TypeVar

from sentiment.text.corpus import thread_count

_MMAP_THRESHOLD = -3  # glibc's number of the option
_LARGE = 2 << 20

T = TypeVar("T")
R = TypeVar("R")


class Engine(Protocol):
    """Calls a function for many items, several at a time."""

    @property
    def cores(self) -> int:
        """How many items are computed at a time."""
        ...

    def map(self, function: Callable[..., R], items: Iterable[T], **shared: Any) -> Iterator[R]:
        """Yield ``function(item, **shared)`` in the order of the items.

        A few items are taken ahead, so that memory is bounded however many there are.

        Parameters
        ----------
        function : callable
            Of a module, so that another process can find it; calling it twice does no harm.
        items : iterable
        shared : object
            The same for every item.
        """
        ...


class Threads:
    """The threads of this process."""

    @property
    def cores(self) -> int:
        """How many items are computed at a time."""
        return thread_count()

    def map(self, function: Callable[..., R], items: Iterable[T], **shared: Any) -> Iterator[R]:
        """Yield ``function(item, **shared)`` in the order of the items: see `Engine`."""
        n = self.cores
        waiting: deque[Future[R]] = deque()
        executor = ThreadPoolExecutor(n)
        try:
            for item in items:
                waiting.append(executor.submit(call, function, item, shared))
                if len(waiting) > n:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            # Whoever stops (an error, Ctrl-C) does not wait for what nobody asks for any more.
            executor.shutdown(wait=True, cancel_futures=True)


class Watched:
    """An engine that tells of each item that is done.

    Parameters
    ----------
    engine : Engine
    tell : callable
        Told how many are done.
    """

    def __init__(self, engine: Engine, tell: Callable[[int], None]) -> None:
        self._engine = engine
        self._tell = tell
        self._done = 0

    @property
    def cores(self) -> int:
        """How many items are computed at a time."""
        return self._engine.cores

    def map(self, function: Callable[..., R], items: Iterable[T], **shared: Any) -> Iterator[R]:
        """Yield ``function(item, **shared)`` in the order of the items: see `Engine`."""
        for result in self._engine.map(function, items, **shared):
            self._done += 1
            self._tell(self._done)
            yield result


def call(function: Callable[..., R], item: Any, shared: dict[str, Any]) -> R:
    """Return ``function(item, **shared)``, and what it took of memory to the system."""
    try:
        return function(item, **shared)
    finally:
        give_back()


def give_back() -> None:
    """Return freed memory to the system; threads' arenas of the C library keep it for themselves."""
    if (trim := _of_glibc("malloc_trim")) is not None:
        trim(0)


def own_pages() -> None:
    """Let each large array have pages of its own from now on, that the system has back when it is freed.

    glibc does so from 128 KB on, and from more with each that is freed, up to 32 MB: a process that has
    freed many of less holds hundreds of megabytes between what it still uses.
    """
    if (option := _of_glibc("mallopt")) is not None:
        option(_MMAP_THRESHOLD, _LARGE)


@cache
def _of_glibc(name: str) -> Callable[..., int] | None:
    """Return a function of glibc; other systems' libraries have none of the name."""
    try:
        found: Callable[..., int] = getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):
        return None
    return found
