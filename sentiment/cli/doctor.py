"""``sentiment doctor``: what this machine has, and what is missing for what."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Annotated

import typer

from sentiment.cli.output_dir import OutputDir

_PACKAGES = (
    "numpy", "polars", "scikit-learn", "hydra-core", "mlflow", "datasets", "fastapi", "uvicorn",
    "prometheus-client",
)  # fmt: skip
_EXTRAS = {"optuna": "optuna", "postgres": "psycopg2", "s3": "boto3"}
_TOOLS = {
    "git": "run tags with the commit",
    "docker": "the container stack (just docker-up)",
    "prometheus": "local monitoring (just monitor)",
    "just": "short recipes (uv run just)",
}


def doctor(
    output_dir: OutputDir = Path("outputs"),
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Check the installation: packages, extras, tools, models and where runs go."""
    import importlib.util
    import platform
    import sqlite3
    import sys

    from sentiment.cli.console import emit_json, stdout
    from sentiment.errors import DISTRIBUTION
    from sentiment.tracking.address import shown, tracking_uri

    packages = {name: _version(name) for name in _PACKAGES}
    extras = {
        name: importlib.util.find_spec(module) is not None for name, module in _EXTRAS.items()
    }
    tools = {name: shutil.which(name) for name in _TOOLS}
    models = output_dir / "models"
    found = {
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "packages": packages,
        "bytecode": _compiled("mlflow") or not sys.dont_write_bytecode,
        "extras": extras,
        "tools": tools,
        "sqlite": sqlite3.sqlite_version,
        "output_dir": str(output_dir.resolve()),
        "writable": os.access(output_dir if output_dir.exists() else Path.cwd(), os.W_OK),
        "tracking_uri": shown(tracking_uri(output_dir)),
        "pointers": {name: (models / f"{name}.json").exists() for name in ("latest", "champion")},
    }
    missing = [name for name, version in packages.items() if version is None]
    if json_:
        emit_json(found)
    else:
        console = stdout()
        console.print(f"python {found['python']}, {found['cpus']} cores, sqlite {found['sqlite']}")
        for name, version in packages.items():
            console.print(f"  {name:<18} {version or 'MISSING'}")
        if not found["bytecode"]:
            console.print(
                "  packages are compiled anew at every start (PYTHONDONTWRITEBYTECODE); "
                "once: uv sync --compile-bytecode"
            )
        for name, there in extras.items():
            state = "installed" if there else f"absent: pip install '{DISTRIBUTION}[{name}]'"
            console.print(f"  extra {name:<12} {state}")
        for name, path in tools.items():
            console.print(f"  {name:<18} {path or 'absent, needed for ' + _TOOLS[name]}")
        console.print(f"runs go to {found['tracking_uri']}")
        writable = "" if found["writable"] else " (NOT WRITABLE)"
        console.print(f"models lie in {models}{writable}")
        for name in ("latest", "champion"):
            there = (models / f"{name}.json").exists()
            fix = "sentiment train" if name == "latest" else "sentiment register --promote"
            console.print(f"  {name:<18} {'set' if there else f'not set: {fix}'}")
    if missing or not found["writable"]:
        raise typer.Exit(1)


def _version(name: str) -> str | None:
    import importlib.metadata

    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _compiled(package: str) -> bool:
    """Whether a package lies here with its bytecode."""
    import importlib.util

    spec = importlib.util.find_spec(package)
    return spec is not None and spec.cached is not None and Path(spec.cached).exists()
