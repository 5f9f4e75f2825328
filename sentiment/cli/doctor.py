"""``sentiment doctor``: what this machine has, and what is missing for what."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sentiment.cli.output_dir import OutputDir

SLOW_STARTS = (
    "packages are compiled anew at every start (PYTHONDONTWRITEBYTECODE); once: "
    "uv sync --compile-bytecode"
)


def doctor(
    output_dir: OutputDir = Path("outputs"),
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Check the installation: packages, extras, tools, models and where runs go."""
    from sentiment.cli.console import emit_json
    from sentiment.installation import installation

    found = installation(output_dir)
    if json_:
        emit_json(found)
    else:
        _print(found, output_dir / "models")
    if None in found["packages"].values() or not found["writable"]:
        raise typer.Exit(1)


def _print(found: dict[str, Any], models: Path) -> None:
    from sentiment.cli.console import stdout
    from sentiment.errors import DISTRIBUTION
    from sentiment.installation import TOOLS

    console = stdout()
    console.print(f"python {found['python']}, {found['cpus']} cores, sqlite {found['sqlite']}")
    for name, version in found["packages"].items():
        console.print(f"  {name:<22} {version or 'MISSING'}")
    if not found["bytecode"]:
        console.print(f"  {SLOW_STARTS}")
    for name, there in found["extras"].items():
        state = "installed" if there else f"absent: pip install '{DISTRIBUTION}[{name}]'"
        console.print(f"  extra {name:<12} {state}")
    for name, path in found["tools"].items():
        console.print(f"  {name:<18} {path or 'absent, needed for ' + TOOLS[name]}")
    console.print(f"runs go to {found['tracking_uri']}")
    console.print(f"models lie in {models}{'' if found['writable'] else ' (NOT WRITABLE)'}")
    for name, there in found["pointers"].items():
        fix = "sentiment train" if name == "latest" else "sentiment register --promote"
        console.print(f"  {name:<18} {'set' if there else f'not set: {fix}'}")
