"""``sentiment serve``: the HTTP service."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from serve.settings import Settings


def serve(
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="REF",
            help="champion, latest, a digest, a scorer directory, models:/NAME@ALIAS or "
            "runs:/RUN_ID. [default: champion, else latest]",
        ),
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address. [default: 127.0.0.1]")] = None,
    port: Annotated[
        int | None, typer.Option(help="Port; 0 takes a free one. [default: 8000]")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Processes. [default: 1]")] = None,
    reload_model: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", help="How soon a moved champion serves; 0: never. [default: 5]"
        ),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Start not ready when there is no model yet.")
    ] = False,
    output_dir: Annotated[
        Path | None,
        typer.Option(
            "--output-dir", help="Where models lie. [env: SENTIMENT_OUTPUT_DIR; default: outputs]"
        ),
    ] = None,
) -> int:
    """Serve predictions over HTTP: a page at /, the API at /docs.

    Every other setting is an environment variable: SENTIMENT_API_KEYS, SENTIMENT_MAX_BODY_BYTES,
    SENTIMENT_DRAIN_SECONDS and so on; see serve/settings.py.
    """
    from sentiment.store import is_remote, resolve
    from serve.settings import load_settings

    given = {
        "model": model,
        "host": host,
        "port": port,
        "workers": workers,
        "reload_model": reload_model,
        "wait_for_model": wait or None,
        "output_dir": output_dir,
    }
    settings = load_settings(**given)
    puller = None
    if settings.model is not None and is_remote(settings.model):
        puller = _pull_command(settings)
    elif not settings.wait_for_model:
        reference = settings.model
        if reference is None:
            from sentiment.store import read_pointer

            champion = read_pointer(settings.output_dir, "champion")
            reference = "latest" if champion is None else "champion"
        resolve(reference, settings.output_dir)  # says what is missing before anything starts

    # Workers read the environment: it is the one way settings reach them.
    for name, value in given.items():
        if value is not None:
            os.environ[f"SENTIMENT_{name.upper()}"] = str(value)

    from serve.process.supervisor import run

    return run(settings, puller)


def _pull_command(settings: Settings) -> list[str]:
    """Return the command that keeps the local champion where the registry's alias points."""
    watch = settings.reload_model or 30.0
    return [
        *(sys.executable, "-m", "sentiment", "models", "pull", str(settings.model)),
        *("--watch", f"{watch:g}", "--output-dir", str(settings.output_dir)),
    ]
