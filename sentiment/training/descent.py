"""How far scikit-learn's descent along the gradient is: it tells that to standard output alone."""

from __future__ import annotations

import contextlib
import io
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_BEGUN = "-- Epoch "
_FIGURES = "Norm: "
_DONE = "Total training time: "
_CONVERGED = re.compile(r"Convergence after (\d+) epochs")


@contextmanager
def watched(classifier: Any, n_classes: int, tell: Callable[[int, int], None]) -> Iterator[None]:
    """Tell of each pass over the rows while the body fits an `SGDClassifier`.

    Parameters
    ----------
    classifier : SGDClassifier
    n_classes : int
        More than two are fitted one after the other, each against the rest.
    tell : callable
        Told how many passes are done, of how many at most: descent may end before.
    """
    most, asked = int(classifier.max_iter), classifier.verbose
    total = most * (n_classes if n_classes > 2 else 1)
    passes = _Passes(sys.stdout, most, lambda done: tell(done, total), heard=bool(asked))
    tell(0, total)
    classifier.verbose = asked or 1
    try:
        with contextlib.redirect_stdout(passes):
            yield
    finally:
        classifier.verbose = asked


class _Passes(io.TextIOBase):
    """A standard output that counts the lines of descent, and hands on whatever else is written."""

    def __init__(
        self, beneath: Any, most: int, tell: Callable[[int], None], *, heard: bool
    ) -> None:
        self._beneath = beneath
        self._most = most
        self._tell = tell
        self._heard = heard  # the user has asked for these lines
        self._done = 0
        self._lock = threading.Lock()  # classes may be fitted in threads
        self._line = threading.local()

    def write(self, text: str) -> int:
        if text == "\n" and getattr(self._line, "ours", False):
            self._line.ours = False
            return 1
        converged = _CONVERGED.match(text)
        with self._lock:
            if converged:  # the passes that were not needed
                self._done += self._most - int(converged[1])
            elif text.startswith(_DONE):
                self._done += 1
        if converged or text.startswith(_DONE):
            self._tell(self._done)
        ours = converged or text.startswith((_BEGUN, _FIGURES, _DONE))
        if ours and not self._heard:
            self._line.ours = True  # its end comes next
            return len(text)
        return int(self._beneath.write(text))

    def flush(self) -> None:
        self._beneath.flush()
