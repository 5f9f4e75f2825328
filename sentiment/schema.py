"""A JSON Schema of the config, for editors: made from the typed root and the files of the groups."""

from __future__ import annotations

import types
import typing
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from sentiment import groups
from sentiment.config import Config

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
    for group in _OPEN:
        keys = groups.group_keys(group)
        told, words = _comments(group), _words(group)
        root["properties"][group] = {
            "description": f"Options: {', '.join(groups.options(group))}.",
            "anyOf": [
                {
                    "type": "object",
                    "properties": {
                        key: _of_value(value, told.get(key), words.get(key))
                        for key, value in keys.items()
                    },
                    "additionalProperties": False,
                    "not": {"required": ["_target_"]},
                },
                {"type": "object", "required": ["_target_"]},
            ],
        }
    _describe(root, groups.comments() | {f"data.{k}": v for k, v in _comments("data").items()})
    choices: dict[str, Any] = {}
    for group, names in groups.groups(all_=True).items():
        choices[group] = choices[f"override /{group}"] = {"enum": [*names, None]}
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


def _comments(group: str) -> dict[str, str]:
    """Return what the files of a group say of their keys, the first that says anything."""
    found: dict[str, str] = {}
    # The option that is taken by default speaks first.
    for option in [groups.chosen()[group], *groups.options(group)]:
        found = groups.comments(group, option) | found
    return found


def _words(group: str) -> dict[str, list[str | None]]:
    """Return the words that the parameters of a group's classes take, as the classes say."""
    import inspect

    from hydra.utils import get_object
    from sklearn.utils._param_validation import StrOptions

    from sentiment.text.spec import PATTERNS

    found: dict[str, list[str | None]] = {}
    for option in groups.options(group):
        target = groups.read(group, option).get("_target_", "???")
        made = None if target == "???" else get_object(target)
        if not inspect.isclass(made):
            continue
        for key, rules in getattr(made, "_parameter_constraints", {}).items():
            kinds = [rule for rule in rules if isinstance(rule, StrOptions)]
            words = sorted(word for kind in kinds for word in kind.options)
            known = found.setdefault(key, []) if words else []
            known += [word for word in words if word not in known]
            if words and None in rules and None not in known:
                known.append(None)
    if group == "vectorizer":
        found["token_pattern"] = list(PATTERNS)
    return found


def _describe(node: dict[str, Any], told: dict[str, str], prefix: str = "") -> None:
    """Write into typed keys what the files say of them, and the words that they take."""
    for key, described in node["properties"].items():
        name = f"{prefix}{key}"
        if name in told:
            described["description"] = told[name]
        if name in groups.CHOICES:
            described.pop("type", None)
            nullable = "default" in described and described["default"] is None
            # A value may be taken from elsewhere: ${oc.env:NAME}.
            described["anyOf"] = [
                {"enum": [*groups.CHOICES[name], *([None] if nullable else [])]},
                {"type": "string", "pattern": r"^\$\{"},
            ]
        if "properties" in described:
            _describe(described, told, f"{name}.")


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


def _of_value(value: Any, comment: str | None, words: list[str | None] | None) -> dict[str, Any]:
    """Return a loose schema: a value of another file may be of another type, or null."""
    described: dict[str, Any] = {} if value is None else {"examples": [value]}
    if comment:
        described["description"] = comment
    if isinstance(value, bool):
        described["anyOf"] = [{"enum": [True, False]}, {}]
    elif words:
        described["anyOf"] = [{"enum": words}, {}]
    return described
