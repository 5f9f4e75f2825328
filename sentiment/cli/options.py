"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

INPUT = "FILE|FOLDER|GLOB|URL|-"
"""What an input may be: see `sentiment.records.places.find`."""

Delimiter = Annotated[
    str | None,
    typer.Option(metavar="CHARACTER", help="Of a table: , ; | or tab (found from the header)."),
]
Quote = Annotated[
    str | None,
    typer.Option(
        metavar="CHARACTER", help="Of a table; none where quotes are text (found from the rows)."
    ),
]
Encoding = Annotated[
    str | None,
    typer.Option(help="Of the input: utf-8, utf-16, cp1252, … (UTF-8, or what its mark says)."),
]


def own_options(context: typer.Context) -> list[str]:
    """Return the options that the command of a context has."""
    return [name for one in context.command.params for name in one.opts if name[:1] == "-"]
