"""The config's groups as files: their options, their keys and what the comments say, without Hydra.

Light: shells ask it at every TAB. What only the code knows (which words a key takes, what an
estimator's parameter may be) stands in ``configs/schema.json``, which `sentiment.schema` makes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).resolve().parent
# In a wheel the files travel inside the package; in a checkout they stand beside it.
CONFIG_DIR = (
    _PACKAGE / "configs" if (_PACKAGE / "configs").is_dir() else _PACKAGE.parent / "configs"
)
ROOT = "config.yaml"
SCHEMA = "schema.json"
# What is no part of a training: the gate's rules, and how Hydra logs.
_OTHERS = ("gate", "hydra")
_LINE = re.compile(r"( *)(?:- )?([A-Za-z_][\w.]*):(.*)")

CHOICES: Mapping[str, tuple[str, ...]] = {
    "compile.dtype": ("float32", "float16"),
    "data.balance": ("none", "under", "over"),
    "data.on_bad_rows": ("drop", "error"),
    "data.on_leak": ("warn", "drop", "error"),
    "data.split": ("hash", "random"),
    "decision.tuned_on": ("validation", "folds"),
    "semi.keep": ("better", "always"),
    "semi.labels": ("hard", "soft"),
    "sweep.direction": ("maximize", "minimize"),
    "sweep.keep_models": ("best", "all"),
    "sweep.method": ("grid", "paired", "optuna"),
    "sweep.on_error": ("continue", "stop"),
}
"""Keys of the typed root that take one of a few words; what checks them reads it here."""


def groups(*, all_: bool = False) -> dict[str, list[str]]:
    """Return each group with its options, in order.

    Parameters
    ----------
    all_ : bool
        Those too that ``sentiment train`` does not take: ``gate``.
    """
    found: dict[str, list[str]] = {}
    for file in sorted(CONFIG_DIR.glob("*/*.yaml")):
        if all_ or file.parent.name not in _OTHERS:
            found.setdefault(file.parent.name, []).append(file.stem)
    return found


def options(group: str) -> list[str]:
    """Return the options of a group."""
    return groups(all_=True).get(group, [])


def read(*place: str) -> dict[str, Any]:
    """Return what a config file says, without composing it: ``read("model", "nbsvm")``.

    Parameters
    ----------
    *place : str
        Group and option; nothing for the root.
    """
    import yaml

    file = CONFIG_DIR.joinpath(*place[:-1], f"{place[-1]}.yaml") if place else CONFIG_DIR / ROOT
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}


def group_keys(group: str, option: str | None = None) -> dict[str, Any]:
    """Return the keys that the files of a group set, with the first value found of each.

    Parameters
    ----------
    group : str
    option : str, optional
        One file alone.
    """
    found: dict[str, Any] = {}
    for name in [option] if option is not None else options(group):
        for key, value in read(group, name).items():
            if not key.startswith("_") and key != "defaults":
                found.setdefault(key, value)
    return found


def root_keys() -> dict[str, Any]:
    """Return the keys that the root file sets, dotted, with their values."""
    keys: dict[str, Any] = {}
    for key, value in read().items():
        if key not in ("defaults", "hydra"):
            nested = value if isinstance(value, dict) and value else {None: value}
            keys |= {
                key if inner is None else f"{key}.{inner}": item for inner, item in nested.items()
            }
    return keys


def chosen(words: Sequence[str] = ()) -> dict[str, str]:
    """Return the option that each group has by default, or by ``group=option`` among some words."""
    known = groups()
    found = {
        group: option
        for entry in read().get("defaults", ())
        if isinstance(entry, dict)
        for group, option in entry.items()
        if group in known
    }
    pairs = (word.partition("=")[::2] for word in words)
    return found | {group: option for group, option in pairs if group in known}


def comments(*place: str) -> dict[str, str]:
    """Return what the comment behind each key of a file says, by dotted key.

    Parameters
    ----------
    *place : str
        As of `read`.
    """
    file = CONFIG_DIR.joinpath(*place[:-1], f"{place[-1]}.yaml") if place else CONFIG_DIR / ROOT
    found: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    for line in file.read_text(encoding="utf-8").splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        depth = len(match[1])
        above = [*(parent for parent in above if parent[0] < depth), (depth, match[2])]
        _, hash_, comment = match[3].partition(" # ")
        if hash_:
            found[".".join(name for _, name in above)] = comment.strip()
    return found


def heading(*place: str) -> str:
    """Return the comment at the top of a file, without directives."""
    file = CONFIG_DIR.joinpath(*place[:-1], f"{place[-1]}.yaml") if place else CONFIG_DIR / ROOT
    lines: list[str] = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        if not re.match(r"# (@package|yaml-language-server:)", line):
            lines.append(line.removeprefix("#").removeprefix(" "))
    return "\n".join(lines)


def values(key: str) -> list[str]:
    """Return the words that a key takes, as far as the schema knows.

    Parameters
    ----------
    key : str
        Dotted: ``vectorizer.norm``.
    """
    try:
        node = json.loads((CONFIG_DIR / SCHEMA).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    for part in key.split("."):
        for branch in (node, *node.get("anyOf", ())):
            if part in branch.get("properties", {}):
                node = branch["properties"][part]
                break
        else:
            return []
    found = node.get("enum") or node.get("anyOf", [{}])[0].get("enum", [])
    if "boolean" in node.get("type", ()):
        found = [True, False]
    return [json.dumps(word).strip('"') for word in found]
