"""Where a run comes from: code, process, repository."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path

from sentiment.tracking.tags import GIT_COMMIT, GIT_DIRTY

_PACKAGE = Path(__file__).resolve().parents[1]


@cache
def code_hash() -> str:
    """Return the SHA-256 of the package's sources: what a run's result depends on besides config and data."""
    digest = hashlib.sha256()
    for source in sorted(_PACKAGE.rglob("*.py")):
        digest.update(str(source.relative_to(_PACKAGE)).encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()


def search_path() -> list[str]:
    """Return where another Python finds what this one has.

    A model that MLflow has loaded here put its own part of this package in front, which would be all
    that the other finds of it.
    """

    def has_another(place: str) -> bool:
        other = Path(place) / "sentiment" / "__init__.py"
        return other.is_file() and not other.samefile(_PACKAGE / "__init__.py")

    return [place for place in sys.path if not has_another(place)]


def process_identity() -> str:
    """Return host, number and start of this process: what tells a run's process from a later one."""
    return f"{socket.gethostname()}:{os.getpid()}:{_process_start(os.getpid())}"


def is_gone(identity: str) -> bool:
    """Tell whether the process of `process_identity` has ended; one of another host counts as alive."""
    host, pid, start = identity.rsplit(":", 2)
    return host == socket.gethostname() and _process_start(int(pid)) != start


def _process_start(pid: int) -> str:
    """Return when a process started in the kernel's ticks, ``gone``, or ``unknown`` where it runs."""
    try:
        # The name in parentheses may hold anything; state and start are fields after it.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "gone" if fields[0] == "Z" else fields[19]
    except OSError:
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return "gone"
    except PermissionError:
        pass
    return "unknown"


def git_state() -> dict[str, str]:
    """Return commit and dirtiness of the repository that the command stands in, or nothing."""

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", *words], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        commit = git("rev-parse", "HEAD")
        dirty = bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return {}
    return {GIT_COMMIT: commit, GIT_DIRTY: str(dirty).lower()}
