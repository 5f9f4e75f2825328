"""Processes that end with who started them; a kill -9 of the parent tells them nothing."""

from __future__ import annotations

import os
import threading
import time
from functools import cache

_VARIABLE = "SENTIMENT_PARENT_PID"


@cache
def end_with_parent(parent: int) -> None:
    """End this process within a second or two of its parent; may be called again.

    Parameters
    ----------
    parent : int
        Its process id, as it knows it itself: who asks for it here gets that of another when it has
        died since the start.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="parent").start()


def bound_environment() -> dict[str, str]:
    """Return the environment for a command that is to end with this process."""
    return {**os.environ, _VARIABLE: str(os.getpid())}


def end_as_bound() -> None:
    """End with the process that `bound_environment` was made by, where there is one."""
    parent = os.environ.pop(_VARIABLE, None)  # not for this process's own children
    if parent is not None:
        end_with_parent(int(parent))
