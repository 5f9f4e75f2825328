"""The words that Hydra reads, as an argument of our commands."""

from __future__ import annotations

import argparse
import itertools
import shlex
from pathlib import Path
from typing import Annotated

import typer

from sentiment.cli.options import own_options
from sentiment.errors import UsageError, nearest

# Words that are not ours are Hydra's: -m, --cfg and the like.
HYDRA_SETTINGS = {"allow_extra_args": True, "ignore_unknown_options": True}


def _with_known_options(context: typer.Context, words: list[str] | None) -> list[str] | None:
    """Refuse in one line what Hydra refuses with its usage, and what else nobody would read."""
    if context.resilient_parsing or not any(word.startswith("-") for word in words or []):
        return words
    from hydra._internal.utils import get_args_parser  # half of Hydra, for the few that ask it

    parser = get_args_parser()
    parser.exit_on_error = False
    try:
        _, left = parser.parse_known_args(words)
    except argparse.ArgumentError as error:
        raise UsageError(str(error)) from error
    for word in left:
        if word.startswith("-"):
            raise UsageError(
                f"no such option: {word}{nearest(word, own_options(context))} "
                f"({context.command_path} --help lists them)"
            )
    return words


Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        callback=_with_known_options,
        metavar="[OVERRIDES]...",
        help="KEY=VALUE changes a key, GROUP=OPTION chooses a file of configs/.",
        show_default=False,
    ),
]

TextColumn = Annotated[
    str | None, typer.Option("--text", help="Column of texts, of a FILE: data.text_column.")
]
LabelColumn = Annotated[
    str | None, typer.Option("--label", help="Column of labels, of a FILE: data.label_column.")
]


def with_file(command: str, words: list[str], text: str | None, label: str | None) -> list[str]:
    """Turn ``FILE... --text A --label B`` into the overrides that it stands for, and show them."""
    from sentiment.cli.console import stderr
    from sentiment.records.suffixes import SUFFIXES
    from sentiment.words import in_quotes, is_table

    files = [
        word
        for before, word in itertools.pairwise(["", *words])
        if is_table(word) or (Path(word).is_dir() and "=" not in word and before[:1] != "-")
    ]
    for before, word in itertools.pairwise(["", *words]):
        if before.startswith("-") or "=" in word or word in files:
            continue
        if Path(word).is_file():
            raise UsageError(
                f"{word}: its name does not tell that it holds rows; call it by what it is, or convert "
                f"it to one of {', '.join(SUFFIXES)}"
            )
    train = ",".join(files)
    if command == "sweep":
        train = in_quotes(train)  # several files are one data set, not a job each
    written = [f"data.train={train}"] if files else []
    written += [f"data.text_column={text}"] if text is not None else []
    written += [f"data.label_column={label}"] if label is not None else []
    if not written:
        return words
    if not any(word.startswith("data=") for word in words):
        written.insert(0, "data=files")
    others = [word for word in words if word not in files]
    stderr().print(f"sentiment {command} " + shlex.join([*written, *others]))
    return [*written, *others]
