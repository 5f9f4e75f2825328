"""Where commands print: results on stdout, everything else on stderr.

Rich's markup is off: what a file or a label holds is shown as it is. Styles are given as `Text`.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any, Self

from sentiment.progress import Pace, clock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console


def stderr() -> Console:
    """Return a console for progress, logs and warnings; plain text when not a terminal."""
    from rich.console import Console

    return Console(stderr=True, markup=False, highlight=False, soft_wrap=not sys.stderr.isatty())


def stdout() -> Console:
    """Return a console for results that people read; plain text when not a terminal."""
    from rich.console import Console

    return Console(markup=False, highlight=False, soft_wrap=not sys.stdout.isatty())


def short_name(key: str, keys: Sequence[str]) -> str:
    """Return the last part of a dotted key, or all of it where that is not enough."""
    leaf = key.rsplit(".", 1)[-1]
    return leaf if sum(other.rsplit(".", 1)[-1] == leaf for other in keys) == 1 else key


def emit_json(document: Any) -> None:
    """Print one JSON document on one line of stdout (one call per row gives JSON Lines).

    Not-a-number values become ``null``: JSON has no word for them.
    """
    from sentiment.records.writer import finite

    sys.stdout.write(json.dumps(finite(document), ensure_ascii=False, allow_nan=False) + "\n")
    sys.stdout.flush()


class Meter:
    """Rate and remaining time on stderr: one line redrawn on a terminal, else one every 30 s."""

    def __init__(self) -> None:
        self.rows = 0
        self._terminal = sys.stderr.isatty()
        self._begin = self._shown = time.monotonic()
        self._first: tuple[int, float] | None = None
        self._drawn = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def __call__(self, rows: int, fraction: float | None) -> None:
        """Take note of the rows done and of the share of the input read."""
        self.rows = rows
        now = time.monotonic()
        if self._first is None:
            self._first = (rows, fraction or 0.0)
        if now - self._shown < (0.2 if self._terminal else 30.0):
            return
        self._shown = now
        elapsed = now - self._begin
        rate = (rows - self._first[0]) / elapsed
        line = f"{rows} rows, {rate:.0f} rows/s"
        done = (fraction or 0.0) - self._first[1]
        if fraction is not None and done > 0 and fraction < 1:
            line += f", {fraction:.0%}, {clock(elapsed / done * (1 - fraction))} left"
        if self._terminal:
            print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
            self._drawn = True
        else:
            print(line, file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Remove the line."""
        if self._drawn:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._drawn = False


class StepMeter:
    """Tells how far a step is, its rate and what remains: on the status line, else every 30 s."""

    def __init__(
        self, update: Callable[[str], None] | None, print_line: Callable[[str], None]
    ) -> None:
        self._show = update or print_line
        self._every = 0.5 if update is not None else 30.0
        self._pace, self._shown = Pace(), time.monotonic()

    def __call__(self, step: str, done: int, total: int) -> None:
        """Take note of the parts of a step that are done, and of how many there are (0: not known)."""
        now = time.monotonic()
        rate = self._pace(step, done)
        if now - self._shown < self._every or rate is None:
            return
        self._shown = now
        line = f"{step}: {done}, {rate:.2g}/s"
        if total and rate:
            left = clock((total - done) / rate)
            line = f"{step}: {done / total:.0%}, {rate:.2g}/s, {left} left"
        self._show(line)
