"""From what a file holds in its label column to a label: one rule whatever the format."""

from __future__ import annotations

import datetime
import decimal
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sentiment.errors import DataError

_RARE = 0.5
_WHOLE = re.compile(r"([+-]?\d+)\.0+")


def label_of(value: Any) -> str | None:
    """Return a raw value as text, or None where there is no label.

    Booleans are ``true`` and ``false``; a whole number is written without a fraction, also where a
    file says ``1.0``; not-a-number, null and blank text are no label. A list of one is what it
    holds, as doccano and Prodigy write labels.

    Parameters
    ----------
    value : object
        As the file gives it.

    Raises
    ------
    DataError
        It is a list, an object or the like: several values are no label.
    """
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        # A lone surrogate can be neither stored nor logged.
        value = value.encode("utf-8", "replace").decode() if not value.isascii() else value
        value = value.strip()
        whole = _WHOLE.fullmatch(value)
        return (whole[1] if whole else value) or None
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float | decimal.Decimal):
        if not math.isfinite(value):
            return None
        return str(int(value)) if value == int(value) else str(value)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, list | tuple) and len(value) < 2:
        return label_of(value[0]) if value else None
    if isinstance(value, Sequence | Mapping | set):
        raise DataError(
            f"a label is {type(value).__name__} ({str(value)[:60]}): give one value for each row"
        )
    number = getattr(value, "item", None)  # a numpy scalar
    return str(value) if number is None else label_of(number())


def spellings(key: Any) -> tuple[str, ...]:
    """Return the labels that a key of the config may mean, the likeliest first.

    ``true`` is the label of a boolean, and what pandas and Excel write of one in CSV.

    Parameters
    ----------
    key : object
        As YAML or the command line reads it.
    """
    own = label_of(key) or str(key)
    return (own, own.capitalize(), own.upper()) if isinstance(key, bool) else (own,)


def named_labels(names: Mapping[Any, str] | Sequence[str] | None) -> dict[str, str] | None:
    """Return raw label to label, by the same rule; a list names the numbers from 0.

    Raises
    ------
    DataError
        Two raw values are the same label.
    """
    if names is None:
        return None
    pairs = list(names.items() if isinstance(names, Mapping) else enumerate(names))
    found: dict[str, str] = {}
    further: dict[str, str] = {}
    for raw, label in pairs:
        key, name = label_of(raw), label_of(label)
        if key is None or name is None:
            raise DataError(f"data.label_names names {raw!r} {label!r}: a name may not be empty")
        if key in found and found[key] != name:
            raise DataError(f"data.label_names names {key!r} twice: {found[key]!r} and {name!r}")
        found[key] = name
        further |= dict.fromkeys(spellings(raw), name)
    return further | found


def unequal(labels: Sequence[str]) -> bool:
    """Tell whether a class has less than half of an equal share of the rows.

    Parameters
    ----------
    labels : sequence of str
    """
    counts = Counter(labels).values()
    return len(counts) > 1 and min(counts) < _RARE * sum(counts) / len(counts)
