"""From what a file holds in its label column to a label: one rule whatever the format."""

from __future__ import annotations

import datetime
import decimal
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
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
    if is_missing(value):
        return None
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


def is_missing(value: Any) -> bool:
    """Tell whether a value is what tables hold where there is none: None, NaN, pandas' NA and NaT.

    Parameters
    ----------
    value : object
    """
    if value is None or isinstance(value, str):
        return value is None
    try:
        # None of them equals anything, not even itself; of NA not even that can be told.
        return bool(value != value)  # noqa: PLR0124
    except TypeError:
        return True
    except (ValueError, ArithmeticError):  # several values, a signalling number
        return False


def labelled(
    texts: Iterable[str | None], labels: Iterable[Any], known: Sequence[str]
) -> tuple[list[str], list[str], int]:
    """Return the texts that have a label, and these as a model names them.

    Parameters
    ----------
    texts, labels : iterable
        A raw label is named by `label_of`; where the model knows it only as Python writes it, as that.
    known : sequence of str
        The model's labels.

    Returns
    -------
    texts, labels : list of str
    left_out : int
        Rows without text or label.

    Raises
    ------
    DataError
        There are not as many labels as texts, none that is a label, or none that the model knows.
    """
    rows, raw = list(texts), list(labels)
    if len(rows) != len(raw):
        raise DataError(f"{len(rows)} texts and {len(raw)} labels: give one label for each text")
    kept: list[str] = []
    names: list[str] = []
    for text, value in zip(rows, raw, strict=True):
        name = label_of(value)
        if name is None or text is None or is_missing(text):
            continue
        kept.append(text)
        names.append(str(value) if name not in known and str(value) in known else name)
    if not names:
        raise DataError("there is no row with text and label")
    if told := none_known(names, known):
        raise DataError(f"the labels {told}")
    return kept, names, len(rows) - len(kept)


def none_known(labels: Iterable[str], known: Sequence[str]) -> str | None:
    """Say of labels that none of them is one of a model's; None: one is.

    Parameters
    ----------
    labels, known : iterable and sequence of str
        Those of rows, and of the model.
    """
    there = set(labels)
    if there & set(known):
        return None
    return f"({', '.join(sorted(there)[:5])}) are none of the model's ({', '.join(known)})"


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
