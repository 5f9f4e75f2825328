"""The stages of a run: timed, and told to whoever watches."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sentiment.text.engine import give_back

log = logging.getLogger(__name__)


class Stages:
    """Times the named stages of a run and tells whoever watches.

    Parameters
    ----------
    watch : callable, optional
        Called with a stage's name when it begins, and with name and seconds when it ends.
    progress : callable, optional
        Called with a step of a stage, its parts that are done, and how many there are (0: not known).
    """

    def __init__(
        self,
        watch: Callable[[str, float | None], None] | None = None,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> None:
        self.timings: dict[str, float] = {}
        self._watch = watch or (lambda _name, _seconds: None)
        self.progress = progress or (lambda _step, _done, _of: None)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time the body as stage ``name``."""
        give_back()  # what the stage before has let go
        self._watch(name, None)
        begin = time.perf_counter()
        yield
        seconds = time.perf_counter() - begin
        self.timings[name] = self.timings.get(name, 0.0) + seconds
        log.info("%s: %.2f s", name, seconds)
        self._watch(name, seconds)
