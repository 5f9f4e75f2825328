"""The words that Hydra reads, as an argument of our commands, with shell completion."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

# Words that are not ours are Hydra's: -m, --cfg and the like.
HYDRA_SETTINGS = {"allow_extra_args": True, "ignore_unknown_options": True}


def complete(incomplete: str) -> list[str]:
    """Complete ``GROUP=OPTION`` from the config files, without importing Hydra."""
    package = Path(__file__).resolve().parents[1]
    folder = package / "configs"
    if not folder.is_dir():
        folder = package.parent / "configs"
    options = [f"{file.parent.name}={file.stem}" for file in sorted(folder.glob("*/*.yaml"))]
    if "=" not in incomplete:
        options = sorted({option.split("=")[0] + "=" for option in options})
    return [option for option in options if option.startswith(incomplete)]


Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[OVERRIDES]...",
        help="KEY=VALUE changes a key, GROUP=OPTION chooses a file of configs/.",
        show_default=False,
        autocompletion=complete,
    ),
]
