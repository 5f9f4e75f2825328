"""Whether Python keeps what it compiles here: without, every command compiles all that it imports."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path


def remedy() -> str | None:
    """Return what makes starts quick, None where they are."""
    if not sys.dont_write_bytecode:
        return None
    package = find_spec("mlflow")  # the largest
    if package is None or package.cached is None or Path(package.cached).exists():
        return None
    return (
        "packages are compiled anew at every start (PYTHONDONTWRITEBYTECODE); once: "
        "uv sync --compile-bytecode"
    )
