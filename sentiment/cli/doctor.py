"""``sentiment doctor``: what this machine has, and what is missing for what."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Annotated

import typer

from sentiment.cli.output_dir import OutputDir

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
    import platform
    import sqlite3

    from sentiment.cli.bytecode import remedy
    from sentiment.cli.console import emit_json, stdout
    from sentiment.errors import DISTRIBUTION
    from sentiment.tracking.address import shown, tracking_uri

    needed = _requirements()
    packages = {name: _version(name) for name in needed[""]}
    extras = {
        extra: all(_version(name) is not None for name in names)
        for extra, names in needed.items()
        if extra
    }
    slow = remedy()
    tools = {name: shutil.which(name) for name in _TOOLS}
    models = output_dir / "models"
    found = {
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "packages": packages,
        "bytecode": slow is None,
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
            console.print(f"  {name:<22} {version or 'MISSING'}")
        if slow:
            console.print(f"  {slow}")
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


def _requirements() -> dict[str, list[str]]:
    """Return what this distribution needs, by extra; under the empty name what it always does."""
    import importlib.metadata

    from packaging.requirements import Requirement

    from sentiment.errors import DISTRIBUTION

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
