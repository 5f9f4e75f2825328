"""The words of a config's user: what Hydra's grammar would read otherwise than it was meant."""

from __future__ import annotations

import os
import re
import typing
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from sentiment.errors import UsageError

_OVERRIDE = re.compile(r"(\+{0,2})([\w.@/]+)=(.*)", re.DOTALL)
_SWEPT = re.compile(r"\s*(choice|range|interval|glob|sort|shuffle|tag|int|float|str|bool)\(")
_TABLES = re.compile(
    r"\.(csv|tsv|tab|jsonl?|ndjson|parquet|pq|txt|zip)(\.(gz|bz2|zst|xz|zip))?$", re.IGNORECASE
)
_VALUED = {
    "--config-dir": "config_dir", "-cd": "config_dir", "--config-name": "config_name", "-cn": "config_name",
    "--config-path": "other", "-cp": "other", "--package": "other", "-p": "other", "--cfg": "other",
    "-c": "other", "--experimental-rerun": "other",
}  # fmt: skip
_PATHS = (
    "data.train",
    "data.test",
    "data.val",
    "data.also",
    "data.corrections",
    "data.path",
    "output_dir",
)


class Words(NamedTuple):
    """A command line for Hydra, sorted.

    Attributes
    ----------
    options : list of str
        Hydra's own, which it wants before the overrides.
    overrides : list of str
    config_dir, config_name : str or None
        What the options say.
    """

    options: list[str]
    overrides: list[str]
    config_dir: str | None = None
    config_name: str | None = None

    @property
    def multirun(self) -> bool:
        """Whether several values of a key are several jobs."""
        return "-m" in self.options or "--multirun" in self.options


def sort_words(words: Sequence[str], schema: Any) -> Words:
    """Tell Hydra's options from overrides, and quote values that are free text.

    A value of a key that the schema types as text is taken as it is: a file called
    ``reviews (1).csv``, a run called ``12e4567``. Where several values are swept, what looks like
    Hydra's syntax stays.

    Parameters
    ----------
    words : sequence of str
    schema : dataclass
        The root config's.

    Raises
    ------
    UsageError
        An option lacks its value.
    """
    options: list[str] = []
    overrides: list[str] = []
    said: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if name in _VALUED:
            if not equals:
                found = next(rest, None)
                if found is None:
                    raise UsageError(f"{name} needs a value")
                value = found
            said[_VALUED[name]] = value
            options += [name, value]
        elif word.startswith("-"):
            options.append(word)
        else:
            overrides.append(word)
    if "config_name" in said and "config_dir" not in said:
        # A file that lies here, as `sentiment config > my.yaml` leaves it.
        file = Path(said["config_name"].removesuffix(".yaml") + ".yaml")
        if file.is_file():
            said["config_dir"], said["config_name"] = str(file.resolve().parent), file.stem
            place = next(i for i, word in enumerate(options) if _VALUED.get(word) == "config_name")
            options[place : place + 2] = [
                *("--config-dir", said["config_dir"]),
                *("--config-name", said["config_name"]),
            ]
    swept = "-m" in options or "--multirun" in options
    texts = text_keys(schema)
    overrides = [_quoted(word, texts, swept=swept) for word in overrides]
    named = [word for word in overrides if word.startswith("data.train=")]
    chosen = any(word.startswith(("data=", "experiment=")) for word in overrides)
    if named and not chosen and "config_name" not in said and _holds_rows(named[0]):
        overrides.insert(0, "data=files")
    return Words(options, overrides, said.get("config_dir"), said.get("config_name"))


def is_table(word: str) -> bool:
    """Tell whether a word is a file of rows, a folder of them or their address, by its name."""
    return _holds_rows(word) and (not re.match(r"[\w.+~@]+=", word) or Path(word).is_file())


def _holds_rows(value: str) -> bool:
    value = value.strip("'")
    return bool(_TABLES.search(value)) or value.endswith("/") or "://" in value


@cache
def text_keys(schema: Any, prefix: str = "") -> frozenset[str]:
    """Return the dotted keys of a dataclass that hold text."""
    found: set[str] = set()
    hints = typing.get_type_hints(schema)
    for field in fields(schema):
        hint = hints[field.name]
        if is_dataclass(hint):
            nested: Any = hint
            found |= text_keys(nested, f"{prefix}{field.name}.")
        elif hint is str or set(typing.get_args(hint)) == {str, type(None)}:
            found.add(prefix + field.name)
    return frozenset(found)


def _quoted(word: str, texts: frozenset[str], *, swept: bool) -> str:
    match = _OVERRIDE.fullmatch(word)
    if not match or match[2] not in texts:
        return word
    plus, key, value = match.groups()
    if key in _PATHS and (value == "~" or value.startswith("~/")):
        value = os.path.expanduser(value)  # noqa: PTH111 - as places are
    if (
        value in ("", "null", "???")
        or "${" in value
        or re.fullmatch(r"(['\"]).*\1", value, re.DOTALL)
    ):
        return f"{plus}{key}={value}"
    if swept and ("," in value or _SWEPT.match(value)) and not Path(value).exists():
        return word
    return f"{plus}{key}={in_quotes(value)}"


def in_quotes(value: str) -> str:
    """Return a text as Hydra's grammar quotes it."""
    if re.fullmatch(r"[A-Za-z_/.][\w/.-]*", value, re.ASCII) and value.lower() not in (
        "null", "true", "false", "nan", "inf",
    ):  # fmt: skip
        return value
    value = re.sub(r"(\\*)'", lambda m: m[1] * 2 + "\\'", value)
    value = re.sub(r"(\\+)$", lambda m: m[1] * 2, value)
    return f"'{value}'"
