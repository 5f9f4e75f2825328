"""What this machine has of what the program uses, and what is missing for what."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sqlite3
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sentiment import store
from sentiment.errors import DISTRIBUTION
from sentiment.tracking.address import shown, tracking_uri

TOOLS = {
    "git": "run tags with the commit",
    "docker": "the container stack (just docker-up)",
    "prometheus": "local monitoring (just monitor)",
    "just": "short recipes (uv run just)",
}
"""Programs beside Python, and what each is for."""


def installation(output_dir: Path) -> dict[str, Any]:
    """Return what there is: packages, extras, tools, models, and where runs go.

    Parameters
    ----------
    output_dir : Path

    Returns
    -------
    dict
        JSON values. ``packages`` holds versions, None where one is missing; ``extras`` whether all of
        their packages are there.
    """
    needed = _requirements()
    return {
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "packages": {name: _version(name) for name in needed.pop("")},
        "bytecode": keeps_bytecode(),
        "extras": {
            extra: all(_version(name) is not None for name in names)
            for extra, names in needed.items()
        },
        "tools": {name: shutil.which(name) for name in TOOLS},
        "sqlite": sqlite3.sqlite_version,
        "output_dir": str(output_dir.resolve()),
        "writable": os.access(output_dir if output_dir.exists() else Path.cwd(), os.W_OK),
        "tracking_uri": shown(tracking_uri(output_dir)),
        "pointers": {
            which: store.pointer_file(output_dir, which).exists() for which in store.POINTERS
        },
    }


def keeps_bytecode() -> bool:
    """Tell whether Python keeps what it compiles; else every command compiles all that it imports."""
    if not sys.dont_write_bytecode:
        return True
    package = find_spec("mlflow")  # the largest
    return package is None or package.cached is None or Path(package.cached).exists()


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _requirements() -> dict[str, list[str]]:
    """Return what this distribution needs, by extra; under the empty name what it always does."""
    from packaging.requirements import Requirement

    try:
        about = importlib.metadata.metadata(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return {"": [DISTRIBUTION]}
    extras = ["", *about.get_all("Provides-Extra", [])]
    found = [Requirement(line) for line in about.get_all("Requires-Dist", [])]

    def needed(extra: str) -> set[str]:
        return {
            one.name for one in found if one.marker is None or one.marker.evaluate({"extra": extra})
        }

    return {extra: sorted(needed(extra) - (needed("") if extra else set())) for extra in extras}
