"""``sentiment serve``: the HTTP service."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sentiment.errors import UsageError

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
    shadow: Annotated[
        str | None,
        typer.Option(
            "--shadow",
            metavar="REF",
            help="A challenger that scores what the champion answers, unseen: an alias, a digest, "
            "a scorer directory or models:/NAME@ALIAS. GET /model/shadow compares.",
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
    if sys.platform == "win32":  # no forking, no signals: the service is made of them
        raise UsageError(
            "`sentiment serve` needs Linux or macOS: on Windows run it in WSL or in a container; "
            "the other commands work here"
        )
    from sentiment.store import is_remote, pointer_of, resolve
    from serve.settings import load_settings

    given = {
        "model": model,
        "host": host,
        "port": port,
        "workers": workers,
        "reload_model": reload_model,
        "shadow": shadow,
        "wait_for_model": wait or None,
        "output_dir": output_dir,
    }
    settings = load_settings(**given)
    pullers = []
    if settings.shadow is not None:
        if is_remote(settings.shadow):
            alias = pointer_of(settings.shadow)
            pullers.append(_pull_command(settings, settings.shadow, "--as", alias))
        else:
            _warn_without(settings.shadow, settings.output_dir)
    if settings.model is not None and is_remote(settings.model):
        pullers.append(_pull_command(settings, settings.model))
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

    return run(settings, pullers)


def _warn_without(reference: str, output_dir: Path) -> None:
    """Say that there is no challenger yet: the champion serves all the same."""
    from sentiment.errors import ModelNotFoundError
    from sentiment.store import resolve

    try:
        resolve(reference, output_dir)
    except ModelNotFoundError as error:
        print(f"warning: nothing in the shadow yet: {error}", file=sys.stderr)


def _pull_command(settings: Settings, reference: str, *words: str) -> list[str]:
    """Return the command that keeps a local pointer where the registry's alias points."""
    watch = settings.reload_model or 30.0
    return [
        *(sys.executable, "-m", "sentiment", "models", "pull", reference, *words),
        *("--watch", f"{watch:g}", "--output-dir", str(settings.output_dir)),
    ]
