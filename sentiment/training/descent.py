"""How far scikit-learn's solvers are: some tell that to standard output, and to nothing else.

``sag`` and ``saga`` print their passes from C, past Python's standard output: they tell nothing.
"""

from __future__ import annotations

import contextlib
import io
import math
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
_NEWTON = ("Newton-CG iter = ", "  Check Convergence", "  Solver did converge")
_GRADIENT = re.compile(r" *max \|gradient\| <= tol: (\S+) <= ")

Tell = Callable[[int, int], None]
"""Told how much is done, and of how much (0: not known)."""


class Fall:
    """How far a solver is by its gradient, which falls by about the same factor with each step.

    Parameters
    ----------
    tol : float
        The largest part of the gradient with which it is content.
    """

    def __init__(self, tol: float) -> None:
        self._tol = tol
        self._first = self._least = 0.0

    def __call__(self, gradient: float) -> float:
        """Return the share of the way that is done; 0 is not known.

        Parameters
        ----------
        gradient : float
            Its largest part now.
        """
        if not self._first:
            self._first = self._least = gradient
        self._least = max(min(self._least, gradient), self._tol)
        if not math.inf > self._first > self._tol > 0.0:
            return 0.0
        return math.log(self._first / self._least) / math.log(self._first / self._tol)


@contextmanager
def passes(classifier: Any, n_classes: int, tell: Tell) -> Iterator[None]:
    """Tell of each pass over the rows while the body fits an `SGDClassifier`.

    Parameters
    ----------
    classifier : SGDClassifier
    n_classes : int
        More than two are fitted one after the other, each against the rest.
    tell : callable
        Told how many passes are done, of how many at most: descent may end before.
    """
    most = int(classifier.max_iter)
    total = most * (n_classes if n_classes > 2 else 1)
    tell(0, total)
    with _heard(classifier, _Passes(most, lambda done: tell(done, total))):
        yield


@contextmanager
def newton_steps(classifier: Any, tell: Tell) -> Iterator[None]:
    """Tell of each step while the body fits a `LogisticRegression` by Newton's method with ``newton-cg``.

    Parameters
    ----------
    classifier : LogisticRegression
    tell : callable
        Told how many steps are done, and of about how many, by the gradient's fall.
    """
    with _heard(classifier, _Steps(Fall(float(classifier.tol)), tell)):
        yield


@contextmanager
def _heard(classifier: Any, output: _Heard) -> Iterator[None]:
    asked = classifier.verbose
    output.shown = bool(asked)
    classifier.verbose = asked or 1
    try:
        with contextlib.redirect_stdout(output):
            yield
    finally:
        classifier.verbose = asked


class _Heard(io.TextIOBase):
    """A standard output that hears a solver's lines, and hands on whatever else is written."""

    def __init__(self) -> None:
        self.shown = False  # whether the user has asked for these lines
        self._beneath = sys.stdout
        self._lock = threading.Lock()  # classes may be fitted in threads
        self._line = threading.local()

    def hear(self, text: str) -> bool:
        """Take a line, and tell whether it is the solver's."""
        raise NotImplementedError

    def write(self, text: str) -> int:
        if text == "\n" and getattr(self._line, "ours", False):
            self._line.ours = False
            return 1
        with self._lock:
            ours = self.hear(text)
        if ours and not self.shown:
            self._line.ours = True  # its end comes next
            return len(text)
        return int(self._beneath.write(text))

    def flush(self) -> None:
        self._beneath.flush()


class _Passes(_Heard):
    def __init__(self, most: int, tell: Callable[[int], None]) -> None:
        super().__init__()
        self._most = most
        self._tell = tell
        self._done = 0

    def hear(self, text: str) -> bool:
        if converged := _CONVERGED.match(text):  # the passes that were not needed
            self._done += self._most - int(converged[1])
        elif text.startswith(_DONE):
            self._done += 1
        else:
            return text.startswith((_BEGUN, _FIGURES))
        self._tell(self._done)
        return True


class _Steps(_Heard):
    def __init__(self, fall: Fall, tell: Tell) -> None:
        super().__init__()
        self._fall = fall
        self._tell = tell
        self._done = -1  # the gradient is told before the first step

    def hear(self, text: str) -> bool:
        if found := _GRADIENT.match(text):
            self._done += 1
            share = self._fall(float(found[1]))
            self._tell(self._done, round(self._done / share) if share else 0)
            return True
        return text.startswith(_NEWTON)
