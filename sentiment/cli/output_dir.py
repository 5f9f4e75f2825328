"""The ``--output-dir`` option that every command without Hydra shares."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

OutputDir = Annotated[
    Path,
    typer.Option(
        "--output-dir",
        envvar="SENTIMENT_OUTPUT_DIR",
        help="Where runs and models lie.",
    ),
]
