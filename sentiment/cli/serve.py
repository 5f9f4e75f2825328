"""``sentiment serve``: the HTTP service."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from sentiment.errors import ModelNotFoundError, UsageError


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
    from serve.model import check_there
    from serve.settings import load_settings, to_environment

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
    if settings.shadow is not None:
        try:
            check_there(settings.shadow, settings.output_dir)
        except ModelNotFoundError as error:
            print(f"warning: nothing in the shadow yet: {error}", file=sys.stderr)
    if not settings.wait_for_model:
        check_there(settings.model, settings.output_dir)
    to_environment(given)

    from serve.process.supervisor import run

    return run(settings)
