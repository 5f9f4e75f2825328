"""A JSON Schema of the config, for editors: made from the typed root and the files of the groups."""

from __future__ import annotations

import types
import typing
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

import yaml

from sentiment.config import CONFIG_DIR, Config

_KINDS: dict[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean"}
# Groups whose files hold the parameters of a class.
_OPEN = ("vectorizer", "model")


def json_schema() -> dict[str, Any]:
    """Return the schema of a root config or an experiment file.

    Returns
    -------
    dict
        JSON Schema, draft 2020-12. Keys of ``vectorizer`` and ``model`` are those of the shipped
        options; with a ``_target_`` of one's own, any key is allowed.
    """
    root = _of_dataclass(Config)
    groups = sorted(path.name for path in CONFIG_DIR.iterdir() if any(path.glob("*.yaml")))
    for group in _OPEN:
        keys = group_keys(group)
        root["properties"][group] = {
            "description": f"Options: {', '.join(options(group))}.",
            "anyOf": [
                {
                    "type": "object",
                    "properties": {key: _of_value(value) for key, value in keys.items()},
                    "additionalProperties": False,
                    "not": {"required": ["_target_"]},
                },
                {"type": "object", "required": ["_target_"]},
            ],
        }
    choices: dict[str, Any] = {}
    for group in groups:
        choices[group] = choices[f"override /{group}"] = {"enum": [*options(group), None]}
    root["properties"]["defaults"] = {
        "description": "Which files are taken together, the later over the earlier.",
        "type": "array",
        "items": {"anyOf": [{"type": "string"}, {"type": "object", "properties": choices}]},
    }
    root["properties"]["hydra"] = {"type": "object"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "sentiment: a config or an experiment file",
        **root,
    }


def options(group: str) -> list[str]:
    """Return the options of a config group."""
    return sorted(path.stem for path in (CONFIG_DIR / group).glob("*.yaml"))


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
        for key, value in read_group(CONFIG_DIR / group / f"{name}.yaml").items():
            if not key.startswith("_"):
                found.setdefault(key, value)
    return found


def read_group(file: Path) -> dict[str, Any]:
    """Return what a config file says, without composing it."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}


def _of_dataclass(schema: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(schema)
    properties = {}
    for field in fields(schema):
        described = _of_hint(hints[field.name])
        default = field.default
        if default not in (MISSING, "???") and isinstance(default, str | int | float | None):
            described["default"] = default
        properties[field.name] = described
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _of_hint(hint: Any) -> dict[str, Any]:
    if is_dataclass(hint):
        return _of_dataclass(hint)
    if isinstance(hint, types.UnionType):
        kinds = [_KINDS.get(part, "null") for part in typing.get_args(hint)]
        # A value may be taken from elsewhere: ${oc.env:NAME}.
        return {"type": sorted({*kinds, "string"})}
    if hint in _KINDS:
        return {"type": sorted({_KINDS[hint], "string"})} if hint is not str else {"type": "string"}
    origin = typing.get_origin(hint)
    if origin is dict:
        return {"type": "object"}
    return {"type": "array"} if origin is list else {}


def _of_value(value: Any) -> dict[str, Any]:
    """Return a loose schema: a value of another file may be of another type, or null."""
    return {} if value is None else {"examples": [value]}
