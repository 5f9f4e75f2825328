"""The words that Hydra reads, as an argument of our commands."""

from __future__ import annotations

import itertools
import shlex
from pathlib import Path
from typing import Annotated

import typer

from sentiment.errors import UsageError

# Words that are not ours are Hydra's: -m, --cfg and the like.
HYDRA_SETTINGS = {"allow_extra_args": True, "ignore_unknown_options": True}


Overrides = Annotated[
    list[str] | None,
    typer.Argument(
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
    from sentiment.words import is_table

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
    written = [f"data.train={','.join(files)}"] if files else []
    written += [f"data.text_column={text}"] if text is not None else []
    written += [f"data.label_column={label}"] if label is not None else []
    if not written:
        return words
    if not any(word.startswith("data=") for word in words):
        written.insert(0, "data=files")
    others = [word for word in words if word not in files]
    stderr().print(f"sentiment {command} " + shlex.join([*written, *others]))
    return [*written, *others]
