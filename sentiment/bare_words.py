"""What a bare word of a YAML file is where a name or a text is meant: itself.

PyYAML reads by YAML 1.1, where ``no`` is false, ``012`` ten, ``1:30`` ninety and ``12e4567`` infinite.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

import yaml

_TAG = "tag:yaml.org,2002:"
_TEXT = f"{_TAG}str"


class Meant(Enum):
    """What stands at a place of a file.

    Attributes
    ----------
    TEXT
        Words are taken as they are written.
    NAMES
        So are they, but true, false and plainly written numbers stay what they are: files of data hold
        such labels. Keys too, and whatever lies below.
    NAMED
        Keys are names, values are not.
    """

    TEXT = "text"
    NAMES = "names"
    NAMED = "named"


def loader(base: type[Any], meant: Callable[[str], Meant | None]) -> type[Any]:
    """Return a loader of PyYAML that keeps the words of some places.

    Parameters
    ----------
    base : type
        The loader it is made from.
    meant : callable
        From a place in the file, keys with dots between, to what stands there.
    """

    class Loader(base):  # type: ignore[misc]
        def construct_document(self, node: yaml.Node) -> Any:
            _keep(node, "", meant)
            return super().construct_document(node)

    return Loader


def _keep(node: yaml.Node, place: str, meant: Callable[[str], Meant | None]) -> None:
    kind = meant(place)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if kind in (Meant.NAMES, Meant.NAMED):
                _as_name(key)
            # A merge brings the keys of another mapping to this place.
            inner = place if key.tag == f"{_TAG}merge" else f"{place}.{key.value}".lstrip(".")
            _keep(value, inner, meant)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _keep(item, place, meant)
    elif kind is Meant.NAMES:
        _as_name(node)
    elif kind is Meant.TEXT and node.tag != f"{_TAG}null":
        node.tag = _TEXT


def _as_name(node: yaml.Node) -> None:
    word = node.value
    if node.tag == f"{_TAG}bool":
        plain = word.lower() in ("true", "false")
    elif node.tag in (f"{_TAG}int", f"{_TAG}float"):
        plain = _written(int, word) or _written(float, word)
    else:
        return
    if not plain:
        node.tag = _TEXT


def _written(kind: type[int] | type[float], word: str) -> bool:
    """Tell whether a word is how a number is written, so that nothing of it is lost."""
    try:
        return str(kind(word)) == word
    except ValueError:
        return False
