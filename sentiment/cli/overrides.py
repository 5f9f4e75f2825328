"""The words that Hydra reads, as an argument of our commands, with shell completion."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

# Words that are not ours are Hydra's: -m, --cfg and the like.
HYDRA_SETTINGS = {"allow_extra_args": True, "ignore_unknown_options": True}


def complete(args: list[str], incomplete: str) -> list[str]:
    """Complete groups, their options, and keys with their values, without importing Hydra.

    Parameters
    ----------
    args : list of str
        The words before: ``model=logreg`` decides which keys ``model.`` has.
    incomplete : str
        The word that is being typed.
    """
    import yaml

    package = Path(__file__).resolve().parents[1]
    folder = package / "configs"
    if not folder.is_dir():
        folder = package.parent / "configs"

    def read(file: Path) -> dict[str, Any]:
        content = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else None
        return content if isinstance(content, dict) else {}

    groups = sorted({file.parent.name for file in folder.glob("*/*.yaml")} - {"gate"})
    name, equals, _ = incomplete.partition("=")
    if equals and name in groups:
        words = [f"{name}={file.stem}" for file in sorted((folder / name).glob("*.yaml"))]
        return [word for word in words if word.startswith(incomplete)]
    root = read(folder / "config.yaml")
    chosen = {
        group: option
        for entry in root.get("defaults", ())
        if isinstance(entry, dict)
        for group, option in entry.items()
    }
    chosen |= {group: option for group, _, option in (word.partition("=") for word in args)}
    keys: dict[str, Any] = {}
    for key, value in root.items():
        if key in ("defaults", "hydra"):
            continue
        nested = value if isinstance(value, dict) else {None: value}
        keys |= {key if inner is None else f"{key}.{inner}": item for inner, item in nested.items()}
    for group in ("data", "vectorizer", "model"):
        values = read(folder / group / f"{chosen.get(group)}.yaml")
        keys |= {f"{group}.{key}": item for key, item in values.items() if key != "_target_"}
    if equals:
        known = ["true", "false"] if isinstance(keys.get(name), bool) else _CHOICES.get(name, [])
        return [f"{name}={value}" for value in known if f"{name}={value}".startswith(incomplete)]
    words = [f"{word}=" for word in [*groups, *keys]]
    # A group's keys only once its dot is typed: there are a hundred.
    return sorted(
        {
            word
            for word in words
            if word.startswith(incomplete) and ("." in incomplete or "." not in word)
        }
    )


# Keys that take one of a few words.
_CHOICES = {
    "sweep.method": ["grid", "paired", "optuna"],
    "sweep.on_error": ["continue", "stop"],
    "sweep.direction": ["maximize", "minimize"],
    "sweep.keep_models": ["best", "all"],
    "data.on_bad_rows": ["drop", "error"],
    "data.on_leak": ["warn", "drop", "error"],
    "compile.dtype": ["float32", "float16"],
    "model.loss": ["squared_hinge", "log_loss"],
    "vectorizer.token_pattern": ["word", "letter", "apostrophe", "punctuation"],
    "vectorizer.analyzer": ["word", "char", "char_wb"],
    "vectorizer.norm": ["l1", "l2", "null"],
}

Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[OVERRIDES]...",
        help="KEY=VALUE changes a key, GROUP=OPTION chooses a file of configs/.",
        show_default=False,
        autocompletion=complete,
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
    from sentiment.words import is_table

    files = [word for word in words if is_table(word)]
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
