"""Progress bars of the Python API: in a notebook or a terminal, and nowhere else.

Rich draws both. A notebook gets its picture as HTML that is replaced, so that no widget has to be
installed and a saved notebook keeps the last state.
"""

from __future__ import annotations

import contextlib
import contextvars
import io
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

T = TypeVar("T")

_EVERY = 0.2  # seconds
_SHORT = 0.05  # a stage that took less is not kept
_PATIENCE = 0.5  # what is over sooner shows no bar
_WIDTH = 78  # of a notebook's picture, in characters
_one = threading.Lock()  # bars within bars, or of two threads, would draw over each other


def is_shown(progress: bool | None) -> bool:
    """Tell whether bars are shown: as asked, else where a person looks on."""
    if progress is not None:
        return progress
    return in_notebook() or bool(getattr(sys.stderr, "isatty", lambda: False)())


def in_notebook() -> bool:
    """Tell whether the output of this process goes to a notebook."""
    ipython: Any = sys.modules.get("IPython")  # a notebook has imported it
    return hasattr(ipython.get_ipython(), "kernel") if ipython is not None else False


@contextmanager
def bars(progress: bool | None) -> Iterator[Progress | None]:
    """Show bars while the body runs, and give what they are added to; None: they are not shown.

    Parameters
    ----------
    progress : bool, optional
        Whether they are shown; by default in a notebook or a terminal.
    """
    if not is_shown(progress) or not _one.acquire(blocking=False):
        yield None
        return
    try:
        with _drawn() as shown:
            yield shown
    finally:
        _one.release()


@contextmanager
def _drawn() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    notebook = in_notebook()
    # Where it is recorded for a notebook, nothing is printed.
    console = (
        Console(
            file=io.StringIO(), record=True, width=_WIDTH, force_jupyter=False,
            force_terminal=True, color_system="truecolor", _environ={},
        )
        if notebook
        else Console(stderr=True)
    )  # fmt: skip
    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.elapsed:5.1f} s"),
        TextColumn("{task.fields[note]}", markup=False),
        console=console,
        refresh_per_second=1 / _EVERY,
        redirect_stdout=False,
    )
    if not notebook:
        with progress:
            yield progress
        return
    display: Any = import_module("IPython.display").display
    handle = display(_picture(progress), raw=True, display_id=True)
    try:
        with repeating(lambda: handle.update(_picture(progress), raw=True), _EVERY):
            yield progress
    finally:
        handle.update(_picture(progress), raw=True)


def _picture(progress: Progress) -> dict[str, str]:
    """Return the bars as a notebook shows them."""
    console = progress.console
    console.print(progress.get_renderable())
    html = console.export_html(
        inline_styles=True, clear=False,
        code_format='<pre style="line-height:1.3;background:none">{code}</pre>',
    )  # fmt: skip
    return {"text/html": html, "text/plain": console.export_text()}


@contextmanager
def repeating(action: Callable[[], None], seconds: float) -> Iterator[None]:
    """Call ``action`` every so many seconds, in a thread, while the body runs."""
    over = threading.Event()

    def repeat() -> None:
        while not over.wait(seconds):
            action()

    # A notebook knows by the context which cell a picture belongs to.
    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(repeat,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class Pace:
    """How fast the steps of a work go, each counted from the first figure that it tells."""

    def __init__(self) -> None:
        self._step, self._first, self._begun = "", 0, 0.0

    def __call__(self, step: str, done: int) -> float | None:
        """Return the parts a second of a step of which so many are done; None before there is a rate."""
        now = time.monotonic()
        if step != self._step:
            self._step, self._first, self._begun = step, done, now
        since = now - self._begun
        return (done - self._first) / since if since > 0 else None


class StageBars:
    """A bar for each stage of a training: what `sentiment.training.run.train` tells is drawn.

    Parameters
    ----------
    progress : Progress, optional
        Without it nothing is shown.
    """

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._bars: dict[str, TaskID] = {}
        self._now = ""
        self._pace = Pace()

    def watch(self, stage: str, seconds: float | None) -> None:
        """Take note of a stage that begins, or that has ended after some seconds."""
        if self._progress is None:
            return
        if seconds is None:
            self._now, self._pace = stage, Pace()
            if stage not in self._bars:
                self._bars[stage] = self._progress.add_task(f"{stage:<10}", total=None, note="")
            return
        bar = self._bars[stage]
        self._progress.update(bar, total=1, completed=1, note="")
        self._progress.stop_task(bar)
        if seconds < _SHORT:
            self._progress.remove_task(self._bars.pop(stage))

    def step(self, step: str, done: int, total: int) -> None:
        """Take note of the parts of a step that are done, and of how many there are (0: not known)."""
        if self._progress is None or self._now not in self._bars:
            return
        rate = self._pace(step, done)
        note = f"{step}: {done:,}"
        if total:
            note = f"{step}: {min(done / total, 1.0):.0%}"
        if total and rate:
            note += f", {clock((total - done) / rate)} left"
        self._progress.update(self._bars[self._now], total=total or None, completed=done, note=note)


def follow(progress: bool | None, parts: Iterable[T], sizes: Sequence[int]) -> Iterator[T]:
    """Yield the scored parts of many texts, with a bar where that takes longer than a moment.

    Parameters
    ----------
    progress : bool, optional
        Whether it is shown; by default in a notebook or a terminal.
    parts : iterable
    sizes : sequence of int
        Number of texts of each part.
    """
    begun, done, total = time.monotonic(), 0, sum(sizes)
    with contextlib.ExitStack() as stack:
        shown, bar = None, None
        for part, size in zip(parts, sizes, strict=True):
            done += size
            seconds = time.monotonic() - begun
            if bar is None and seconds > _PATIENCE:
                shown = stack.enter_context(bars(progress))
                progress = False  # asked once: another bar may have the place
                if shown is not None:
                    bar = shown.add_task("texts", total=total, note="")
            if shown is not None and bar is not None:
                left = seconds / done * (total - done)
                note = f"{done:,} of {total:,}, {done / seconds:,.0f}/s"
                note += f", {clock(left)} left" if done < total else ""
                shown.update(bar, completed=done, note=note)
            yield part


def clock(seconds: float) -> str:
    """Return a time such as 1:05 or 2:00:00."""
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
